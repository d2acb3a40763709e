"""The Faust worker: the agents of the topics, and the databases that they work on."""

import asyncio
import logging
import os
import signal
import tempfile
from contextlib import AsyncExitStack
from typing import Any, NoReturn

import faust
import structlog
import uvloop
from faust.types import StreamT

from ledgerx import management, telemetry
from ledgerx.events import TOPIC_JOURNAL
from ledgerx.exports import TOPIC_EXPORTS
from ledgerx.garbage import collect_seldom
from ledgerx.settings import load
from ledgerx_streams import topics
from ledgerx_streams.agents import JournalAgent
from ledgerx_streams.catalog import NAMES
from ledgerx_streams.databases import Databases
from ledgerx_streams.faust_app import build_app, raw_topic
from ledgerx_streams.kafka_access import KafkaAccess
from ledgerx_streams.lag import Lag
from ledgerx_streams.projections.entries import entries_publisher
from ledgerx_streams.settings import Settings

# A look-up goes on when the attempt that it was for is given up.
_LOOKUPS_PER_WEBHOOK = 4

_log = structlog.get_logger()


def main() -> int:
    """Apply the journal topic to the projections until SIGTERM or SIGINT; return the exit code."""
    settings = load(Settings)
    telemetry.configure("streams", level=settings.log_level)
    for chatty in ("aiokafka", "faust", "mode", "ledgerx_streams.faust_app"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # uvloop looks names up in four threads, which the names of a few slow name servers would take for themselves.
    os.environ.setdefault("UV_THREADPOOL_SIZE", str(_LOOKUPS_PER_WEBHOOK * settings.webhooks_at_once))
    collect_seldom()
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
    publisher = entries_publisher(kafka)
    databases = Databases(settings, publisher)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            management.serve(
                settings.management_host, settings.management_port, lambda: consuming.is_set() and databases.ready
            )
        )
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

        await stack.enter_async_context(publisher)
        await stack.enter_async_context(databases)
        agent = JournalAgent(databases, NAMES, raw_topic(app, topics.TOPIC_DEAD_LETTERS), lag)
        app.agent(raw_topic(app, TOPIC_JOURNAL), name="journal")(agent.run)
        _hear_of_exports(app, databases)
        try:
            await app.start()
            await app.wait_until_stopped()
        finally:
            await app.stop()


def _hear_of_exports(app: faust.App, databases: Databases) -> None:
    """Have `app` look for exports when somebody has asked for one."""

    # All workers of the group read the same topics: one without a storage leaves what it hears to the clocks of others.
    async def hear(stream: StreamT[bytes]) -> None:
        async for _ in stream:
            databases.wake_exports()

    app.agent(raw_topic(app, TOPIC_EXPORTS), name="exports")(hear)
