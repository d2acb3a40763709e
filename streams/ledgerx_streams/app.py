"""The Faust worker: the agent of the journal topic, and its projections."""

import asyncio
import logging
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import faust
import psycopg
import structlog
import uvloop
from msgspec import Meta

from ledgerx import database, management, telemetry
from ledgerx.checkpoints import DEFAULT_ORIGIN
from ledgerx.database import Pool
from ledgerx.engine import Engine
from ledgerx.events import TOPIC_JOURNAL
from ledgerx.expiry import expire_due
from ledgerx.export_files import MAX_FILE_BYTES, destinations
from ledgerx.keys import read_keyset
from ledgerx.outbound import Outbound
from ledgerx.sealing import read_sealing_keys
from ledgerx.settings import Secret, load
from ledgerx.webhooks import networks
from ledgerx_streams import topics
from ledgerx_streams.agents import JournalAgent
from ledgerx_streams.catalog import PROJECTIONS
from ledgerx_streams.exports.service import writing_exports
from ledgerx_streams.faust_app import build_app, raw_topic
from ledgerx_streams.kafka_access import KafkaAccess, KafkaSettings
from ledgerx_streams.lag import Lag
from ledgerx_streams.projections.entries import entries_producer, entries_projection
from ledgerx_streams.projector import Projector
from ledgerx_streams.retention import DEFAULT_SLOT, EVERY_S, tend_outbox
from ledgerx_streams.scrubber import Scrubber
from ledgerx_streams.signing import Signer
from ledgerx_streams.snapshots import Snapshots
from ledgerx_streams.webhooks.courier import Courier
from ledgerx_streams.webhooks.dispatcher import Dispatcher
from ledgerx_streams.webhooks.progress import Policy
from ledgerx_streams.webhooks.store import Store

_MAX_CONNECTIONS = 8
_EXPIRY_INTERVAL_S = 1.0
# A look-up goes on when the attempt that it was for is given up.
_LOOKUPS_PER_WEBHOOK = 4
# What is under way when a worker is stopped may end within that.
_FAREWELL_S = 5.0
_SIGNING_INTERVAL_S = 1.0
_SCRUB_INTERVAL_S = 1.0
_SNAPSHOTS_INTERVAL_S = 5.0

_log = structlog.get_logger()


class Settings(KafkaSettings, frozen=True, kw_only=True):
    """`engine_database_url` is that of the engine's role; without it this worker leaves due holds to others.

    It also leaves exports to others without `exports_url`, the storage that their files go to unless they name one of
    `exports_destinations`, at most `exports_max_bytes` each. It writes `exports_at_once`, and files are kept for
    `exports_keep_days`, those at destinations for good.

    The outbox is kept for `outbox_retention_days` whole days at least, and until the slot `relay_slot`, which is that
    of the relay or of Debezium, has confirmed it.

    Without `sealing_keys`, a file of `ledgerx.sealing`, this worker leaves webhooks to others; they get
    `webhooks_timeout_s` seconds for each attempt, `webhooks_patience_s` in all, at most `webhooks_at_once` of them at
    the same time, and the log of attempts is kept for `webhooks_log_days`.

    Without `checkpoint_keys`, a keyset of its own, it leaves checkpoints to others; those of a tenant are signed at
    most every `checkpoint_interval_s` seconds, in the name of `checkpoint_origin` and the tenant's id. At most
    `scrub_entries_per_s` stored entries are read again in a second; 0 leaves that to others.
    """

    database_url: Secret
    engine_database_url: Secret | None = None
    exports_url: str | None = None
    exports_destinations: str | None = None
    exports_at_once: Annotated[int, Meta(ge=1, le=16)] = 2
    exports_keep_days: Annotated[int, Meta(ge=1, le=3_650)] = 7
    exports_max_bytes: Annotated[int, Meta(ge=1, le=MAX_FILE_BYTES)] = 16 * 1024**3
    sealing_keys: Path | None = None
    webhooks_allow_private: bool = False
    webhooks_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 15
    webhooks_patience_s: Annotated[float, Meta(ge=0)] = 259_200
    webhooks_at_once: Annotated[int, Meta(ge=1, le=100)] = 64
    webhooks_log_days: Annotated[int, Meta(ge=1)] = 30
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
    # uvloop looks names up in four threads, which the names of a few slow name servers would take for themselves.
    os.environ.setdefault("UV_THREADPOOL_SIZE", str(_LOOKUPS_PER_WEBHOOK * settings.webhooks_at_once))
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
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            management.serve(settings.management_host, settings.management_port, consuming.is_set)
        )
        await stack.enter_async_context(pool)
        await topics.prepare(kafka)
        app = build_app(kafka, stack.enter_context(tempfile.TemporaryDirectory()))
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

        producer = await stack.enter_async_context(entries_producer(kafka))
        wake = await stack.enter_async_context(_delivering_webhooks(settings))
        projections = (*PROJECTIONS, entries_projection(producer, wake))
        dead_letters = raw_topic(app, topics.TOPIC_DEAD_LETTERS)
        agent = JournalAgent([Projector(projection, pool) for projection in projections], pool, dead_letters, lag)
        app.agent(raw_topic(app, TOPIC_JOURNAL), name="journal")(agent.run)
        _look_after_journals(app, pool, settings)
        await stack.enter_async_context(_expiring_holds(app, settings.engine_database_url))
        await stack.enter_async_context(
            writing_exports(
                app,
                settings.database_url,
                settings.exports_url,
                destinations(settings.exports_destinations),
                at_once=settings.exports_at_once,
                keep_days=settings.exports_keep_days,
                max_bytes=settings.exports_max_bytes,
            )
        )
        try:
            await app.start()
            await app.wait_until_stopped()
        finally:
            await app.stop()


@asynccontextmanager
async def _delivering_webhooks(settings: Settings) -> AsyncIterator[Callable[[], None] | None]:
    """Deliver to webhooks meanwhile, where this worker has the keys for it; yields how to tell of news."""
    if settings.sealing_keys is None:
        yield None
        return
    keys = read_sealing_keys(settings.sealing_keys)
    # A crash of the server takes its last commits: what they were about is sent again.
    pool = database.pool(
        settings.database_url.reveal(), application_name="ledgerx-webhooks", max_size=_MAX_CONNECTIONS, durable=False
    )
    outbound = Outbound(allowed=networks(settings.webhooks_allow_private), timeout_s=settings.webhooks_timeout_s)
    store = Store(pool)
    courier = Courier(
        store,
        outbound,
        keys,
        timeout_s=settings.webhooks_timeout_s,
        policy=Policy(patience_s=settings.webhooks_patience_s),
    )
    dispatcher = Dispatcher(store, courier, at_once=settings.webhooks_at_once, keep_days=settings.webhooks_log_days)
    async with pool, asyncio.TaskGroup() as tasks:
        dispatching = tasks.create_task(dispatcher.run())
        try:
            yield dispatcher.wake
        finally:
            dispatching.cancel()
            await dispatcher.close(patience_s=_FAREWELL_S)
            await outbound.close()


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
