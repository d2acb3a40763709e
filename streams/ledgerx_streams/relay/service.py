"""The relay as a process: sessions one after the other, its endpoint, and its end."""

import asyncio
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import NoReturn

import psycopg
import structlog
from aiokafka.errors import KafkaError

from ledgerx import management
from ledgerx.database import connect
from ledgerx.databases import reader, serve_each
from ledgerx.schema import wait_for_schema
from ledgerx.settings import Secret
from ledgerx_streams.kafka_access import KafkaAccess
from ledgerx_streams.relay import metrics
from ledgerx_streams.relay.metrics import RelayMetrics
from ledgerx_streams.relay.outlet import open_outlet
from ledgerx_streams.relay.pgoutput import ProtocolError
from ledgerx_streams.relay.session import Session
from ledgerx_streams.relay.settings import Settings
from ledgerx_streams.slots import Source, slot_of

_log = structlog.get_logger(__name__)

_APPLICATION_NAME = "ledgerx-relay"
_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
# A session that lasted this long was a good one: the next failure is a new one.
_CALM_S = 60


class Relay:
    """Carries the outbox of `source` to Kafka, session after session, with growing pauses between those that fail."""

    def __init__(self, source: Source, settings: Settings) -> None:
        self._source = source
        self._settings = settings
        self._metrics = RelayMetrics(source.database)
        self._kafka = KafkaAccess(settings).aiokafka()
        self._state = ""
        self._has_streamed = False
        self._enter(metrics.STARTING)

    @property
    def ready(self) -> bool:
        """Whether it streams, or stands by to do so."""
        return self._state in {metrics.STREAMING, metrics.STANDBY}

    def close(self) -> None:
        """Tell nothing of it any more."""
        self._metrics.forget()

    async def run(self) -> None:
        """Run until cancelled; what is on its way to Kafka then is waited for and confirmed."""
        source = self._source
        await wait_for_schema(source.url, database=source.database, application_name=_APPLICATION_NAME)
        pause_s = _PAUSE_S
        task = asyncio.current_task()
        # A cancellation that meets a failing session drowns in the session's own errors.
        while task and not task.cancelling():
            started = time.monotonic()
            try:
                await self._session()
            except* (psycopg.Error, KafkaError, ProtocolError, OSError) as failures:
                _log.warning(
                    "session failed",
                    database=self._source.database,
                    errors=[repr(failure) for failure in _each(failures)],
                )
            self._enter(metrics.STARTING)
            self._metrics.reconnects.inc()
            if time.monotonic() - started > _CALM_S:
                pause_s = _PAUSE_S
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    async def _session(self) -> None:
        async with (
            open_outlet(self._kafka) as outlet,
            await connect(self._source.url.reveal(), application_name=_APPLICATION_NAME) as connection,
        ):
            await Session(
                self._source,
                self._settings,
                self._metrics,
                outlet,
                connection,
                self._enter,
                slot_known=self._has_streamed,
            ).run()

    def _enter(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self._has_streamed = self._has_streamed or state == metrics.STREAMING
            self._metrics.state.state(state)
            _log.info("state", database=self._source.database, state=state)


def _each(failures: BaseExceptionGroup[Exception]) -> Iterator[Exception]:
    for failure in failures.exceptions:
        if isinstance(failure, BaseExceptionGroup):
            yield from _each(failure)
        else:
            yield failure


class Relays:
    """A relay for each database that there is."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._read = reader(settings.database_url, settings.databases)
        self._relays: dict[str, Relay] = {}

    @property
    def ready(self) -> bool:
        """Whether one of them is: another database that is away is no reason to take this process for broken."""
        return any(relay.ready for relay in self._relays.values())

    async def run(self) -> NoReturn:
        """Run until cancelled."""
        await serve_each(self._read, self._serve)

    async def _serve(self, name: str, url: Secret) -> None:
        source = Source(database=name, url=url, slot=slot_of(self._settings.relay_slot, name))
        relay = self._relays[name] = Relay(source, self._settings)
        try:
            await relay.run()
        finally:
            del self._relays[name]
            relay.close()


async def serve(settings: Settings) -> None:
    """Run the relays and their management endpoint until SIGTERM or SIGINT. Raises `ConfigurationError`."""
    relays = Relays(settings)
    running = asyncio.create_task(relays.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, running.cancel)
    async with management.serve(settings.management_host, settings.management_port, lambda: relays.ready):
        with suppress(asyncio.CancelledError):
            await running
