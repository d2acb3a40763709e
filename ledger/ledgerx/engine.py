"""The posting engine: natural group commit, one lane for each tenant.

While one batch of a tenant is in flight, the next one fills up; no timer waits for anything. Lanes of different
tenants run side by side, each with at most one connection of the pool at a time and one batch before the next lane's
turn, so that no tenant starves another. Several engines, in one process or many, are serialised by the head's lock.
"""

import asyncio
import collections
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import structlog
from opentelemetry import trace
from prometheus_client import Counter, Gauge, Histogram
from psycopg import errors as pg
from psycopg_pool import PoolTimeout

from ledgerx.batch import run_batch, try_batch
from ledgerx.commands import AnyCommand
from ledgerx.constraints import domain_error
from ledgerx.database import Pool
from ledgerx.errors import LedgerError, Overloaded, Unavailable
from ledgerx.outcomes import Outcome, Refused

MAX_BATCH = 500
MAX_WAITING = 20_000
# How long a command is tried for; then the caller is told to try again with the same key.
PATIENCE_S = 15.0
_PAUSE_S = 0.1

_log = structlog.get_logger()
_tracer = trace.get_tracer("ledgerx.engine")
_BATCH_SIZE = Histogram(
    "ledgerx_engine_batch_commands", "Commands in one batch", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500)
)
_BATCH_SECONDS = Histogram(
    "ledgerx_engine_batch_seconds",
    "Time of one batch, from asking for a connection to the durable commit",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
)
_OUTCOMES = Counter("ledgerx_engine_commands_total", "Commands answered, by outcome", ["outcome"])
_WAITING = Gauge(
    "ledgerx_engine_waiting_commands", "Commands taken in and not yet answered", multiprocess_mode="livesum"
)
_RETRIES = Counter("ledgerx_engine_retries_total", "Batches run again, by reason", ["reason"])


class _Waiter:
    """A command and the caller that waits for its outcome. `atomic` is how many commands stand or fall together."""

    __slots__ = ("atomic", "command", "deadline", "future")

    def __init__(self, command: AnyCommand, future: asyncio.Future[Outcome], atomic: int, deadline: float) -> None:
        self.command = command
        self.future = future
        self.atomic = atomic
        self.deadline = deadline

    def answer(self, outcome: Outcome) -> None:
        # The caller may have gone away; what was recorded stays recorded.
        if not self.future.done():
            self.future.set_result(outcome)


class Engine:
    """Takes commands and answers each with its outcome once that is durable.

    `pool` must let its connections write as `ledgerx_api`. `clock` gives the time in UTC. No tenant opens more than
    `max_accounts` accounts, closed ones included; None is no limit.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        max_batch: int = MAX_BATCH,
        max_waiting: int = MAX_WAITING,
        max_accounts: int | None = None,
    ) -> None:
        self._pool = pool
        self._clock = clock
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._max_accounts = max_accounts
        self._lanes: dict[UUID, deque[_Waiter]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._draining = False
        _WAITING.set_function(lambda: self._waiting)

    async def run(self, tenant_id: UUID, command: AnyCommand) -> Outcome:
        """Decide `command` and return its outcome.

        Raises `Overloaded` when the queue is full or the engine drains: the command was not taken.
        A `Refused` outcome with `Unavailable` means that the database did not answer in time.
        """
        [outcome] = await self._queue(tenant_id, [command])
        return outcome

    async def run_all(self, tenant_id: UUID, commands: Sequence[AnyCommand]) -> Sequence[Outcome]:
        """Decide `commands` each on its own, as many at once as a batch holds, so that others' commands slip between.

        Raises `Overloaded` like `run`, unless some were taken before: the rest is refused with it then.
        """
        outcomes: list[Outcome] = []
        for first in range(0, len(commands), self._max_batch):
            chunk = commands[first : first + self._max_batch]
            try:
                outcomes += await self._queue(tenant_id, chunk)
            except Overloaded as error:
                if not outcomes:
                    raise
                outcomes += [Refused(error)] * len(chunk)
        return outcomes

    async def run_atomic(self, tenant_id: UUID, commands: Sequence[AnyCommand]) -> Sequence[Outcome]:
        """Decide `commands` as one batch of which all are recorded or none. Raises `Overloaded` like `run`."""
        return await self._queue(tenant_id, commands, atomic=len(commands))

    async def try_all(
        self, tenant_id: UUID, commands: Sequence[AnyCommand], *, atomic: bool = False
    ) -> Sequence[Outcome]:
        """What `commands` would come to now; nothing is written. Raises `psycopg.Error`."""
        async with self._pool.connection() as connection:
            return await try_batch(
                connection,
                tenant_id,
                commands,
                clock=self._clock,
                atomic=atomic,
                max_accounts=self._max_accounts,
            )

    async def _queue(self, tenant_id: UUID, commands: Sequence[AnyCommand], *, atomic: int = 0) -> Sequence[Outcome]:
        if self._draining:
            raise Overloaded("this process is shutting down")
        if self._waiting + len(commands) > self._max_waiting:
            raise Overloaded("too many commands are waiting")
        create_future = asyncio.get_running_loop().create_future
        deadline = time.monotonic() + PATIENCE_S
        waiters = [_Waiter(command, create_future(), atomic, deadline) for command in commands]
        self._waiting += len(waiters)
        try:
            lane = self._lanes.get(tenant_id)
            if lane is None:
                self._lanes[tenant_id] = lane = deque()
                task = asyncio.create_task(self._run_lane(tenant_id, lane))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            lane.extend(waiters)
            return [await waiter.future for waiter in waiters]
        finally:
            self._waiting -= len(waiters)

    async def drain(self) -> None:
        """Take nothing new and return when all that was taken is answered."""
        self._draining = True
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _run_lane(self, tenant_id: UUID, lane: deque[_Waiter]) -> None:
        try:
            # The next batch is under way before the answers of the last one are: the database never waits for them.
            while lane:
                await self._settle(tenant_id, self._next_batch(lane))
        finally:
            del self._lanes[tenant_id]

    def _next_batch(self, lane: deque[_Waiter]) -> list[_Waiter]:
        if lane[0].atomic:
            return [lane.popleft() for _ in range(lane[0].atomic)]
        batch: list[_Waiter] = []
        while lane and not lane[0].atomic and len(batch) < self._max_batch:
            batch.append(lane.popleft())
        return batch

    async def _settle(self, tenant_id: UUID, batch: Sequence[_Waiter]) -> None:
        """Answer every waiter of `batch`, whatever happens."""
        while batch:
            try:
                outcomes = await self._attempt(tenant_id, batch)
            except LedgerError as error:
                _refuse(batch, error)
                return
            except (psycopg.DataError, psycopg.IntegrityError) as error:
                await self._settle_apart(tenant_id, batch, error)
                return
            except psycopg.Error as error:
                # A conflict, a time-out, or a lost connection whose commit may have happened: the head's lock and the
                # idempotency keys make it safe to run the same commands again, and nothing else can tell.
                batch = await self._wait_for_better(batch, error)
            except Exception:  # noqa: BLE001 - a bug of ours; the callers must hear of it
                _log.exception("batch failed", tenant=str(tenant_id), commands=len(batch))
                _refuse(batch, LedgerError())
                return
            else:
                _answer(batch, outcomes)
                return

    async def _attempt(self, tenant_id: UUID, batch: Sequence[_Waiter]) -> Sequence[Outcome]:
        commands = [waiter.command for waiter in batch]
        atomic = batch[0].atomic > 0
        _BATCH_SIZE.observe(len(commands))
        with _BATCH_SECONDS.time(), _tracer.start_as_current_span("ledgerx.batch"):
            async with self._pool.connection() as connection:
                return await run_batch(
                    connection,
                    tenant_id,
                    commands,
                    clock=self._clock,
                    atomic=atomic,
                    max_accounts=self._max_accounts,
                )

    async def _settle_apart(self, tenant_id: UUID, batch: Sequence[_Waiter], error: psycopg.Error) -> None:
        """One command of the batch offends the database: halve the batch until it stands alone."""
        if len(batch) == 1 or batch[0].atomic:
            _refuse(batch, domain_error(error))
            return
        _RETRIES.labels("split").inc()
        middle = len(batch) // 2
        await self._settle(tenant_id, batch[:middle])
        await self._settle(tenant_id, batch[middle:])

    async def _wait_for_better(self, batch: Sequence[_Waiter], error: psycopg.Error) -> Sequence[_Waiter]:
        """Refuse those whose patience ended, pause, and return the rest."""
        _RETRIES.labels(_reason(error)).inc()
        _log.warning("batch runs again", reason=_reason(error), commands=len(batch), error=str(error).strip())
        await asyncio.sleep(_PAUSE_S)
        now = time.monotonic()
        _refuse(
            [waiter for waiter in batch if waiter.deadline <= now], Unavailable("the database did not answer in time")
        )
        return [waiter for waiter in batch if waiter.deadline > now]


def _answer(batch: Sequence[_Waiter], outcomes: Sequence[Outcome]) -> None:
    for waiter, outcome in zip(batch, outcomes, strict=True):
        waiter.answer(outcome)
    for kind, count in collections.Counter(map(type, outcomes)).items():
        _OUTCOMES.labels(kind.__name__.lower()).inc(count)


def _refuse(batch: Sequence[_Waiter], error: LedgerError) -> None:
    _answer(batch, [Refused(error)] * len(batch))


def _reason(error: psycopg.Error) -> str:
    if isinstance(error, pg.SerializationFailure | pg.DeadlockDetected):
        return "conflict"
    if isinstance(error, PoolTimeout | pg.QueryCanceled | pg.LockNotAvailable | pg.IdleInTransactionSessionTimeout):
        return "timeout"
    return "connection"
