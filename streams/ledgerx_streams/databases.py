"""The databases that a worker of the streams works on, and all that it does in each."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import NoReturn, Self
from uuid import UUID

import msgspec
import psycopg
import structlog

from ledgerx import database
from ledgerx.database import Pool, Queries
from ledgerx.databases import reader, serve_each
from ledgerx.engine import Engine
from ledgerx.errors import ConfigurationError, Unavailable
from ledgerx.events import JournalMessage
from ledgerx.expiry import expire_due
from ledgerx.feed import read_head_seqs
from ledgerx.keys import read_keyset
from ledgerx.placement import Key, Placement
from ledgerx.schema import wait_for_schema
from ledgerx.settings import Secret
from ledgerx_streams import catch_up, retention
from ledgerx_streams.catalog import PROJECTIONS
from ledgerx_streams.exports.service import writing_exports
from ledgerx_streams.outside import OutsideProjector
from ledgerx_streams.projections import Projection
from ledgerx_streams.projections.entries import entries_projection
from ledgerx_streams.projector import Projector
from ledgerx_streams.publisher import Publisher
from ledgerx_streams.scrubber import Scrubber
from ledgerx_streams.settings import Settings
from ledgerx_streams.signing import Signer
from ledgerx_streams.slots import slot_of
from ledgerx_streams.snapshots import Snapshots
from ledgerx_streams.webhooks.service import delivering_webhooks

_APPLICATION_NAME = "ledgerx-streams"
_MAX_CONNECTIONS = 8
_WRITES_AT_ONCE = 8
_EXPIRY_INTERVAL_S = 1.0
_SIGNING_INTERVAL_S = 1.0
_SCRUB_INTERVAL_S = 1.0
_SNAPSHOTS_INTERVAL_S = 5.0
_RETRY_S = 1.0

_log = structlog.get_logger()
_heads = Queries("ledgerx_streams", "sql/heads.sql")


class Urls(msgspec.Struct, frozen=True, kw_only=True):
    """How to log in to a database: as the streams, and to expire holds as the engine."""

    streams: Secret
    engine: Secret | None


class JournalDatabase:
    """A database with its projections. Who sets `lost` says that it does not answer any more."""

    def __init__(self, pool: Pool, projections: Sequence[Projection]) -> None:
        self._pool = pool
        self.projectors = [
            (OutsideProjector if projection.outside else Projector)(projection, pool) for projection in projections
        ]
        self.lost = asyncio.Event()
        self._writes = asyncio.Semaphore(_WRITES_AT_ONCE)

    async def apply(self, projector: Projector, tenant_id: UUID, messages: Sequence[JournalMessage]) -> None:
        """Bring a projection of a tenant up to the last of `messages`. Raises what `Projector.apply` does."""
        async with self._writes:
            if self.lost.is_set():
                raise psycopg.OperationalError("the database does not answer any more")
            await projector.apply(tenant_id, messages)

    async def flush(self) -> None:
        """Have all that was committed on the database's disk. Raises `psycopg.Error`."""
        async with self._pool.connection() as connection:
            await connection.execute(_heads.flush)

    async def holds(self, keys: Sequence[Key]) -> Collection[Key]:
        """Those of the tenants with these ids that are in here. Raises `psycopg.Error`."""
        return (await read_head_seqs(self._pool, [key for key in keys if isinstance(key, UUID)])).keys()


class Databases:
    """All of them, as `settings` say, while the context lasts. Raises `ConfigurationError`.

    `publisher` publishes entries.
    """

    def __init__(self, settings: Settings, publisher: Publisher) -> None:
        self._settings = settings
        self._publisher = publisher
        self._read_urls = reader(settings.database_url, settings.databases)
        self._read_engine_urls = _engine_reader(settings)
        self._keyset = None if settings.checkpoint_keys is None else read_keyset(settings.checkpoint_keys)
        # Messages may be of tenants that were purged, or of a database that is not known yet: they belong in no other.
        self._placement = Placement("streams", JournalDatabase.holds, trusting=False)
        self._wake_exports: dict[str, Callable[[], None]] = {}
        self._serving: asyncio.Task[NoReturn] | None = None

    async def __aenter__(self) -> Self:
        self._serving = asyncio.create_task(serve_each(self._read, self._serve))
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.wait({self._serving})

    @property
    def ready(self) -> bool:
        """Whether databases are open, and nobody waits for others any more."""
        return self._placement.settled

    @property
    def alone(self) -> bool:
        """Whether there is only one, for which everything waits."""
        return self._placement.alone

    async def find(self, tenant_id: UUID) -> JournalDatabase | None:
        """The database of a tenant; None where no other has it. Raises `Unavailable` where it may be one that is away.

        Waits for as long as it takes where there is only one, or none yet.
        """
        while True:
            try:
                return self._placement.known(tenant_id) or await self._placement.find(tenant_id)
            except Unavailable:
                if not self.alone:
                    raise
            await asyncio.sleep(_RETRY_S)

    def wake_exports(self) -> None:
        """Look for exports now."""
        for wake in self._wake_exports.values():
            wake()

    def _read(self) -> Mapping[str, Urls]:
        engine_urls = {} if self._read_engine_urls is None else self._read_engine_urls()
        found = {name: Urls(streams=url, engine=engine_urls.get(name)) for name, url in self._read_urls().items()}
        self._placement.expect(frozenset(found))
        return found

    async def _serve(self, name: str, urls: Urls) -> None:
        # Heads and rows go back together when a crash of the server takes their last commits: the gap is then filled.
        pool = database.pool(
            urls.streams.reveal(), application_name=_APPLICATION_NAME, max_size=_MAX_CONNECTIONS, durable=False
        )
        reached = partial(wait_for_schema, urls.streams, database=name, application_name=_APPLICATION_NAME)
        await reached()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(pool)
            wake = await stack.enter_async_context(delivering_webhooks(name, urls.streams, self._settings))
            await stack.enter_async_context(self._hearing_of_exports(name, urls.streams))
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            projections = (*PROJECTIONS, entries_projection(self._publisher, wake))
            self._look_after(tasks, name, pool, projections)
            await stack.enter_async_context(_expiring_holds(tasks, urls.engine))
            while True:
                opened = JournalDatabase(pool, projections)
                try:
                    with self._placement.opened(name, opened):
                        await opened.lost.wait()
                finally:
                    opened.lost.set()
                _log.error("database lost, its messages are passed over", database=name)
                await reached()

    @asynccontextmanager
    async def _hearing_of_exports(self, name: str, url: Secret) -> AsyncIterator[None]:
        async with writing_exports(url, self._settings) as wake:
            if wake is not None:
                self._wake_exports[name] = wake
            try:
                yield
            finally:
                self._wake_exports.pop(name, None)

    def _look_after(self, tasks: asyncio.TaskGroup, name: str, pool: Pool, projections: Sequence[Projection]) -> None:
        """Do in `tasks` what is done at intervals: what this worker has no keys for is left to others."""
        settings = self._settings
        tend = partial(
            retention.tend_outbox,
            pool,
            database=name,
            slot=slot_of(settings.relay_slot, name),
            days=settings.outbox_retention_days,
        )
        tasks.create_task(_every(retention.EVERY_S, tend, failed="outbox not tended"))
        thin = partial(retention.thin_checkpoints, pool, days=settings.checkpoint_keep_days)
        tasks.create_task(_every(retention.EVERY_S, thin, failed="old checkpoints not dropped"))
        bring_on = partial(catch_up.catch_up, pool, projections)
        tasks.create_task(_every(catch_up.EVERY_S, bring_on, failed="projections not looked after"))
        take = Snapshots(pool).take_due
        tasks.create_task(_every(_SNAPSHOTS_INTERVAL_S, take, failed="due snapshots not found"))
        if settings.scrub_entries_per_s:
            scrub = Scrubber(pool, entries_per_s=settings.scrub_entries_per_s).scrub_due
            tasks.create_task(_every(_SCRUB_INTERVAL_S, scrub, failed="journals not read again"))
        if self._keyset is not None:
            signer = Signer(
                pool=pool,
                keyset=self._keyset,
                platform=settings.checkpoint_origin,
                interval_s=settings.checkpoint_interval_s,
            )
            tasks.create_task(_every(_SIGNING_INTERVAL_S, signer.sign_due, failed="due checkpoints not found"))


def _engine_reader(settings: Settings) -> Callable[[], Mapping[str, Secret]] | None:
    if settings.engine_database_url is None and settings.engine_databases is None:
        return None
    if (settings.engine_databases is None) != (settings.databases is None):
        raise ConfigurationError("LEDGERX_ENGINE_DATABASES goes with LEDGERX_DATABASES, and the URLs with each other")
    return reader(
        settings.engine_database_url,
        settings.engine_databases,
        variables=("ENGINE_DATABASE_URL", "ENGINE_DATABASES"),
    )


async def _every(interval_s: float, work: Callable[[], Awaitable[object]], *, failed: str) -> NoReturn:
    """Do some work at intervals, and say that it `failed` while the database does not answer."""
    while True:
        try:
            await work()
        except psycopg.Error as error:
            _log.warning(failed, error=str(error).strip())
        await asyncio.sleep(interval_s)


@asynccontextmanager
async def _expiring_holds(tasks: asyncio.TaskGroup, url: Secret | None) -> AsyncIterator[None]:
    """Expire due holds in `tasks` through an engine of its own, where there is a URL for it."""
    if url is None:
        yield
        return
    async with database.pool(url.reveal(), application_name="ledgerx-holds", max_size=_MAX_CONNECTIONS) as pool:
        engine = Engine(pool)
        expiring = tasks.create_task(
            _every(_EXPIRY_INTERVAL_S, partial(expire_due, pool, engine), failed="due holds not found")
        )
        try:
            yield
        finally:
            expiring.cancel()
            await asyncio.wait({expiring})
            await engine.drain()
