"""The Faust worker: the agent of the journal topic, and its projections."""

import asyncio
import logging
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, NoReturn

import faust
import psycopg
import structlog
import uvloop
from faust.types import StreamT
from msgspec import Meta

from ledgerx import database, telemetry
from ledgerx.engine import Engine
from ledgerx.events import TOPIC_JOURNAL
from ledgerx.expiry import expire_due
from ledgerx.export_files import MAX_FILE_BYTES, ExportFiles
from ledgerx.exports import TOPIC_EXPORTS
from ledgerx.settings import Secret, load
from ledgerx_streams import management, topics
from ledgerx_streams.agents import JournalAgent
from ledgerx_streams.catalog import PROJECTIONS
from ledgerx_streams.exports.worker import ExportWorker
from ledgerx_streams.faust_app import build_app, raw_topic
from ledgerx_streams.kafka_access import KafkaAccess, KafkaSettings
from ledgerx_streams.lag import Lag
from ledgerx_streams.projector import Projector
from ledgerx_streams.retention import DEFAULT_SLOT, EVERY_S, tend_outbox

_MAX_CONNECTIONS = 8
_EXPIRY_INTERVAL_S = 1.0

_log = structlog.get_logger()


class Settings(KafkaSettings, frozen=True, kw_only=True):
    """`engine_database_url` is that of the engine's role; without it this worker leaves due holds to others.

    It also leaves exports to others without `exports_url`, the storage that their files go to, at most
    `exports_max_bytes` each. It writes `exports_at_once`, and files are kept for `exports_keep_days`.

    The outbox is kept for `outbox_retention_days` whole days at least, and until the slot `relay_slot`, which is that
    of the relay or of Debezium, has confirmed it.
    """

    database_url: Secret
    engine_database_url: Secret | None = None
    exports_url: str | None = None
    exports_at_once: Annotated[int, Meta(ge=1, le=16)] = 2
    exports_keep_days: Annotated[int, Meta(ge=1, le=3_650)] = 7
    exports_max_bytes: Annotated[int, Meta(ge=1, le=MAX_FILE_BYTES)] = 16 * 1024**3
    relay_slot: str = DEFAULT_SLOT
    outbox_retention_days: Annotated[int, Meta(ge=1, le=3_650)] = 7
    management_host: str = "127.0.0.1"
    management_port: int | None = None
    log_level: str = "INFO"


def main() -> int:
    """Apply the journal topic to the projections until SIGTERM or SIGINT; return the exit code."""
    settings = load(Settings)
    telemetry.configure("streams", level=settings.log_level)
    for chatty in ("aiokafka", "faust", "mode", "ledgerx_streams.faust_app"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return uvloop.run(_run_until_signalled(settings))


async def _run_until_signalled(settings: Settings) -> int:
    worker = asyncio.create_task(_run(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, worker.cancel)
    try:
        await worker
    except asyncio.CancelledError:
        return 0
    _log.critical("worker crashed")
    return 1


async def _run(settings: Settings) -> None:
    """Return only when the worker crashed; Faust has logged the reason then."""
    kafka = KafkaAccess(settings)
    consuming = asyncio.Event()
    # Heads and rows go back together when a crash of the server takes their last commits: the gap is then filled.
    pool = database.pool(
        settings.database_url.reveal(), application_name="ledgerx-streams", max_size=_MAX_CONNECTIONS, durable=False
    )
    async with management.serve(settings.management_host, settings.management_port, consuming.is_set), pool:
        await topics.prepare(kafka)
        with tempfile.TemporaryDirectory() as directory:
            app = build_app(kafka, directory)
            lag = Lag()

            @app.on_rebalance_complete.connect(weak=False)
            async def on_rebalance_complete(*_args: Any, **_kwargs: Any) -> None:
                assignment = app.consumer.assignment()
                partitions = sorted(tp.partition for tp in assignment if tp.topic == TOPIC_JOURNAL)
                _log.info("consuming", partitions=partitions)
                lag.assigned(assignment)
                consuming.set()

            @app.task  # type: ignore[untyped-decorator]
            async def measure_lag() -> NoReturn:
                await consuming.wait()
                await lag.measure(app.consumer)

            @app.task  # type: ignore[untyped-decorator]
            async def keep_outbox() -> NoReturn:
                while True:
                    await tend_outbox(pool, slot=settings.relay_slot, days=settings.outbox_retention_days)
                    await asyncio.sleep(EVERY_S)

            journal = raw_topic(app, TOPIC_JOURNAL)
            dead_letters = raw_topic(app, topics.TOPIC_DEAD_LETTERS)
            agent = JournalAgent([Projector(projection, pool) for projection in PROJECTIONS], dead_letters, lag)
            app.agent(journal, name="journal")(agent.run)
            async with _expiring_holds(app, settings.engine_database_url), _exports(app, settings):
                try:
                    await app.start()
                    await app.wait_until_stopped()
                finally:
                    await app.stop()


@asynccontextmanager
async def _expiring_holds(app: faust.App, url: Secret | None) -> AsyncIterator[None]:
    """Give `app` a timer that expires due holds through an engine of its own."""
    if url is None:
        yield
        return
    async with database.pool(url.reveal(), application_name="ledgerx-holds", max_size=_MAX_CONNECTIONS) as pool:
        engine = Engine(pool)

        @app.timer(_EXPIRY_INTERVAL_S)  # type: ignore[untyped-decorator]
        async def expire_holds() -> None:
            try:
                await expire_due(pool, engine)
            except psycopg.Error as error:
                _log.warning("due holds not found", error=str(error).strip())

        yield
        await engine.drain()


@asynccontextmanager
async def _exports(app: faust.App, settings: Settings) -> AsyncIterator[None]:
    """Give `app` an agent that hears of exports, and a worker that writes them, where it has a storage for them."""
    # All workers of the group read the same topics: one without a storage leaves what it hears to the clocks of others.
    worker: ExportWorker | None = None

    async def hear(stream: StreamT[bytes]) -> None:
        async for _ in stream:
            if worker is not None:
                worker.wake()

    app.agent(raw_topic(app, TOPIC_EXPORTS), name="exports")(hear)
    if settings.exports_url is None:
        yield
        return
    # Durable: what was said to be done must not come back.
    async with database.pool(
        settings.database_url.reveal(),
        application_name="ledgerx-exports",
        max_size=2 * settings.exports_at_once + 1,
    ) as pool:
        worker = ExportWorker(
            pool,
            ExportFiles(settings.exports_url),
            at_once=settings.exports_at_once,
            keep_days=settings.exports_keep_days,
            max_bytes=settings.exports_max_bytes,
        )
        working = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            working.cancel()
            await asyncio.wait({working})
