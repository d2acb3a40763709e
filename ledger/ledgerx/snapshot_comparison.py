"""Verification of snapshots: what they captured is compared with the sums of the entries up to theirs.

Snapshots are dropped while this reads: what is kept of one that is not shown any more has to be right, not whole.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from ledgerx import rows
from ledgerx.database import Connection, Queries, tenant_scope
from ledgerx.journal import Entry
from ledgerx.state import Sums

# Bounds what is in memory beside the sums of all accounts.
ACCOUNTS_PER_PAGE = 10_000

_queries = Queries("ledgerx", "sql/snapshots.sql")
Find = Callable[[int | None, str], None]


class SnapshotComparison:
    """Follows the entries up to `last`, the entry of the last snapshot when it was opened; 0 where there is none."""

    def __init__(self, connection: Connection, tenant_id: UUID, find: Find, *, last: int) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._find = find
        self.last = last
        # The next entry at which something was captured.
        self._next: int | None = 0
        # The accounts with postings after what was captured of them last.
        self._stale: set[int] = set()
        # The moment of the snapshot before, which is later than the entries up to it, and not than the next one.
        self._taken_at: datetime | None = None

    async def feed(self, entry: Entry, sums: Mapping[int, Sums]) -> None:
        """Follow the next entry, and compare what was captured at it with `sums`, those of all accounts up to it."""
        if entry.seq > self.last:
            return
        if self._taken_at is not None and entry.recorded_at < self._taken_at:
            self._find(entry.seq, f"the snapshot of {self._taken_at:%Y-%m-%dT%H:%M:%SZ} lacks the entry {entry.seq}")
        self._taken_at = None
        self._stale.update(line.account_id for line in entry.postings)
        while self._next is not None and self._next < entry.seq:
            self._next = await self._captured_after(entry.seq - 1)
        if self._next == entry.seq:
            await self._compare(entry, sums)

    def compare(self, head_seq: int) -> None:
        """Compare the last snapshot with the journal's head, after the last entry."""
        if self.last > head_seq:
            self._find(self.last, "there is a snapshot at an entry that the journal does not have")

    async def _captured_after(self, seq: int) -> int | None:
        async with tenant_scope(self._connection, self._tenant_id, read_only=True):
            cursor = await self._connection.execute(
                _queries.captured_after, {"tenant_id": self._tenant_id, "after": seq}
            )
        [(found,)] = await cursor.fetchall()
        return found  # type: ignore[no-any-return]

    async def _compare(self, entry: Entry, sums: Mapping[int, Sums]) -> None:
        seq = entry.seq
        page: Sequence[rows.Row] = [(0,)]
        async with tenant_scope(self._connection, self._tenant_id, snapshot=True):
            taken = await self._fetch(_queries.taken_at, seq=seq)
            while page:
                page = await self._fetch(_queries.captured_at, seq=seq, after=page[-1][0], limit=ACCOUNTS_PER_PAGE)
                for account_id, *kept in page:
                    self._stale.discard(account_id)
                    if rows.sums(*kept) != sums.get(account_id, Sums()):
                        self._find(seq, f"the snapshot has another balance of account {account_id} than its postings")
        if not taken:
            return
        [(self._taken_at,)] = taken
        if entry.recorded_at >= self._taken_at:
            self._find(seq, f"the snapshot of {self._taken_at:%Y-%m-%dT%H:%M:%SZ} has an entry that came later")
        for account_id in sorted(self._stale):
            self._find(seq, f"the snapshot lacks account {account_id}, which changed before it")
        self._stale.clear()

    async def _fetch(self, query: Any, **parameters: Any) -> Sequence[rows.Row]:
        cursor = await self._connection.execute(query, {"tenant_id": self._tenant_id, **parameters}, binary=True)
        return await cursor.fetchall()


async def open_snapshots(connection: Connection, tenant_id: UUID, find: Find) -> SnapshotComparison:
    """What compares the snapshots of a tenant; `find` is told what is wrong."""
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(_queries.last_snapshot, {"tenant_id": tenant_id})
    [(last,)] = await cursor.fetchall()
    return SnapshotComparison(connection, tenant_id, find, last=last)
