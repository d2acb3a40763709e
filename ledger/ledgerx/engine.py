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
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial
from uuid import UUID
from weakref import WeakSet

import psycopg
import structlog
from opentelemetry import trace
from prometheus_client import Counter, Gauge, Histogram
from psycopg import errors as pg
from psycopg_pool import PoolTimeout

from ledgerx import telemetry
from ledgerx.batch import run_batch, try_batch
from ledgerx.commands import AnyCommand
from ledgerx.constraints import domain_error
from ledgerx.database import Pool
from ledgerx.errors import LedgerError, Overloaded, Unavailable
from ledgerx.outcomes import Outcome, Refused
from ledgerx.turns import Turns

MAX_BATCH = 500
# So many calls, beside the first, are never left to the next batch.
_ALWAYS = 7
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


# Those of this process, which has one for each database.
_ENGINES: "WeakSet[Engine]" = WeakSet()


class _Call:
    """Commands that came together, and the caller that waits for their outcomes.

    Of an `atomic` call all are recorded or none.
    """

    __slots__ = ("atomic", "commands", "deadline", "future")

    def __init__(self, commands: Sequence[AnyCommand], *, atomic: bool) -> None:
        self.commands = commands
        self.atomic = atomic
        self.deadline = time.monotonic() + PATIENCE_S
        self.future: asyncio.Future[Sequence[Outcome]] = asyncio.get_running_loop().create_future()

    def answer(self, outcomes: Sequence[Outcome]) -> None:
        # The caller may have gone away; what was recorded stays recorded.
        if not self.future.done():
            self.future.set_result(outcomes)


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
        self._lanes: dict[UUID, deque[_Call]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._answers = Turns()
        self._waiting = 0
        self._draining = False
        _ENGINES.add(self)

    async def run(self, tenant_id: UUID, command: AnyCommand) -> Outcome:
        """Decide `command` and return its outcome.

        Raises `Overloaded` when the queue is full or the engine drains: the command was not taken.
        A `Refused` outcome with `Unavailable` means that the database did not answer in time.
        """
        [outcome] = await self._take(tenant_id, [command]).future
        return outcome

    async def run_all(self, tenant_id: UUID, commands: Sequence[AnyCommand]) -> Sequence[Outcome]:
        """Decide `commands` each on its own, as many at once as a batch holds, so that others' commands slip between.

        Raises `Overloaded` like `run`, unless some were taken before: the rest is refused with it then.
        """
        outcomes: list[Outcome] = []
        taken: deque[_Call] = deque()
        rest: list[Outcome] = []
        for first in range(0, len(commands), self._max_batch):
            # While one chunk is decided, the next one waits its turn.
            if len(taken) == 2:
                outcomes += await taken.popleft().future
            try:
                taken.append(self._take(tenant_id, commands[first : first + self._max_batch]))
            except Overloaded as error:
                if not first:
                    raise
                rest = [Refused(error)] * (len(commands) - first)
                break
        for call in taken:
            outcomes += await call.future
        return outcomes + rest

    async def run_atomic(self, tenant_id: UUID, commands: Sequence[AnyCommand]) -> Sequence[Outcome]:
        """Decide `commands` as one batch of which all are recorded or none. Raises `Overloaded` like `run`."""
        return await self._take(tenant_id, commands, atomic=True).future

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

    def _take(self, tenant_id: UUID, commands: Sequence[AnyCommand], *, atomic: bool = False) -> _Call:
        if self._draining:
            raise Overloaded("this process is shutting down")
        if self._waiting + len(commands) > self._max_waiting:
            raise Overloaded("too many commands are waiting")
        call = _Call(commands, atomic=atomic)
        self._waiting += len(commands)
        lane = self._lanes.get(tenant_id)
        if lane is None:
            self._lanes[tenant_id] = lane = deque()
            task = asyncio.create_task(self._run_lane(tenant_id, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        lane.append(call)
        return call

    async def drain(self) -> None:
        """Take nothing new and return when all that was taken is answered."""
        self._draining = True
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._answers.finished()

    async def _run_lane(self, tenant_id: UUID, lane: deque[_Call]) -> None:
        try:
            # The next batch is under way before the answers of the last one leave: the database never waits for them.
            while lane:
                await self._settle(tenant_id, self._next_batch(lane))
        finally:
            del self._lanes[tenant_id]

    def _next_batch(self, lane: deque[_Call]) -> list[_Call]:
        """Two thirds of the calls that wait, of few all, as long as they fit in; an atomic call is a batch of its own.

        Callers that are answered together come back together. Were all of them taken each time, they would stay one
        wave, and this process and the database would work in turns instead of side by side.
        """
        batch = [lane.popleft()]
        if batch[0].atomic:
            return batch
        room = self._max_batch - len(batch[0].commands)
        for _ in range(min(len(lane), max(_ALWAYS, len(lane) * 2 // 3))):
            room -= len(lane[0].commands)
            if lane[0].atomic or room < 0:
                break
            batch.append(lane.popleft())
        return batch

    async def _settle(self, tenant_id: UUID, batch: Sequence[_Call]) -> None:
        """Answer every call of `batch`, whatever happens."""
        while batch:
            commands = [command for call in batch for command in call.commands]
            try:
                outcomes = await self._decide(tenant_id, commands, atomic=batch[0].atomic)
            except LedgerError as error:
                self._refuse(batch, error)
                return
            except psycopg.Error as error:
                # A conflict, a time-out, or a lost connection whose commit may have happened: the head's lock and the
                # idempotency keys make it safe to run the same commands again, and nothing else can tell.
                batch = await self._wait_for_better(batch, error)
            except Exception:  # noqa: BLE001 - a bug of ours; the callers must hear of it
                _log.exception("batch failed", tenant=str(tenant_id), commands=len(commands))
                self._refuse(batch, LedgerError())
                return
            else:
                self._answer(batch, outcomes)
                return

    async def _decide(self, tenant_id: UUID, commands: Sequence[AnyCommand], *, atomic: bool) -> Sequence[Outcome]:
        """Run `commands` as one batch; where one of them offends the database, halve it until that one stands alone."""
        try:
            return await self._attempt(tenant_id, commands, atomic=atomic)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            if len(commands) == 1 or atomic:
                return [Refused(domain_error(error))] * len(commands)
        _RETRIES.labels("split").inc()
        middle = len(commands) // 2
        first = await self._decide(tenant_id, commands[:middle], atomic=False)
        return [*first, *await self._decide(tenant_id, commands[middle:], atomic=False)]

    async def _attempt(self, tenant_id: UUID, commands: Sequence[AnyCommand], *, atomic: bool) -> Sequence[Outcome]:
        _BATCH_SIZE.observe(len(commands))
        with _BATCH_SECONDS.time(), _span(commands):
            async with self._pool.connection() as connection:
                return await run_batch(
                    connection,
                    tenant_id,
                    commands,
                    clock=self._clock,
                    atomic=atomic,
                    max_accounts=self._max_accounts,
                )

    async def _wait_for_better(self, batch: Sequence[_Call], error: psycopg.Error) -> Sequence[_Call]:
        """Refuse those whose patience ended, pause, and return the rest."""
        commands = sum(len(call.commands) for call in batch)
        _RETRIES.labels(_reason(error)).inc()
        _log.warning("batch runs again", reason=_reason(error), commands=commands, error=str(error).strip())
        await asyncio.sleep(_PAUSE_S)
        now = time.monotonic()
        late = [call for call in batch if call.deadline <= now]
        self._refuse(late, Unavailable("the database did not answer in time"))
        return [call for call in batch if call.deadline > now]

    def _refuse(self, batch: Sequence[_Call], error: LedgerError) -> None:
        self._answer(batch, [Refused(error)] * sum(len(call.commands) for call in batch))

    def _answer(self, batch: Sequence[_Call], outcomes: Sequence[Outcome]) -> None:
        self._waiting -= len(outcomes)
        first = 0
        for call in batch:
            self._answers.add(partial(call.answer, outcomes[first : first + len(call.commands)]))
            first += len(call.commands)
        for kind, count in collections.Counter(map(type, outcomes)).items():
            _OUTCOMES.labels(kind.__name__.lower()).inc(count)


_WAITING.set_function(lambda: sum(engine._waiting for engine in _ENGINES))  # noqa: SLF001 - this module's own


def _reason(error: psycopg.Error) -> str:
    if isinstance(error, pg.SerializationFailure | pg.DeadlockDetected):
        return "conflict"
    if isinstance(error, PoolTimeout | pg.QueryCanceled | pg.LockNotAvailable | pg.IdleInTransactionSessionTimeout):
        return "timeout"
    return "connection"


def _span(commands: Sequence[AnyCommand]) -> AbstractContextManager[object]:
    """A span in the trace that the batch's message will carry, linked to those of all other commands in it."""
    if not telemetry.tracing_enabled():
        return nullcontext()
    first, *others = dict.fromkeys(command.traceparent for command in commands)
    return _tracer.start_as_current_span("ledgerx.batch", telemetry.trace_of(first), links=telemetry.links_to(others))
