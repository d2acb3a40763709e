"""The relay as a process: sessions one after the other, its endpoint, and its end."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import structlog
from aiokafka.errors import KafkaError

from ledgerx.database import connect
from ledgerx_streams import management
from ledgerx_streams.kafka_access import KafkaAccess
from ledgerx_streams.relay import metrics
from ledgerx_streams.relay.outlet import open_outlet
from ledgerx_streams.relay.pgoutput import ProtocolError
from ledgerx_streams.relay.session import Session
from ledgerx_streams.relay.settings import Settings

_log = structlog.get_logger(__name__)

_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
# A session that lasted this long was a good one: the next failure is a new one.
_CALM_S = 60


class Relay:
    """Carries the outbox to Kafka, session after session, with growing pauses between those that fail."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kafka = KafkaAccess(settings).aiokafka()
        self._state = ""
        self._has_streamed = False
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
                _log.warning("session failed", errors=[repr(failure) for failure in _each(failures)])
            self._enter(metrics.STARTING)
            metrics.RECONNECTS.inc()
            if time.monotonic() - started > _CALM_S:
                pause_s = _PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _session(self) -> None:
        url = self._settings.database_url.reveal()
        async with (
            open_outlet(self._kafka) as outlet,
            await connect(url, application_name="ledgerx-relay") as connection,
        ):
            await Session(self._settings, outlet, connection, self._enter, slot_known=self._has_streamed).run()

    def _enter(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._has_streamed = self._has_streamed or state == metrics.STREAMING
            metrics.STATE.state(state)
            _log.info("state", state=state)


def _each(failures: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    for failure in failures.exceptions:
        if isinstance(failure, BaseExceptionGroup):
            yield from _each(failure)
        else:
            yield failure


async def serve(settings: Settings) -> None:
    """Run the relay and its management endpoint until SIGTERM or SIGINT."""
    relay = Relay(settings)
    running = asyncio.create_task(relay.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    async with management.serve(settings.management_host, settings.management_port, lambda: relay.ready):
        with suppress(asyncio.CancelledError):
            await running
