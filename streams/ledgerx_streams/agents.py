"""The Faust agent that carries the journal topic into the projections, each of which has a head of its own.

Faust commits the end of the first unbroken run of acknowledged offsets, wherever that begins. So messages are
acknowledged in the order of their partition, and only after their rows are committed and on the database's disk: an
offset never overtakes them. A tenant may record nothing for long, and so get no message that shows a gap. Only messages
of a database that does not answer are passed over, where there are others: see `ledgerx_streams.catch_up`.
`Stream.take` acknowledges what it handed out even if the agent failed on it, so batches are made here instead: of just
what waits.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import psycopg
import stamina
import structlog
from faust.types import EventT, StreamT, TopicT
from opentelemetry import trace
from prometheus_client import Counter

from ledgerx import telemetry
from ledgerx.errors import LedgerError
from ledgerx.events import JournalMessage, decode
from ledgerx_streams.databases import Databases, JournalDatabase
from ledgerx_streams.dead_letters import explained
from ledgerx_streams.lag import Lag
from ledgerx_streams.projections import TemporaryError
from ledgerx_streams.projector import Projector

_MESSAGES_PER_BATCH = 32
# Between two batches, unless it has fallen behind: what came in meanwhile then shares a transaction.
_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 10.0
# How long a database that does not answer is tried, where there are others.
_PATIENCE_S = 10.0

_PASSED_OVER = Counter(
    "ledgerx_streams_passed_over_messages",
    "Messages left to be caught up with: of databases that do not answer, or of tenants in no database.",
    ["reason"],
)
_POISON = Counter("ledgerx_projection_poison_messages", "Messages sent to the dead letters.", ["projection"])

_TRACEPARENT = "traceparent"

_log = structlog.get_logger()
_tracer = trace.get_tracer("ledgerx.streams")


class JournalAgent:
    """Applies the messages of a journal topic to `projections` in their tenants' databases.

    Those that a projection cannot take go to `dead_letters`. `lag` is told what comes and what is done.
    """

    def __init__(self, databases: Databases, projections: Sequence[str], dead_letters: TopicT, lag: Lag) -> None:
        self._databases = databases
        self._projections = projections
        self._dead_letters = dead_letters
        self._lag = lag

    async def run(self, stream: StreamT[bytes]) -> None:
        """Consume `stream` until cancelled."""
        stream.enable_acks = False
        waiting: asyncio.Queue[EventT[bytes]] = asyncio.Queue(_MESSAGES_PER_BATCH)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._collect(stream, waiting))
            while True:
                events = [await waiting.get()]
                while not waiting.empty():
                    events.append(waiting.get_nowait())
                with _span(events):
                    for database in await self._apply(events):
                        await self._flush(database)
                for event in events:
                    await stream.ack(event)
                    self._lag.done(event.message.tp, event.message.offset)
                if not waiting.full():
                    await asyncio.sleep(_PAUSE_S)

    async def _collect(self, stream: StreamT[bytes], waiting: asyncio.Queue[EventT[bytes]]) -> None:
        async for event in stream.events():
            self._lag.received(event.message.tp, event.message.offset)
            await waiting.put(event)

    async def _apply(self, events: Sequence[EventT[bytes]]) -> Collection[JournalDatabase]:
        """Apply the messages, and return whose they were."""
        databases = set()
        by_tenant: dict[UUID, list[tuple[EventT[bytes], JournalMessage]]] = defaultdict(list)
        for event in events:
            try:
                message = _decode(event)
            except ValueError as error:
                for projection in self._projections:
                    await self._bury(projection, event, error)
            else:
                by_tenant[message.tenant].append((event, message))
        async with asyncio.TaskGroup() as tasks:
            for tenant_id, received in by_tenant.items():
                database = await self._database_of(tenant_id, messages=len(received))
                if database is None:
                    continue
                databases.add(database)
                for projector in database.projectors:
                    tasks.create_task(self._apply_to_projection(database, projector, tenant_id, received))
        return databases

    async def _flush(self, database: JournalDatabase) -> None:
        try:
            async for attempt in self._patiently(database):
                with attempt:
                    await database.flush()
        except psycopg.Error:
            database.lost.set()

    async def _database_of(self, tenant_id: UUID, *, messages: int) -> JournalDatabase | None:
        """The tenant's database; None where its messages are passed over (see `ledgerx_streams.catch_up`)."""
        try:
            database = await self._databases.find(tenant_id)
        except LedgerError:
            _PASSED_OVER.labels("unreachable").inc(messages)
            return None
        if database is None:
            # It was purged, or is in a database that nobody has told of yet.
            _PASSED_OVER.labels("unknown").inc(messages)
        return database

    async def _apply_to_projection(
        self,
        database: JournalDatabase,
        projector: Projector,
        tenant_id: UUID,
        received: Sequence[tuple[EventT[bytes], JournalMessage]],
    ) -> None:
        try:
            async for attempt in self._patiently(database):
                with attempt:
                    await database.apply(projector, tenant_id, [message for _, message in received])
        except (ValueError, psycopg.Error) as error:
            if _is_transient(error):
                database.lost.set()
                _PASSED_OVER.labels("unreachable").inc(len(received))
            elif len(received) == 1:
                await self._bury(projector.name, received[0][0], error)
            else:
                for one in received:
                    await self._apply_to_projection(database, projector, tenant_id, [one])

    def _patiently(self, database: JournalDatabase) -> AsyncIterator[stamina.Attempt]:
        """Attempts, until one works or has no hope."""
        ends = time.monotonic() + _PATIENCE_S

        def may_work_later(error: Exception) -> bool:
            # Of several databases one that does not answer holds up no other for longer.
            is_over = database.lost.is_set() or (not self._databases.alone and time.monotonic() > ends)
            return _is_transient(error) and not (is_over and isinstance(error, psycopg.Error))

        return stamina.retry_context(on=may_work_later, attempts=None, timeout=None, wait_max=_LONGEST_PAUSE_S)

    async def _bury(self, projection: str, event: EventT[bytes], error: Exception) -> None:
        _POISON.labels(projection).inc()
        message = event.message
        where = {"topic": message.topic, "partition": message.partition, "offset": message.offset}
        _log.error("poison message", projection=projection, reason=str(error), **where)
        headers = explained(message, projection, error)
        await (await self._dead_letters.send(key=message.key, value=message.value, headers=headers))


@contextmanager
def _span(events: Sequence[EventT[bytes]]) -> Iterator[None]:
    """A span of its own trace for the batch, which has no parent among the many that it is linked to.

    In the trace of each message a span goes on that is linked to the batch's: a request leads to its projections.
    """
    if not telemetry.tracing_enabled():
        yield
        return
    attributes: dict[str, str | int] = {"messaging.system": "kafka", "messaging.batch.message_count": len(events)}
    origins = [origin for event in events if (origin := _traceparent(event)) is not None]
    with _tracer.start_as_current_span(
        "ledgerx.project", kind=trace.SpanKind.CONSUMER, links=telemetry.links_to(origins), attributes=attributes
    ) as batch:
        links = [trace.Link(batch.get_span_context())]
        spans = [
            _tracer.start_span("ledgerx.apply", telemetry.trace_of(origin), trace.SpanKind.CONSUMER, links=links)
            for origin in origins
        ]
        try:
            yield
        finally:
            for span in spans:
                span.end()


def _traceparent(event: EventT[bytes]) -> str | None:
    given = dict(event.message.headers or ()).get(_TRACEPARENT)
    return None if given is None else given.decode("latin-1")


def _decode(event: EventT[bytes]) -> JournalMessage:
    message = decode(event.value or b"")
    numbers = [entry.seq for entry in message.entries]
    if not numbers or numbers != list(range(message.first, message.last + 1)):
        raise ValueError(f"the entries are not those from {message.first} to {message.last}")
    if message.hash != message.entries[-1].hash:
        raise ValueError("the hash is not that of the last entry")
    return message


def _is_transient(error: Exception) -> bool:
    """Whether the same entries may work later; rows that the database finds wrong it never takes."""
    if isinstance(error, TemporaryError):
        return True
    return isinstance(error, psycopg.Error) and not isinstance(error, psycopg.DataError | psycopg.IntegrityError)
