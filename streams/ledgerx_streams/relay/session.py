"""One session of the relay: one outlet, one slot, and all that happens until Postgres fails."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing, nullcontext, suppress
from typing import LiteralString, NoReturn

import psycopg
import structlog
from opentelemetry import trace

from ledgerx import telemetry
from ledgerx.database import Connection, Queries
from ledgerx.partitions import keep_partitions_ahead, make_partitions
from ledgerx_streams.relay import metrics
from ledgerx_streams.relay.metrics import RelayMetrics
from ledgerx_streams.relay.outbox_event import OutboxEvent, outbox_event
from ledgerx_streams.relay.outlet import Outlet
from ledgerx_streams.relay.pgoutput import Commit, Decoder, Insert, Keepalive, Lsn, Row
from ledgerx_streams.relay.replication import ReplicationStream, replication_stream
from ledgerx_streams.relay.settings import Settings
from ledgerx_streams.relay.slot import SlotHeldError, SlotState, new_slot, slot_state, snapshot_rows
from ledgerx_streams.relay.window import Window
from ledgerx_streams.slots import Source

PUBLICATION = "ledgerx"

_sql = Queries("ledgerx_streams", "sql/relay.sql")
_log = structlog.get_logger(__name__)
_tracer = trace.get_tracer("ledgerx.relay")

_STANDBY_POLL_S = 1
_CONFIRM_S = 1
_FAREWELL_S = 5


class Session:
    """Carries the outbox of `source` to `outlet`; `connection` is for all but the stream and the snapshot's rows.

    `enter` is told each state (of `metrics`) as it begins. `slot_known` says that the slot has been there.
    """

    def __init__(
        self,
        source: Source,
        settings: Settings,
        measures: RelayMetrics,
        outlet: Outlet,
        connection: Connection,
        enter: Callable[[str], None],
        *,
        slot_known: bool = False,
    ) -> None:
        self._source = source
        self._url = source.url.reveal()
        self._slot = source.slot
        self._metrics = measures
        self._slot_known = slot_known
        self._heartbeat_s = settings.relay_heartbeat_s
        self._outlet = outlet
        self._connection = connection
        self._enter = enter
        self._window = Window(max_records=settings.relay_max_records, max_bytes=settings.relay_max_bytes)
        self._heartbeat_position: Lsn = 0
        self._heartbeat_at = 0.0
        self._metrics.in_flight_records.set_function(lambda: self._window.records)
        self._metrics.in_flight_bytes.set_function(lambda: self._window.bytes)
        self._metrics.lag_seconds.set_function(self._lag_s)

    async def run(self) -> NoReturn:
        """Take the slot when it is free, and carry on until cancelled or failed; raises an exception group then."""
        # Without today's nobody can record anything: it comes before all else.
        await make_partitions(self._connection)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_partitions_ahead(lambda: nullcontext(self._connection), asyncio.Event()))
            tasks.create_task(self._measure_lag_bytes())
            while True:
                try:
                    match await slot_state(self._connection, self._slot):
                        case SlotState.FREE:
                            await self._stream(tasks)
                        case SlotState.HELD:
                            await self._stand_by()
                        case SlotState.MISSING | SlotState.LOST:
                            await self._snapshot()
                except SlotHeldError:
                    await self._stand_by()

    async def _stand_by(self) -> None:
        self._enter(metrics.STANDBY)
        await asyncio.sleep(_STANDBY_POLL_S)

    async def _snapshot(self) -> None:
        async with new_slot(self._source, self._connection, self._metrics, known=self._slot_known) as snapshot:
            self._enter(metrics.SNAPSHOT)
            async with aclosing(snapshot_rows(self._url, snapshot)) as rows:
                async for row in rows:
                    await self._send(row)
            await self._window.drained()
        self._metrics.snapshots.inc()
        _log.info("snapshot carried", slot=self._slot)

    async def _stream(self, tasks: asyncio.TaskGroup) -> None:
        async with replication_stream(self._url, slot=self._slot, publication=PUBLICATION) as stream:
            self._enter(metrics.STREAMING)
            tasks.create_task(self._heartbeats())
            confirming = tasks.create_task(self._confirm(stream))
            try:
                await self._carry(stream)
            finally:
                confirming.cancel()
                await asyncio.wait({confirming})

    async def _carry(self, stream: ReplicationStream) -> None:
        decoder = Decoder()
        while True:
            match decoder.decode(await stream.receive()):
                case Insert(row):
                    await self._send(row)
                case Commit(end):
                    self._window.mark(end)
                    self._metrics.transactions.inc()
                case Keepalive(position, reply_requested):
                    self._window.mark(position)
                    if reply_requested:
                        stream.confirm(self._window.acknowledged)

    async def _send(self, row: Row) -> None:
        event = outbox_event(row)
        await self._window.room()
        arrived = self._outlet.put(event)
        _trace(event, arrived)
        self._window.sent(arrived, event.size_bytes)
        self._metrics.rows.inc()
        self._metrics.bytes.inc(event.size_bytes)

    async def _confirm(self, stream: ReplicationStream) -> None:
        """Confirm what Kafka has acknowledged; when cancelled, also what is still on its way, if that is soon."""
        try:
            while True:
                stream.confirm(self._window.acknowledged)
                await asyncio.sleep(_CONFIRM_S)
        except asyncio.CancelledError:
            with suppress(TimeoutError, psycopg.Error):
                async with asyncio.timeout(_FAREWELL_S):
                    await self._window.drained()
                    stream.confirm(self._window.acknowledged)
                    await stream.finish()
            raise

    async def _heartbeats(self) -> NoReturn:
        while True:
            if not self._lag_s():
                self._heartbeat_position = await self._number(_sql.heartbeat)
                self._heartbeat_at = time.monotonic()
            await asyncio.sleep(self._heartbeat_s)

    def _lag_s(self) -> float:
        arrived = self._window.acknowledged >= self._heartbeat_position
        return 0 if arrived else time.monotonic() - self._heartbeat_at

    async def _measure_lag_bytes(self) -> NoReturn:
        while True:
            self._metrics.lag_bytes.set(await self._number(_sql.lag, slot=self._slot))
            await asyncio.sleep(self._heartbeat_s)

    async def _number(self, query: LiteralString, **parameters: str | int) -> int:
        cursor = await self._connection.execute(query, parameters)
        [(number,)] = await cursor.fetchall()
        return int(number)


def _trace(event: OutboxEvent, arrived: "asyncio.Future[None]") -> None:
    """Make a span of an event's way to Kafka. The event carries the trace on as it is: it is Debezium's to the byte."""
    traceparent = dict(event.headers).get("traceparent")
    if traceparent is not None and telemetry.tracing_enabled():
        span = _tracer.start_span(
            "ledgerx.relay", telemetry.trace_of(traceparent.decode("latin-1")), kind=trace.SpanKind.PRODUCER
        )
        arrived.add_done_callback(lambda _: span.end())
