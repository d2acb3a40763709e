"""Where events leave for Kafka: in order, kept until they are acknowledged, and sent again by a new producer otherwise.

An idempotent producer of aiokafka repeats a request for as long as it takes, but gives a batch up when its partition
has no leader for the time of a request, when the broker refuses it, and takes no more for that partition while its
buffer is full. So a failed producer is dropped on the spot, with all that it has not sent: what follows the event that
failed must not overtake it. The next one begins with that event.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NoReturn

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError, ProducerClosed

from ledgerx_streams.relay import metrics
from ledgerx_streams.relay.outbox_event import OutboxEvent

_log = structlog.get_logger(__name__)

_PAUSE_S = 1.0

# Brokers refuse batches above 1 MiB by default; a single record has at most 900 KiB and its headers.
_BATCH_BYTES = 1_000_000
# Under load several rows then share a request, for the broker and for all who read from it.
_LINGER_MS = 50
# A broker that is away is logged about as often.
_RETRY_MS = 500
_REQUEST_TIMEOUT_MS = 40_000


class _Record:
    __slots__ = ("arrived", "event")

    def __init__(self, event: OutboxEvent) -> None:
        self.event = event
        self.arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Outlet:
    """Sends what is put into it, whatever happens to the broker; the caller bounds what is under way."""

    def __init__(self, new_producer: Callable[[], AIOKafkaProducer]) -> None:
        self._new_producer = new_producer
        self._waiting: deque[_Record] = deque()
        self._sent: deque[_Record] = deque()
        self._producer: AIOKafkaProducer | None = None
        self._error: BaseException | None = None
        self._wake = asyncio.Event()

    def put(self, event: OutboxEvent) -> asyncio.Future[None]:
        """Send `event` after all before it; the future ends when Kafka has acknowledged it, and never fails."""
        record = _Record(event)
        self._waiting.append(record)
        self._wake.set()
        return record.arrived

    async def start(self) -> AIOKafkaProducer:
        """A producer that has reached Kafka. Raises `KafkaError`."""
        producer = self._new_producer()
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def run(self, producer: AIOKafkaProducer) -> NoReturn:
        """Send until cancelled, beginning with `producer`."""
        while True:
            try:
                await self._send_all(producer)
            except KafkaError as error:
                _failed(error)
            finally:
                self._producer = None
                await abandon(producer)
            self._waiting.extendleft(reversed(self._sent))
            self._sent.clear()
            producer = await self._restart()

    async def _restart(self) -> AIOKafkaProducer:
        while True:
            await asyncio.sleep(_PAUSE_S)
            try:
                return await self.start()
            except KafkaError as error:
                _failed(error)

    async def _send_all(self, producer: AIOKafkaProducer) -> None:
        """Raises `KafkaError` when `producer` is of no more use."""
        self._producer, self._error = producer, None
        while True:
            while self._waiting and self._error is None:
                event = self._waiting[0].event
                try:
                    delivery = await producer.send(event.topic, event.value, event.key, headers=list(event.headers))
                except KafkaTimeoutError as error:
                    # It has not taken this event, and still tries to get rid of those before it.
                    _failed(error)
                    continue
                record = self._waiting.popleft()
                self._sent.append(record)
                delivery.add_done_callback(partial(self._settle, producer, record))
            if self._error is not None:
                raise self._error
            self._wake.clear()
            await self._wake.wait()

    def _settle(self, producer: AIOKafkaProducer, record: _Record, delivery: "asyncio.Future[Any]") -> None:
        error = delivery.exception()
        if producer is not self._producer:
            return
        if error is None:
            if not record.arrived.done():
                record.arrived.set_result(None)
            while self._sent and self._sent[0].arrived.done():
                self._sent.popleft()
        else:
            self._error = self._error or error
            # Before it takes its next step; and whoever waits for room in its buffer, waits no longer.
            _sender_task(producer).cancel()
            _fail_all(producer, error)
            self._wake.set()


def _failed(error: KafkaError) -> None:
    _log.warning("Kafka does not take events, sending again", error=repr(error))
    metrics.KAFKA_FAILURES.inc()


async def abandon(producer: AIOKafkaProducer) -> None:
    """Stop a producer that was started, without sending what it still has."""
    sender = _sender_task(producer)
    sender.cancel()
    # Ends what is on the way to a broker that does not answer.
    await producer.client.close()
    await asyncio.wait({sender})
    # It would wait for them.
    _fail_all(producer, ProducerClosed())
    await producer.stop()


def _fail_all(producer: AIOKafkaProducer, error: BaseException) -> None:
    producer._message_accumulator.fail_all(error)  # noqa: SLF001 - as below


def _sender_task(producer: AIOKafkaProducer) -> "asyncio.Task[None]":
    task: asyncio.Task[None] = producer._sender.sender_task  # noqa: SLF001 - no public way to stop without a flush
    return task


@asynccontextmanager
async def open_outlet(
    options: dict[str, Any], *, request_timeout_ms: int = _REQUEST_TIMEOUT_MS
) -> AsyncIterator[Outlet]:
    """An outlet that has reached Kafka. `options` are those of a client; what has not arrived in the end is dropped.

    Raises `KafkaError` if Kafka cannot be reached in the beginning.
    """
    outlet = Outlet(
        lambda: AIOKafkaProducer(
            **options,
            client_id="ledgerx-relay",
            enable_idempotence=True,
            acks="all",
            max_batch_size=_BATCH_BYTES,
            linger_ms=_LINGER_MS,
            retry_backoff_ms=_RETRY_MS,
            request_timeout_ms=request_timeout_ms,
        )
    )
    producer = await outlet.start()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(outlet.run(producer))
        try:
            yield outlet
        finally:
            running.cancel()
