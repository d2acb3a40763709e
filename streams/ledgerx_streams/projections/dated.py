"""The dated postings, those with an effective time of their own, ready for sums in either order.

In the order of recording they have marks, as all postings have. In the order of effect, where a new one may come
anywhere, they are cut into blocks, each with its sums; a block that grows too large is split.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from ledgerx.database import Connection, Queries
from ledgerx.events import EntryRecord
from ledgerx.state import Sums
from ledgerx_streams.projections.marks import Tail, extend

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
