"""Captures balances at the moments of every tenant's schedule, and drops what is beyond its retention.

Where a snapshot stands is in the tenant's schedule, which is locked for a page at a time: any number of workers may do
so, one goes on where another was killed, and moments that were missed are made up for.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import psycopg
import structlog
from prometheus_client import Counter

from ledgerx import rows
from ledgerx.database import Connection, Pool, Queries, tenant_scope
from ledgerx.schedules import next_boundary

TENANTS_AT_ONCE = 500
# Of a page: postings whose accounts are captured, and accounts of which older balances are dropped.
POSTINGS_PER_PAGE = 2_000
ACCOUNTS_PER_PAGE = 1_000
# Pages of one tenant before others have their turn.
_PAGES_AT_ONCE = 100
# An entry that is being recorded may have a time before the moment, and is seen by then: this is longer than any
# transaction of the engine, and than clocks differ. Once there is an entry from after the moment, nobody waits.
SETTLE_S = 60.0

_TAKEN = Counter("ledgerx_snapshots_taken", "Snapshots of tenants finished by this process.")
_log = structlog.get_logger()
_queries = Queries("ledgerx_streams", "sql/snapshots.sql")


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """Where a tenant's snapshots stand: columns of `lock_schedule`."""

    schedule: list[str]
    retention_days: int
    boundary: datetime
    seq: int
    upto_seq: int | None
    captured_seq: int
    pruned_seq: int
    time_zone: str


class _End(msgspec.Struct, frozen=True):
    """The last entry before a moment. There is no other one recorded before `news_at`."""

    seq: int
    news_at: datetime


class Snapshots:
    """Takes the snapshots of all tenants."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def take_due(self, now: datetime | None = None) -> None:
        """Take and prune what is due at the moment `now`, a bounded part of it. Raises `psycopg.Error`."""
        now = now or datetime.now(UTC)
        async with self._pool.connection() as connection:
            parameters = {"moment": now, "most": TENANTS_AT_ONCE}
            cursor = await connection.execute(_queries.due_snapshots, parameters)
            due = [tenant_id for (tenant_id,) in await cursor.fetchall()]
        for tenant_id in due:
            try:
                for _ in range(_PAGES_AT_ONCE):
                    if not await self._capture_page(tenant_id, now):
                        break
                await self._prune(tenant_id, now)
            except psycopg.Error as error:
                _log.warning("snapshot not taken", tenant=str(tenant_id), error=str(error).strip())

    async def _capture_page(self, tenant_id: UUID, now: datetime) -> bool:
        """Do a page of the snapshot that is due; whether there may be more to do."""
        async with self._pool.connection() as connection, tenant_scope(connection, tenant_id):
            schedule = await _lock(connection, tenant_id)
            if schedule is None or schedule.boundary > now:
                return False
            upto, reached = schedule.upto_seq, schedule.boundary
            if upto is None:
                end_of = await _end(connection, tenant_id, schedule, now)
                if end_of is None:
                    return False
                upto = end_of.seq
                # Moments before the next entry have no news either.
                reached = max(reached, min(end_of.news_at, now)) if upto == schedule.seq else reached
            page = {"tenant_id": tenant_id, "after": schedule.captured_seq, "upto": upto}
            cursor = await connection.execute(_queries.page_end, page | {"postings": POSTINGS_PER_PAGE})
            [(end,)] = await cursor.fetchall()
            if end is not None:
                await connection.execute(_queries.capture, page | {"end": end})
                await connection.execute(_queries.go_on, {"tenant_id": tenant_id, "upto": upto, "end": end})
                return True
            progress = {
                "tenant_id": tenant_id,
                "upto": upto,
                "boundary": schedule.boundary,
                "next": next_boundary(schedule.schedule, reached, schedule.time_zone),
            }
            if upto > schedule.seq:
                await connection.execute(_queries.insert_snapshot, progress)
            await connection.execute(_queries.wait_for, progress)
        if upto > schedule.seq:
            _TAKEN.inc()
        return True

    async def _prune(self, tenant_id: UUID, now: datetime) -> None:
        for _ in range(_PAGES_AT_ONCE):
            after: int | None = 0
            while after is not None:
                async with self._pool.connection() as connection, tenant_scope(connection, tenant_id):
                    schedule = await _lock(connection, tenant_id)
                    if schedule is None:
                        return
                    moment = now - timedelta(days=schedule.retention_days)
                    parameters = {"tenant_id": tenant_id, "pruned": schedule.pruned_seq, "moment": moment}
                    found = await (await connection.execute(_queries.outlived, parameters)).fetchone()
                    if found is None:
                        return
                    page = {"tenant_id": tenant_id, "seq": found[0], "after": after, "limit": ACCOUNTS_PER_PAGE}
                    # Hidden first: what is half gone must not be shown.
                    await connection.execute(_queries.delete_snapshots, page)
                    cursor = await connection.execute(_queries.prune_page, page)
                    [(after,)] = await cursor.fetchall()
                    if after is None:
                        await connection.execute(_queries.pruned, page)


async def _lock(connection: Connection, tenant_id: UUID) -> Schedule | None:
    cursor = await connection.execute(_queries.lock_schedule, {"tenant_id": tenant_id})
    row: rows.Row | None = await cursor.fetchone()
    return None if row is None else Schedule(**dict(zip(Schedule.__struct_fields__, row, strict=True)))


async def _end(connection: Connection, tenant_id: UUID, schedule: Schedule, now: datetime) -> _End | None:
    """Where a snapshot ends; None while that is not known, or the balances have not come to it."""
    parameters = {"tenant_id": tenant_id, "boundary": schedule.boundary}
    cursor = await connection.execute(_queries.end_of, parameters)
    [(seq, following_at, projected)] = await cursor.fetchall()
    settled_at = now - timedelta(seconds=SETTLE_S)
    # The sums of an account are its nearest mark and what comes after: without marks they take long.
    if (following_at is None and schedule.boundary > settled_at) or projected < seq:
        return None
    return _End(seq, following_at or settled_at)
