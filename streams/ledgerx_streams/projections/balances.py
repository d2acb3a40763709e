"""The sums and the number of postings of every account, and its marks."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from ledgerx import rows
from ledgerx.database import Connection, Queries, tenant_scope
from ledgerx.events import EntryRecord
from ledgerx.journal import Layer
from ledgerx.state import POSTINGS_PER_MARK
from ledgerx_streams.projections import Projection, Shadow, columns
from ledgerx_streams.projections.marks import Tail, marks

_queries = Queries("ledgerx_streams", "sql/balances.sql")


class Change(msgspec.Struct, gc=False):
    """What entries add to an account; `seq` is the last of them that has a posting to it."""

    account_id: int
    postings: int = 0
    posted: int = 0
    pending_debit: int = 0
    pending_credit: int = 0
    seq: int = 0


def changes(entries: Iterable[EntryRecord]) -> list[Change]:
    """Count and sum the postings of `entries` by account. Raises `ValueError` on an amount that is no integer."""
    changed: dict[int, Change] = {}
    for entry in entries:
        for line in entry.postings:
            change = changed.get(line.account_id)
            if change is None:
                change = changed[line.account_id] = Change(line.account_id)
            change.postings += 1
            if line.layer is Layer.POSTED:
                change.posted += int(line.amount)
            elif line.layer is Layer.PENDING_DEBIT:
                change.pending_debit += int(line.amount)
            else:
                change.pending_credit += int(line.amount)
            change.seq = entry.seq
    return list(changed.values())


async def _write(connection: Connection, tenant_id: UUID, entries: Sequence[EntryRecord]) -> None:
    changed = changes(entries)
    if not changed:
        return
    parameters = {"tenant_id": tenant_id, "postings_per_mark": POSTINGS_PER_MARK, **columns(changed)}
    passing = await connection.execute(_queries.add, parameters)
    tails = {account_id: Tail(postings, rows.sums(*sums)) async for account_id, postings, *sums in passing}
    if tails:
        await connection.execute(_queries.insert_marks, {"tenant_id": tenant_id, **columns(marks(tails, entries))})


async def _clear(connection: Connection, tenant_id: UUID) -> None:
    await connection.execute(_queries.clear, {"tenant_id": tenant_id})


async def _fill(connection: Connection, tenant_id: UUID, last_seq: int) -> None:
    await connection.execute(_queries.make_shadow_balances)
    await connection.execute(_queries.make_shadow_marks)
    page: dict[str, object] = {"tenant_id": tenant_id, "last_seq": last_seq, "after": 0}
    while True:
        async with tenant_scope(connection, tenant_id):
            summed = await connection.execute(_queries.fill_shadow_balances, page)
            await connection.execute(_queries.fill_shadow_marks, {**page, "postings_per_mark": POSTINGS_PER_MARK})
        [(last_account,)] = await summed.fetchall()
        if last_account is None:
            return
        page["after"] = last_account


async def _install(connection: Connection) -> None:
    await connection.execute(_queries.install_shadow)


BALANCES = Projection(name="balances", write=_write, clear=_clear, shadow=Shadow(_fill, _install))
