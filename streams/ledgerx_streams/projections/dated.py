"""The dated postings, those with an effective time of their own, ready for sums in either order.

In the order of recording they are counted, with a mark at every 1,000th. In the order of effect, where a new one may
come anywhere, they are cut into blocks, each with its sums; a block that grows too large is split. A block also keeps
what its sums were at each mark since which it changed, so that sums are known in both orders at once.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from ledgerx.database import Connection, Queries
from ledgerx.events import EntryRecord
from ledgerx.state import POSTINGS_PER_MARK
from ledgerx_streams.projections import lists

POSTINGS_PER_BLOCK = 1_000

_queries = Queries("ledgerx_streams", "sql/dated.sql")


class DatedPosting(msgspec.Struct, frozen=True, gc=False):
    """A dated posting; `mark` is how many its account had at the last mark before it."""

    account_id: int
    effective_at: datetime
    seq: int
    line: int
    mark: int
    layer: int
    amount: int


class DatedMark(msgspec.Struct, frozen=True, gc=False):
    """An account's posting number `postings`, a multiple of 1,000, among its dated ones."""

    account_id: int
    seq: int
    line: int
    postings: int


def numbered(
    counts: Mapping[int, int], entries: Iterable[EntryRecord]
) -> tuple[Sequence[Sequence[DatedPosting]], Sequence[DatedMark]]:
    """The postings of the dated ones of `entries`, and the marks that they pass; accounts had `counts` before.

    The postings come in parts, to be added one after the other: in each all of an account belong to one mark.
    """
    numbers = dict(counts)
    parts: dict[int, list[DatedPosting]] = defaultdict(list)
    marks = []
    for entry in entries:
        if entry.effective_at is None:
            continue
        for number, line in enumerate(entry.postings):
            account_id = line.account_id
            before, numbers[account_id] = numbers[account_id], numbers[account_id] + 1
            marks_before = before // POSTINGS_PER_MARK
            part = parts[marks_before - counts[account_id] // POSTINGS_PER_MARK]
            mark = marks_before * POSTINGS_PER_MARK
            amount = int(line.amount)
            part.append(DatedPosting(account_id, entry.effective_at, entry.seq, number, mark, line.layer.value, amount))
            if numbers[account_id] % POSTINGS_PER_MARK == 0:
                marks.append(DatedMark(account_id, entry.seq, number, numbers[account_id]))
    return list(parts.values()), marks


async def write_dated(connection: Connection, tenant_id: UUID, entries: Sequence[EntryRecord], head_seq: int) -> None:
    """Add the postings of dated `entries`; `head_seq` is where the projection stands after them."""
    added = Counter(line.account_id for entry in entries for line in entry.postings)
    tails = await connection.execute(
        _queries.add_to_tails,
        {"tenant_id": tenant_id, "account_id": list(added), "postings": list(added.values())},
    )
    parts, marks = numbered(dict(await tails.fetchall()), entries)
    if marks:
        await connection.execute(_queries.insert_marks, {"tenant_id": tenant_id, **lists(marks)})
    sizes: dict[tuple[int, datetime, int, int], int] = {}
    for part in parts:
        changed = await connection.execute(_queries.add_to_blocks, {"tenant_id": tenant_id, **lists(part)})
        async for *key, postings in changed:
            sizes[tuple(key)] = postings
    for (account_id, effective_at, seq, line), postings in sizes.items():
        if postings > POSTINGS_PER_BLOCK:
            block = {
                "tenant_id": tenant_id,
                "account_id": account_id,
                "effective_at": effective_at,
                "seq": seq,
                "line": line,
            }
            await connection.execute(_queries.forget_versions, block)
            await connection.execute(
                _queries.split_block, {**block, "head_seq": head_seq, "postings": POSTINGS_PER_BLOCK // 2}
            )
