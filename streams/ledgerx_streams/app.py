"""The Faust worker: the agent of the journal topic, and its projections."""

import asyncio
import logging
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import faust
import psycopg
import structlog
import uvloop
from msgspec import Meta

from ledgerx import database, telemetry
from ledgerx.checkpoints import DEFAULT_ORIGIN
from ledgerx.database import Pool
from ledgerx.engine import Engine
from ledgerx.events import TOPIC_JOURNAL
from ledgerx.expiry import expire_due
from ledgerx.keys import read_keyset
from ledgerx.settings import Secret, load
from ledgerx_streams import management, topics
from ledgerx_streams.agents import JournalAgent
from ledgerx_streams.catalog import PROJECTIONS
from ledgerx_streams.faust_app import build_app, raw_topic
from ledgerx_streams.kafka_access import KafkaAccess, KafkaSettings
from ledgerx_streams.lag import Lag
from ledgerx_streams.projector import Projector
from ledgerx_streams.retention import DEFAULT_SLOT, EVERY_S, tend_outbox
from ledgerx_streams.scrubber import Scrubber
from ledgerx_streams.signing import Signer
from ledgerx_streams.snapshots import Snapshots

_MAX_CONNECTIONS = 8
_EXPIRY_INTERVAL_S = 1.0
_SIGNING_INTERVAL_S = 1.0
_SCRUB_INTERVAL_S = 1.0
_SNAPSHOTS_INTERVAL_S = 5.0

_log = structlog.get_logger()


class Settings(KafkaSettings, frozen=True, kw_only=True):
    """`engine_database_url` is that of the engine's role; without it this worker leaves due holds to others.

    The outbox is kept for `outbox_retention_days` whole days at least, and until the slot `relay_slot`, which is that
    of the relay or of Debezium, has confirmed it.

    Without `checkpoint_keys`, a keyset of its own, it leaves checkpoints to others; those of a tenant are signed at
    most every `checkpoint_interval_s` seconds, in the name of `checkpoint_origin` and the tenant's id. At most
    `scrub_entries_per_s` stored entries are read again in a second; 0 leaves that to others.
    """

    database_url: Secret
    engine_database_url: Secret | None = None
    checkpoint_keys: Path | None = None
    checkpoint_origin: Annotated[str, Meta(pattern=r"^[^\s+]{1,200}$")] = DEFAULT_ORIGIN
    checkpoint_interval_s: Annotated[float, Meta(ge=1)] = 10.0
    scrub_entries_per_s: Annotated[int, Meta(ge=0)] = 2_000
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
                _log.info("consuming", partitions=sorted(tp.partition for tp in assignment))
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
            _look_after_journals(app, pool, settings)
            async with _expiring_holds(app, settings.engine_database_url):
                try:
                    await app.start()
                    await app.wait_until_stopped()
                finally:
                    await app.stop()


def _look_after_journals(app: faust.App, pool: Pool, settings: Settings) -> None:
    """Have `app` take snapshots, read stored entries again, and sign checkpoints where this worker has the keys."""
    _every(app, _SNAPSHOTS_INTERVAL_S, Snapshots(pool).take_due, failed="due snapshots not found")
    if settings.scrub_entries_per_s:
        scrubber = Scrubber(pool, entries_per_s=settings.scrub_entries_per_s)
        _every(app, _SCRUB_INTERVAL_S, scrubber.scrub_due, failed="journals not read again")
    if settings.checkpoint_keys is not None:
        signer = Signer(
            pool=pool,
            keyset=read_keyset(settings.checkpoint_keys),
            platform=settings.checkpoint_origin,
            interval_s=settings.checkpoint_interval_s,
        )
        _every(app, _SIGNING_INTERVAL_S, signer.sign_due, failed="due checkpoints not found")


def _every(app: faust.App, interval_s: float, work: Callable[[], Awaitable[object]], *, failed: str) -> None:
    """Have `app` do some work at intervals, and say that it `failed` while the database does not answer."""

    @app.timer(interval_s)  # type: ignore[untyped-decorator]
    async def do() -> None:
        try:
            await work()
        except psycopg.Error as error:
            _log.warning(failed, error=str(error).strip())


@asynccontextmanager
async def _expiring_holds(app: faust.App, url: Secret | None) -> AsyncIterator[None]:
    """Give `app` a timer that expires due holds through an engine of its own."""
    if url is None:
        yield
        return
    async with database.pool(url.reveal(), application_name="ledgerx-holds", max_size=_MAX_CONNECTIONS) as pool:
        engine = Engine(pool)
        _every(app, _EXPIRY_INTERVAL_S, partial(expire_due, pool, engine), failed="due holds not found")
        yield
        await engine.drain()
