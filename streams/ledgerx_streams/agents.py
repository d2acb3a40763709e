"""The Faust agent that carries the journal topic into the projections, each of which has a head of its own.

Faust commits the end of the first unbroken run of acknowledged offsets, wherever that begins. So messages are
acknowledged in the order of their partition, and only after their rows are committed and on the database's disk: an
offset never overtakes them. A tenant may record nothing for long, and so get no message that shows a gap.
`Stream.take` acknowledges what it handed out even if the agent failed on it, so batches are made here instead: of just
what waits.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import psycopg
import stamina
import structlog
from faust.types import EventT, StreamT, TopicT
from opentelemetry import propagate, trace
from prometheus_client import Counter

from ledgerx import telemetry
from ledgerx.database import Pool, Queries
from ledgerx.events import JournalMessage, decode
from ledgerx_streams.dead_letters import explained
from ledgerx_streams.lag import Lag
from ledgerx_streams.projections import TemporaryError
from ledgerx_streams.projector import Projector

_MESSAGES_PER_BATCH = 32
# Between two batches, unless it has fallen behind: what came in meanwhile then shares a transaction.
_PAUSE_S = 0.1
_WRITES_AT_ONCE = 8
_LONGEST_PAUSE_S = 10.0

_POISON = Counter("ledgerx_projection_poison_messages", "Messages sent to the dead letters.", ["projection"])

_TRACEPARENT = "traceparent"

_log = structlog.get_logger()
_tracer = trace.get_tracer("ledgerx.streams")
_queries = Queries("ledgerx_streams", "sql/heads.sql")


class JournalAgent:
    """Applies the messages of a journal topic; sends those that a projection cannot take to `dead_letters`.

    `pool` is of the database that the `projectors` write to, and `lag` is told what comes and what is done.
    """

    def __init__(self, projectors: Sequence[Projector], pool: Pool, dead_letters: TopicT, lag: Lag) -> None:
        self._projectors = projectors
        self._pool = pool
        self._dead_letters = dead_letters
        self._lag = lag
        self._writes = asyncio.Semaphore(_WRITES_AT_ONCE)
        self._poison = {projector.name: _POISON.labels(projector.name) for projector in projectors}

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
                    await self._apply(events)
                    await self._flush()
                for event in events:
                    await stream.ack(event)
                    self._lag.done(event.message.tp, event.message.offset)
                if not waiting.full():
                    await asyncio.sleep(_PAUSE_S)

    async def _collect(self, stream: StreamT[bytes], waiting: asyncio.Queue[EventT[bytes]]) -> None:
        async for event in stream.events():
            self._lag.received(event.message.tp, event.message.offset)
            await waiting.put(event)

    async def _apply(self, events: Sequence[EventT[bytes]]) -> None:
        by_tenant: dict[UUID, list[tuple[EventT[bytes], JournalMessage]]] = defaultdict(list)
        for event in events:
            try:
                message = _decode(event)
            except ValueError as error:
                for projector in self._projectors:
                    await self._bury(projector, event, error)
            else:
                by_tenant[message.tenant].append((event, message))
        async with asyncio.TaskGroup() as tasks:
            for tenant_id, received in by_tenant.items():
                for projector in self._projectors:
                    tasks.create_task(self._apply_to_tenant(projector, tenant_id, received))

    async def _flush(self) -> None:
        async for attempt in _patiently():
            with attempt:
                async with self._pool.connection() as connection:
                    await connection.execute(_queries.flush)

    async def _apply_to_tenant(
        self, projector: Projector, tenant_id: UUID, received: Sequence[tuple[EventT[bytes], JournalMessage]]
    ) -> None:
        try:
            async for attempt in _patiently():
                with attempt:
                    async with self._writes:
                        await projector.apply(tenant_id, [message for _, message in received])
        except (ValueError, psycopg.Error) as error:
            if len(received) == 1:
                await self._bury(projector, received[0][0], error)
            else:
                for one in received:
                    await self._apply_to_tenant(projector, tenant_id, [one])

    async def _bury(self, projector: Projector, event: EventT[bytes], error: Exception) -> None:
        self._poison[projector.name].inc()
        message = event.message
        where = {"topic": message.topic, "partition": message.partition, "offset": message.offset}
        _log.error("poison message", projection=projector.name, reason=str(error), **where)
        headers = explained(message, projector.name, error)
        await (await self._dead_letters.send(key=message.key, value=message.value, headers=headers))


@contextmanager
def _span(events: Sequence[EventT[bytes]]) -> Iterator[None]:
    """A span of its own trace, linked to those that the messages come from: a batch has many of them, and no parent."""
    if not telemetry.tracing_enabled():
        yield
        return
    attributes: dict[str, str | int] = {"messaging.system": "kafka", "messaging.batch.message_count": len(events)}
    with _tracer.start_as_current_span(
        "ledgerx.project", kind=trace.SpanKind.CONSUMER, links=list(_links(events)), attributes=attributes
    ):
        yield


def _links(events: Sequence[EventT[bytes]]) -> Iterator[trace.Link]:
    for event in events:
        given = dict(event.message.headers or ()).get(_TRACEPARENT)
        if given is not None:
            context = propagate.extract({_TRACEPARENT: given.decode("latin-1")})
            origin = trace.get_current_span(context).get_span_context()
            if origin.is_valid:
                yield trace.Link(origin)


def _decode(event: EventT[bytes]) -> JournalMessage:
    message = decode(event.value or b"")
    numbers = [entry.seq for entry in message.entries]
    if not numbers or numbers != list(range(message.first, message.last + 1)):
        raise ValueError(f"the entries are not those from {message.first} to {message.last}")
    if message.hash != message.entries[-1].hash:
        raise ValueError("the hash is not that of the last entry")
    return message


def _patiently() -> AsyncIterator[stamina.Attempt]:
    return stamina.retry_context(on=_is_transient, attempts=None, timeout=None, wait_max=_LONGEST_PAUSE_S)


def _is_transient(error: Exception) -> bool:
    """Whether the same entries may work later; rows that the database finds wrong it never takes."""
    if isinstance(error, TemporaryError):
        return True
    return isinstance(error, psycopg.Error) and not isinstance(error, psycopg.DataError | psycopg.IntegrityError)
