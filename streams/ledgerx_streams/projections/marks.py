"""An account's sums at every 1,000th of its postings, so that any point in time is one mark and a few lines away."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

import msgspec

from ledgerx.database import Connection, Queries
from ledgerx.events import EntryRecord
from ledgerx.state import Sums
from ledgerx_streams.projections import Projection

POSTINGS_PER_MARK = 1_000

_queries = Queries("ledgerx_streams", "sql/marks.sql")


class Tail(msgspec.Struct, frozen=True, gc=False):
    """How many postings an account has, and their sums."""

    postings: int = 0
    sums: Sums = Sums()


class Mark(msgspec.Struct, frozen=True, gc=False):
    """An account's tail just after its posting at (`seq`, `line`)."""

    account_id: int
    seq: int
    line: int
    tail: Tail


def extend(tails: Mapping[int, Tail], entries: Iterable[EntryRecord]) -> tuple[list[Mark], dict[int, Tail]]:
    """Carry `tails`, by account id, over `entries`: the marks passed, and the tails of the accounts touched.

    An account without a tail has no posting yet.
    """
    marks: list[Mark] = []
    extended: dict[int, Tail] = {}
    for entry in entries:
        for number, line in enumerate(entry.postings):
            account_id = line.account_id
            before = extended.get(account_id) or tails.get(account_id) or Tail()
            tail = Tail(before.postings + 1, before.sums.plus(line.layer, int(line.amount)))
            extended[account_id] = tail
            if tail.postings % POSTINGS_PER_MARK == 0:
                marks.append(Mark(account_id, entry.seq, number, tail))
    return marks, extended


async def _write(connection: Connection, tenant_id: UUID, entries: Sequence[EntryRecord]) -> None:
    account_ids = list({line.account_id for entry in entries for line in entry.postings})
    rows = await connection.execute(_queries.tails, {"tenant_id": tenant_id, "account_id": account_ids})
    marks, tails = extend(
        {account_id: Tail(postings, Sums(*map(int, sums))) async for account_id, postings, *sums in rows}, entries
    )
    await connection.execute(
        _queries.put_tails, {"tenant_id": tenant_id, "account_id": list(tails), **_columns(tails.values())}
    )
    if marks:
        await connection.execute(
            _queries.insert_marks,
            {
                "tenant_id": tenant_id,
                "account_id": [mark.account_id for mark in marks],
                "seq": [mark.seq for mark in marks],
                "line": [mark.line for mark in marks],
                **_columns([mark.tail for mark in marks]),
            },
        )


def _columns(tails: Collection[Tail]) -> dict[str, list[int]]:
    return {
        "postings": [tail.postings for tail in tails],
        "posted": [tail.sums.posted for tail in tails],
        "pending_debit": [tail.sums.pending_debit for tail in tails],
        "pending_credit": [tail.sums.pending_credit for tail in tails],
    }


MARKS = Projection("marks", _write)
