"""The dated postings, those with an effective time of their own, ready for sums in either order.

In the order of recording they have marks, as all postings have. In the order of effect, where a new one may come
anywhere, they are cut into blocks, each with its sums; a block that grows too large is split.
"""

from collections.abc import Sequence
from uuid import UUID

from ledgerx import rows
from ledgerx.database import Connection, Queries
from ledgerx.events import EntryRecord
from ledgerx.state import POSTINGS_PER_MARK
from ledgerx_streams.projections import columns
from ledgerx_streams.projections.balances import changes
from ledgerx_streams.projections.marks import Tail, marks

POSTINGS_PER_BLOCK = 1_000

_queries = Queries("ledgerx_streams", "sql/dated.sql")


async def write_dated(connection: Connection, tenant_id: UUID, entries: Sequence[EntryRecord], head_seq: int) -> None:
    """Add the postings of dated `entries`; `head_seq` is where the projection stands after them."""
    await _write_marks(connection, tenant_id, entries)
    lines = [(entry, number, line) for entry in entries for number, line in enumerate(entry.postings)]
    grown = await connection.execute(
        _queries.add_to_blocks,
        {
            "tenant_id": tenant_id,
            "account_id": [line.account_id for _, _, line in lines],
            "effective_at": [entry.effective_at for entry, _, _ in lines],
            "seq": [entry.seq for entry, _, _ in lines],
            "line": [number for _, number, _ in lines],
            "layer": [line.layer.value for _, _, line in lines],
            "amount": [int(line.amount) for _, _, line in lines],
        },
    )
    async for account_id, effective_at, seq, line, postings in grown:
        if postings > POSTINGS_PER_BLOCK:
            await connection.execute(
                _queries.split_block,
                {
                    "tenant_id": tenant_id,
                    "account_id": account_id,
                    "effective_at": effective_at,
                    "seq": seq,
                    "line": line,
                    "head_seq": head_seq,
                    "postings": POSTINGS_PER_BLOCK // 2,
                },
            )


async def _write_marks(connection: Connection, tenant_id: UUID, entries: Sequence[EntryRecord]) -> None:
    parameters = {"tenant_id": tenant_id, "postings_per_mark": POSTINGS_PER_MARK, **columns(changes(entries))}
    passing = await connection.execute(_queries.add_to_tails, parameters)
    tails = {account_id: Tail(postings, rows.sums(*sums)) async for account_id, postings, *sums in passing}
    if tails:
        await connection.execute(_queries.insert_marks, {"tenant_id": tenant_id, **columns(marks(tails, entries))})
