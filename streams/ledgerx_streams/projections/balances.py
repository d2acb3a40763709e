"""The sums and the number of postings of every account, and as marks what they were at every 1,000th of its postings.

From a mark any point in an account's past is fewer than 1,000 postings away.
"""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import msgspec

from ledgerx import rows
from ledgerx.database import Connection, Queries
from ledgerx.events import EntryRecord
from ledgerx.journal import Layer
from ledgerx.state import POSTINGS_PER_MARK, Sums
from ledgerx_streams.projections import Projection, columns

_queries = Queries("ledgerx_streams", "sql/balances.sql")


class Change(msgspec.Struct, gc=False):
    """What entries add to an account's sums and postings; `seq` is the last of them that has a posting to it."""

    account_id: int
    posted: int = 0
    pending_debit: int = 0
    pending_credit: int = 0
    postings: int = 0
    seq: int = 0


class Tail(msgspec.Struct, frozen=True, gc=False):
    """An account's sums, and how many postings they are the sums of."""

    postings: int
    sums: Sums


class Mark(msgspec.Struct, frozen=True, gc=False):
    """An account's sums and number of postings just after its posting at (`seq`, `line`)."""

    account_id: int
    seq: int
    line: int
    posted: int
    pending_debit: int
    pending_credit: int
    postings: int


def changes(entries: Iterable[EntryRecord]) -> list[Change]:
    """Sum the postings of `entries` by account. Raises `ValueError` on an amount that is no whole number."""
    changed: dict[int, Change] = {}
    for entry in entries:
        for line in entry.postings:
            change = changed.get(line.account_id)
            if change is None:
                change = changed[line.account_id] = Change(line.account_id)
            if line.layer is Layer.POSTED:
                change.posted += int(line.amount)
            elif line.layer is Layer.PENDING_DEBIT:
                change.pending_debit += int(line.amount)
            else:
                change.pending_credit += int(line.amount)
            change.postings += 1
            change.seq = entry.seq
    return list(changed.values())


def marks(tails: Mapping[int, Tail], entries: Sequence[EntryRecord]) -> list[Mark]:
    """The marks that accounts passed in `entries`, from their tails after them, by account id; the newest first."""
    passed: list[Mark] = []
    undone = dict(tails)
    for entry in reversed(entries):
        for number, line in reversed([*enumerate(entry.postings)]):
            tail = undone.get(line.account_id)
            if tail is None:
                continue
            sums = tail.sums
            if tail.postings % POSTINGS_PER_MARK == 0:
                place = (line.account_id, entry.seq, number)
                passed.append(Mark(*place, sums.posted, sums.pending_debit, sums.pending_credit, tail.postings))
            undone[line.account_id] = Tail(tail.postings - 1, sums.plus(line.layer, -int(line.amount)))
    return passed


async def _write(connection: Connection, tenant_id: UUID, entries: Sequence[EntryRecord]) -> None:
    changed = changes(entries)
    if not changed:
        return
    parameters = {"tenant_id": tenant_id, "postings_per_mark": POSTINGS_PER_MARK, **columns(changed)}
    at_marks = await connection.execute(_queries.add, parameters)
    tails = {account_id: Tail(postings, rows.sums(*sums)) async for account_id, postings, *sums in at_marks}
    if tails:
        await connection.execute(_queries.insert_marks, {"tenant_id": tenant_id, **columns(marks(tails, entries))})


BALANCES = Projection("balances", _write)
