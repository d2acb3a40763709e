"""Gives endpoints that are due their turns, so many at once, and none so many that others wait for it.

Every tenant has a turn before any has a second one, no tenant more than an eighth of all at once, and endpoints that
answer slowly no more than half of them: what they hold up is each other.
"""

import asyncio
from collections import Counter as Tally
from uuid import UUID

import psycopg
import structlog
from prometheus_client import Gauge

from ledgerx.databases import ALONE
from ledgerx.webhooks import FAILURES_OPEN
from ledgerx_streams.webhooks.courier import Courier
from ledgerx_streams.webhooks.store import Store

# When nothing is heard of news: retries become due, and workers vanish.
POLL_S = 0.5
# News that come together are looked at together.
_PAUSE_S = 0.01
_SWEEP_S = 60.0
_LOOKED_AT = 256

_OF = ["database"]
_OPEN = Gauge("ledgerx_webhook_open_circuits", "Webhook endpoints that wait after several failures in a row.", _OF)
_BEHIND = Gauge("ledgerx_webhook_behind_entries", "Entries that webhook endpoints still have to look at.", _OF)
_FAILING = Gauge(
    "ledgerx_webhook_failing_seconds", "For how long the endpoint has failed that has failed for longest.", _OF
)
_TURNS = Gauge("ledgerx_webhook_turns", "Turns of webhook endpoints under way in this process.", _OF)

_log = structlog.get_logger()


class Dispatcher:
    """Runs at most `at_once` turns of `courier` in a database at the same time. Any number of processes may."""

    def __init__(self, store: Store, courier: Courier, *, at_once: int, keep_days: int, database: str = ALONE) -> None:
        self._open_circuits = _OPEN.labels(database)
        self._behind = _BEHIND.labels(database)
        self._failing = _FAILING.labels(database)
        self._turns_shown = _TURNS.labels(database)
        self._store = store
        self._courier = courier
        self._keep_days = keep_days
        self._at_once = at_once
        self._slow_at_once = max(at_once // 2, 1)
        self._tenant_at_once = max(at_once // 8, 1)
        self._turns: dict[tuple[UUID, UUID], asyncio.Task[None]] = {}
        self._slow = 0
        self._of_tenant: Tally[UUID] = Tally()
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Look at once whether endpoints are due."""
        self._news.set()

    async def run(self) -> None:
        """Give turns until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sweep())
            while True:
                self._news.clear()
                try:
                    await self._start_due()
                except psycopg.Error as error:
                    _log.warning("due webhooks not found", error=str(error).strip())
                    await asyncio.sleep(POLL_S)
                try:
                    async with asyncio.timeout(POLL_S):
                        await self._news.wait()
                    await asyncio.sleep(_PAUSE_S)
                except TimeoutError:
                    pass

    async def close(self, *, patience_s: float) -> None:
        """Let turns end that end within `patience_s`, and break the others off; their events are sent again."""
        if self._turns:
            _, pending = await asyncio.wait(self._turns.values(), timeout=patience_s)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _start_due(self) -> None:
        for slow in (False, True):
            if self._has_room(slow=slow):
                for tenant_id, endpoint_id in await self._store.due(slow=slow, most=_LOOKED_AT):
                    if not self._has_room(slow=slow):
                        break
                    if (tenant_id, endpoint_id) not in self._turns and self._of_tenant[
                        tenant_id
                    ] < self._tenant_at_once:
                        self._start(tenant_id, endpoint_id, slow=slow)

    def _has_room(self, *, slow: bool) -> bool:
        return len(self._turns) < self._at_once and not (slow and self._slow >= self._slow_at_once)

    def _start(self, tenant_id: UUID, endpoint_id: UUID, *, slow: bool) -> None:
        self._slow += slow
        self._of_tenant[tenant_id] += 1
        task = asyncio.create_task(self._turn(tenant_id, endpoint_id))
        self._turns[tenant_id, endpoint_id] = task
        self._turns_shown.set(len(self._turns))

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                # The endpoint is left alone until its lease has run out.
                _log.error("turn of a webhook failed", webhook=str(endpoint_id), exc_info=error)
            del self._turns[tenant_id, endpoint_id]
            self._turns_shown.set(len(self._turns))
            self._slow -= slow
            self._of_tenant[tenant_id] -= 1
            if not self._of_tenant[tenant_id]:
                del self._of_tenant[tenant_id]
            self._news.set()

        task.add_done_callback(ended)

    async def _turn(self, tenant_id: UUID, endpoint_id: UUID) -> None:
        try:
            await self._courier.turn(tenant_id, endpoint_id)
        except psycopg.Error as error:
            # The lease runs out, and somebody begins anew where the row stands.
            _log.warning("turn of a webhook broken off", webhook=str(endpoint_id), error=str(error).strip())
            await asyncio.sleep(POLL_S)

    async def _sweep(self) -> None:
        while True:
            try:
                while await self._store.drop_old(keep_days=self._keep_days):
                    pass
                open_circuits, entries, failing_s = await self._store.behind(failures_open=FAILURES_OPEN)
            except psycopg.Error as error:
                _log.warning("webhooks not swept", error=str(error).strip())
            else:
                self._open_circuits.set(open_circuits)
                self._behind.set(entries)
                self._failing.set(failing_s)
            await asyncio.sleep(_SWEEP_S)
