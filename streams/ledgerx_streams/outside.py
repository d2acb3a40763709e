"""A projection that needs something outside of the database, which may not work while all else does.

It must not hold up the others: what it is not taken is left behind, and made up for from the journal's tables once that
works again. What is left behind is found in the database, so that a restart or another worker changes nothing.
"""

import time
from collections.abc import Sequence
from uuid import UUID

import structlog
from prometheus_client import Gauge

from ledgerx.database import Pool, Queries
from ledgerx.events import JournalMessage
from ledgerx_streams.backfill import read_page
from ledgerx_streams.projections import Projection, RefusedError, TemporaryError
from ledgerx_streams.projector import Projector

# While all is well, an entry that is as old was left behind, and such ones are looked for as often.
PATIENCE_S = 30.0
LOOK_S = 30.0
TENANTS_AT_ONCE = 100
# The longest pause between two looks while nothing works; the first is of a second, and the next twice as long.
MAX_PAUSE_S = 60.0
# Failures in a row after which no further tenant is tried until the next look.
_ENOUGH = 3

_REFUSED = Gauge(
    "ledgerx_projection_refused_tenants",
    "Tenants whose entries something outside of the database did not take when they were tried last, by this worker.",
    ["projection"],
)

_log = structlog.get_logger()
_queries = Queries("ledgerx_streams", "sql/heads.sql")


class OutsideProjector(Projector):
    """Applies messages for as long as that works; `make_up` is to be called at intervals of about a second."""

    def __init__(self, projection: Projection, pool: Pool) -> None:
        super().__init__(projection, pool)
        self._making_up = Projector(projection, pool)
        # Looks, or messages, in a row that came to nothing.
        self._failures = 0
        self._look_at = 0.0
        self._refused = _REFUSED.labels(projection.name)
        self._refused.set(0)

    async def apply(self, tenant_id: UUID, messages: Sequence[JournalMessage]) -> None:
        """As `Projector.apply`, but what is refused, and all that comes until something is taken, is left behind.

        Raises `psycopg.Error` and `TemporaryError`.
        """
        if self._failures:
            return
        try:
            await super().apply(tenant_id, messages)
        except RefusedError as error:
            self._refused.set(1)
            self._tell(tenant_id, error)
            self._go_on(taken=False, more=False)

    async def make_up(self) -> None:
        """Look for tenants that were left behind, when it is time to, and bring them up. Raises `psycopg.Error`."""
        if time.monotonic() < self._look_at:
            return
        taken = refused = 0
        # Where nothing is applied as it comes, all that comes is left behind.
        behind = await self._left_behind(0.0 if self._failures else PATIENCE_S)
        for tenant_id, seq in behind:
            if await self._made_up(tenant_id, seq):
                taken += 1
            else:
                refused += 1
            if not taken and refused == _ENOUGH:
                break
        self._refused.set(refused)
        self._go_on(taken=taken > 0 or refused == 0, more=len(behind) == TENANTS_AT_ONCE)

    def _go_on(self, *, taken: bool, more: bool) -> None:
        if taken and self._failures:
            _log.info("projection goes on", projection=self.name)
        self._failures = 0 if taken else self._failures + 1
        quiet_s = 0.0 if more else LOOK_S
        pause_s = min(2.0 ** (self._failures - 1), MAX_PAUSE_S) if self._failures else quiet_s
        self._look_at = time.monotonic() + pause_s

    async def _left_behind(self, patience_s: float) -> list[tuple[UUID, int]]:
        parameters = {"projection": self.name, "patience_s": patience_s, "most": TENANTS_AT_ONCE}
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_queries.left_behind, parameters)
            return [(tenant_id, seq) for tenant_id, seq in await cursor.fetchall()]

    async def _made_up(self, tenant_id: UUID, seq: int) -> bool:
        """Bring a tenant up to the entry `seq`, with all before it; False if that is refused."""
        async with self._pool.connection() as connection:
            last = await read_page(connection, tenant_id, first=seq, last=seq)
        try:
            if last is not None:
                await self._making_up.apply(tenant_id, [last])
        except (TemporaryError, ValueError) as error:
            self._tell(tenant_id, error)
            return False
        return True

    def _tell(self, tenant_id: UUID, error: Exception) -> None:
        _log.error("projection refused, others go on", tenant=str(tenant_id), projection=self.name, error=str(error))
