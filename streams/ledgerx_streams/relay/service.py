"""The relay as a process: sessions one after the other, its endpoint, and its end."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from ledgerx import management
from ledgerx.database import connect
from ledgerx_streams.relay import metrics
from ledgerx_streams.relay.pgoutput import ProtocolError
from ledgerx_streams.relay.session import Session
from ledgerx_streams.relay.settings import Settings

_log = structlog.get_logger(__name__)

_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
# A session that lasted this long was a good one: the next failure is a new one.
_CALM_S = 60
_STOP_S = 6

# Brokers refuse batches above 1 MiB by default; a single record has at most 900 KiB and its headers.
_BATCH_BYTES = 1_000_000
# Under load several rows then share a request, for the broker and for all who read from it.
_LINGER_MS = 50
# A broker that is away is logged about as often.
_RETRY_MS = 500


class Relay:
    """Carries the outbox to Kafka, session after session, with growing pauses between those that fail."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._state = ""
        self._enter(metrics.STARTING)

    @property
    def ready(self) -> bool:
        """Whether it streams, or stands by to do so."""
        return self._state in {metrics.STREAMING, metrics.STANDBY}

    async def run(self) -> None:
        """Run until cancelled; what is on its way to Kafka then is waited for and confirmed."""
        pause_s = _PAUSE_S
        task = asyncio.current_task()
        # A cancellation that meets a failing session drowns in the session's own errors.
        while task and not task.cancelling():
            started = time.monotonic()
            try:
                await self._session()
            except* (psycopg.Error, KafkaError, ProtocolError, OSError) as failures:
                _log.warning("session failed", errors=[repr(failure) for failure in failures.exceptions])
            self._enter(metrics.STARTING)
            metrics.RECONNECTS.inc()
            if time.monotonic() - started > _CALM_S:
                pause_s = _PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _session(self) -> None:
        url = self._settings.database_url.reveal()
        async with (
            _producer(self._settings.kafka) as producer,
            await connect(url, application_name="ledgerx-relay") as connection,
        ):
            await Session(self._settings, producer, connection, self._enter).run()

    def _enter(self, state: str) -> None:
        if state != self._state:
            self._state = state
            metrics.STATE.state(state)
            _log.info("state", state=state)


@asynccontextmanager
async def _producer(bootstrap: str) -> AsyncIterator[AIOKafkaProducer]:
    """An idempotent producer, which keeps the order and retries for as long as it takes; ends when all has arrived."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        client_id="ledgerx-relay",
        enable_idempotence=True,
        acks="all",
        max_batch_size=_BATCH_BYTES,
        linger_ms=_LINGER_MS,
        retry_backoff_ms=_RETRY_MS,
    )
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()


async def serve(settings: Settings) -> None:
    """Run the relay and its management endpoint until SIGTERM or SIGINT."""
    relay = Relay(settings)
    running = asyncio.create_task(relay.run())
    loop = asyncio.get_running_loop()

    def stop() -> None:
        running.cancel()
        # A broker that is away would keep us from ending; nothing has been confirmed that it does not have.
        loop.call_later(_STOP_S, running.cancel)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    async with management.serve(settings.management_host, settings.management_port, lambda: relay.ready):
        with suppress(asyncio.CancelledError):
            await running
