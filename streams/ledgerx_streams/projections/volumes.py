"""Posted debits and credits of every account by day of effect and category, and the dated postings in order of effect.

Both are answers to questions of effective time and share a head. Days are those of the tenant's time zone, and counted
by Postgres: reads count the days of what comes after the head in the same way.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from ledgerx.database import Connection, Queries
from ledgerx.events import EntryRecord
from ledgerx.journal import Kind, Layer
from ledgerx_streams.projections import Projection, lists
from ledgerx_streams.projections.dated import write_dated

_queries = Queries("ledgerx_streams", "sql/volumes.sql")


class Movement(msgspec.Struct, frozen=True, gc=False):
    """What is added to an account's volumes of the day of `effective_at` and a category, empty where there is none.

    Moving a transaction to another category is two movements for each of its postings: one with all three numbers
    negative in the category that it leaves, and one in the category that it goes to.
    """

    account_id: int
    effective_at: datetime
    category: str
    debits: int
    credits: int
    postings: int = 1


def movements(entries: Iterable[EntryRecord]) -> list[Movement]:
    """What the posted lines of `entries` add."""
    return [
        Movement(
            line.account_id,
            entry.effective_at or entry.recorded_at,
            entry.category or "",
            max(int(line.amount), 0),
            max(-int(line.amount), 0),
        )
        for entry in entries
        for line in entry.postings
        if line.layer is Layer.POSTED
    ]


async def _write(connection: Connection, tenant_id: UUID, entries: Sequence[EntryRecord]) -> None:
    added = [*movements(entries), *await _amended(connection, tenant_id, entries)]
    if added:
        await connection.execute(_queries.add, {"tenant_id": tenant_id, **lists(added)})
    dated = [entry for entry in entries if entry.effective_at is not None and entry.postings]
    if dated:
        await write_dated(connection, tenant_id, dated, entries[-1].seq)


async def _amended(connection: Connection, tenant_id: UUID, entries: Iterable[EntryRecord]) -> list[Movement]:
    """What amendments among `entries` move, of transactions of these or of earlier entries."""
    amendments = {entry.seq: entry for entry in entries if entry.kind is Kind.AMEND}
    if not amendments:
        return []
    moved = []
    rows = await connection.execute(
        _queries.amended,
        {
            "tenant_id": tenant_id,
            "seqs": list(amendments),
            "targets": [entry.target_seq for entry in amendments.values()],
        },
        binary=True,
    )
    async for seq, account_id, effective_at, amount, category in rows:
        debits, credited = max(int(amount), 0), max(-int(amount), 0)
        moved.append(Movement(account_id, effective_at, category, -debits, -credited, -1))
        moved.append(Movement(account_id, effective_at, amendments[seq].category or "", debits, credited))
    return moved


async def _clear(connection: Connection, tenant_id: UUID) -> None:
    await connection.execute(_queries.clear, {"tenant_id": tenant_id})


VOLUMES = Projection(name="volumes", write=_write, clear=_clear)
