"""The sums of the three layers of every account."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from ledgerx.database import Connection, Queries
from ledgerx.events import EntryRecord
from ledgerx.state import Sums
from ledgerx_streams.projections import Projection

_queries = Queries("ledgerx_streams", "sql/balances.sql")


class Change(msgspec.Struct, frozen=True, gc=False):
    """What entries add to an account's sums; `seq` is the last of them that has a posting to it."""

    account_id: int
    added: Sums
    seq: int


def changes(entries: Iterable[EntryRecord]) -> list[Change]:
    """Sum the postings of `entries` by account."""
    added: dict[int, Sums] = {}
    last_seq: dict[int, int] = {}
    for entry in entries:
        for line in entry.postings:
            added[line.account_id] = added.get(line.account_id, Sums()).plus(line.layer, int(line.amount))
            last_seq[line.account_id] = entry.seq
    return [Change(account_id, sums, last_seq[account_id]) for account_id, sums in added.items()]


async def _write(connection: Connection, tenant_id: UUID, entries: Sequence[EntryRecord]) -> None:
    rows = changes(entries)
    await connection.execute(
        _queries.add,
        {
            "tenant_id": tenant_id,
            "account_id": [row.account_id for row in rows],
            "posted": [row.added.posted for row in rows],
            "pending_debit": [row.added.pending_debit for row in rows],
            "pending_credit": [row.added.pending_credit for row in rows],
            "seq": [row.seq for row in rows],
        },
    )


BALANCES = Projection("balances", _write)
