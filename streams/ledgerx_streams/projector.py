"""One projection of many tenants' journals, each entry applied once, in order and without a gap.

The rows and the head move in one transaction, and the head only from where it was believed to be: a worker that lost
a race, or does not know how a commit ended, finds out where the projection stands and plans anew. Nor does it move to
what the journal beside it does not hold, such as messages of what was recorded after the point that a database was
restored to.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram

from ledgerx import findings
from ledgerx.database import Pool, Queries, tenant_scope
from ledgerx.events import EntryRecord, JournalMessage
from ledgerx.findings import Finding
from ledgerx_streams.backfill import read_page
from ledgerx_streams.heads import Backfill, Fork, Head, Run, beginning, plan_run
from ledgerx_streams.projections import Projection, TemporaryError

# The log has a commit before anybody sees it, and replicas that the commit waits for may take a while.
SHOWN_AFTER_S = 30.0

_ENTRIES = Counter("ledgerx_projection_entries", "Entries applied.", ["projection"])
_BACKFILLED = Counter("ledgerx_projection_backfilled_entries", "Entries read from the tables.", ["projection"])
_FORKS = Counter("ledgerx_projection_forks", "Tenants stopped because their journal forked.", ["projection"])
_FRESHNESS = Histogram(
    "ledgerx_projection_freshness_seconds",
    "From the recording of an entry to the commit of its projection.",
    ["projection"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600),
)

_log = structlog.get_logger()
_queries = Queries("ledgerx_streams", "sql/heads.sql")


class _NotAdvancedError(Exception):
    """Another worker advanced the head first, or the journal does not hold the entries."""


class Projector:
    """Applies journal messages to `projection`."""

    def __init__(self, projection: Projection, pool: Pool) -> None:
        self._projection = projection
        self._pool = pool
        # Where each tenant's projection stood when this worker last saw it.
        self._heads: dict[UUID, Head] = {}
        # Where it stood when the journal turned out to be another one.
        self._forked: dict[UUID, Head] = {}
        self._entries = _ENTRIES.labels(projection.name)
        self._backfilled = _BACKFILLED.labels(projection.name)
        self._forks = _FORKS.labels(projection.name)
        self._freshness = _FRESHNESS.labels(projection.name)

    @property
    def name(self) -> str:
        """The projection's name."""
        return self._projection.name

    async def apply(self, tenant_id: UUID, messages: Sequence[JournalMessage]) -> None:
        """Bring a tenant's projection up to the last of `messages`, which are in order; one call a tenant at a time.

        A gap before a message is filled from the tables. A fork stops the tenant: from then on its messages are passed
        over, until the projection is rebuilt or this process starts anew. Raises `psycopg.Error` and `TemporaryError`;
        the same messages may be given again then.
        """
        if tenant_id in self._forked:
            if await self._load(tenant_id) == self._forked[tenant_id]:
                return
            del self._forked[tenant_id]
            _log.info("projection goes on", tenant=str(tenant_id), projection=self.name)
        while messages and tenant_id not in self._forked:
            head = self._heads.get(tenant_id) or await self._load(tenant_id)
            run = plan_run(head, messages)
            if run.entries and not await self._write(tenant_id, head, run):
                if await self._load(tenant_id) != head:
                    continue
                if run.taken == 1:
                    await self._stop_unless_fresh(tenant_id, head, run.entries[-1])
                    return
                # Those before the one that the journal does not hold may be of it.
                for message in messages:
                    await self.apply(tenant_id, [message])
                return
            self._heads[tenant_id] = run.head
            messages = messages[run.taken :]
            # What this worker remembers may be older than what another one wrote.
            if run.obstacle and await self._load(tenant_id) == run.head:
                messages = [*await self._overcome(tenant_id, run.obstacle), *messages]

    async def _overcome(self, tenant_id: UUID, obstacle: Backfill | Fork) -> Sequence[JournalMessage]:
        if isinstance(obstacle, Backfill):
            async with self._pool.connection() as connection:
                page = await read_page(connection, tenant_id, first=obstacle.first, last=obstacle.last)
            if page is not None:
                self._backfilled.inc(len(page.entries))
                return [page]
        await self._stop(tenant_id, obstacle)
        return []

    async def _stop_unless_fresh(self, tenant_id: UUID, head: Head, last: EntryRecord) -> None:
        """Stop at an entry that the journal does not hold. Raises `TemporaryError` while it may still come to light."""
        if (datetime.now(UTC) - last.recorded_at).total_seconds() < SHOWN_AFTER_S:
            raise TemporaryError(f"the journal does not show the entry {last.seq}")
        await self._stop(tenant_id, Fork(head.seq))

    async def _stop(self, tenant_id: UUID, obstacle: Backfill | Fork) -> None:
        self._forked[tenant_id] = self._heads[tenant_id]
        self._forks.inc()
        _log.error("journal forked, projection stopped", tenant=str(tenant_id), projection=self.name, at=obstacle)
        seq = obstacle.seq if isinstance(obstacle, Fork) else obstacle.first - 1
        what = f"the projection {self.name} stopped: what comes after the entry {seq} is of another journal"
        async with self._pool.connection() as connection, tenant_scope(connection, tenant_id):
            await findings.record(connection, tenant_id, [Finding(None, what)], found_by=self.name)

    async def _load(self, tenant_id: UUID) -> Head:
        head = beginning(tenant_id)
        key = {"tenant_id": tenant_id, "projection": self.name}
        async with self._pool.connection() as connection, tenant_scope(connection, tenant_id):
            await connection.execute(_queries.begin, {**key, "seq": head.seq, "hash": head.hash})
            rows = await connection.execute(_queries.find, key)
        [(seq, entry_hash)] = await rows.fetchall()
        self._heads[tenant_id] = head = Head(seq, entry_hash)
        return head

    async def _write(self, tenant_id: UUID, head: Head, run: Run) -> bool:
        """Write a run and advance the head; False, and nothing written, if it was not where it was believed to be,
        or the journal does not hold the run.
        """
        # Until the commit is known to have worked nobody knows where the head stands.
        self._heads.pop(tenant_id, None)
        try:
            async with self._pool.connection() as connection, tenant_scope(connection, tenant_id):
                advanced = await connection.execute(
                    _queries.advance,
                    {
                        "tenant_id": tenant_id,
                        "projection": self.name,
                        "seq": run.head.seq,
                        "hash": run.head.hash,
                        "seq_before": head.seq,
                        "hash_before": head.hash,
                    },
                )
                try:
                    await self._projection.write(connection, tenant_id, run.entries)
                except ValueError:
                    # What it keeps may be that of another head.
                    if await advanced.fetchone() is None:
                        raise _NotAdvancedError from None
                    raise
                if await advanced.fetchone() is None:
                    raise _NotAdvancedError
        except _NotAdvancedError:
            return False
        if self._projection.committed is not None:
            self._projection.committed()
        self._entries.inc(len(run.entries))
        self._freshness.observe((datetime.now(UTC) - run.entries[-1].recorded_at).total_seconds())
        return True
