"""The databases that this process serves tenants of: what it has of each, and which one a request is for."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import NoReturn
from uuid import UUID

from ledgerx import database
from ledgerx.database import Pool
from ledgerx.databases import reader, serve_each
from ledgerx.engine import Engine
from ledgerx.errors import Unavailable
from ledgerx.feed import read_head_seqs
from ledgerx.lifecycle import TenantChange, read_changes
from ledgerx.partitions import keep_partitions_ahead
from ledgerx.placement import Key, Placement
from ledgerx.schema import wait_for_schema
from ledgerx.settings import Secret
from ledgerx.tenancy import tenants_named
from ledgerx_api.event_streams import Feed
from ledgerx_api.head_watch import HeadWatch
from ledgerx_api.settings import ApiSettings
from ledgerx_api.tenants import Tenants

_APPLICATION_NAME = "ledgerx-api"


class TenantDatabase:
    """A database with its connections, its engine, and what is watched in it."""

    def __init__(self, url: Secret, *, connections: int, max_accounts: int | None) -> None:
        self.pool: Pool = database.pool(url.reveal(), application_name=_APPLICATION_NAME, max_size=connections)
        self.engine = Engine(self.pool, max_accounts=max_accounts)
        self.watch = HeadWatch(partial(read_head_seqs, self.pool))
        self.feed = Feed(self.pool, self.watch)
        self.tenants = Tenants(self._read_changes)

    async def holds(self, keys: Sequence[Key]) -> Collection[Key]:
        """Those of the tenants with these ids and names that are in here. Raises `psycopg.Error`."""
        ids = [key for key in keys if isinstance(key, UUID)]
        names = [key for key in keys if isinstance(key, str)]
        held: set[Key] = set()
        if ids:
            held |= (await read_head_seqs(self.pool, ids)).keys()
        if names:
            async with self.pool.connection() as connection:
                held |= await tenants_named(connection, names)
        return held

    async def _read_changes(self, since: datetime | None) -> list[TenantChange]:
        async with self.pool.connection() as connection:
            return await read_changes(connection, since)


class Databases:
    """All of them, as `settings` say. Raises `ConfigurationError`."""

    def __init__(self, settings: ApiSettings) -> None:
        self._read_urls = reader(settings.database_url, settings.databases)
        self._connections = settings.database_connections
        self._max_accounts = settings.max_accounts or None
        self._placement = Placement("api", TenantDatabase.holds, trusting=True)

    def known(self, tenant_id: UUID) -> TenantDatabase | None:
        """The tenant's database, where it needs no looking for."""
        return self._placement.known(tenant_id)

    async def find(self, key: Key) -> TenantDatabase:
        """The database of a tenant, by its id or name; any for one that does not exist: nobody knows it there either.

        Raises `Unavailable` where its database may be one that does not answer.
        """
        found = await self._placement.find(key)
        if found is not None:
            return found
        for one in self._placement.databases.values():
            return one
        raise Unavailable("no database is open")

    def ready(self) -> bool:
        """Whether requests can be answered: all databases were reached, or some and the others do not answer."""
        opened = self._placement.databases.values()
        return self._placement.settled and any(one.tenants.current for one in opened)

    async def wait(self, timeout_s: float) -> None:
        """Return once all databases are open, or `timeout_s` is over."""
        await self._placement.wait(timeout_s)

    def close_streams(self) -> None:
        """Let nobody wait for news of a journal any more."""
        for one in self._placement.databases.values():
            one.watch.close()

    async def run(self) -> NoReturn:
        """Serve databases that are added until they are removed; answers what was taken in when cancelled."""
        await serve_each(self._read, self._serve)

    def _read(self) -> Mapping[str, Secret]:
        urls = self._read_urls()
        self._placement.expect(frozenset(urls))
        return urls

    async def _serve(self, name: str, url: Secret) -> None:
        one = TenantDatabase(url, connections=self._connections, max_accounts=self._max_accounts)
        partitions_made = asyncio.Event()
        await wait_for_schema(url, database=name, application_name=_APPLICATION_NAME)
        async with one.pool, asyncio.TaskGroup() as tasks:
            tasks.create_task(keep_partitions_ahead(one.pool.connection, partitions_made))
            tasks.create_task(one.watch.run())
            tasks.create_task(one.tenants.run())
            # Nothing can be recorded, and nobody knows who is suspended, before.
            await partitions_made.wait()
            await one.tenants.known.wait()
            try:
                with self._placement.opened(name, one, answers=lambda: one.tenants.current):
                    await asyncio.Event().wait()
            finally:
                one.watch.close()
                await one.engine.drain()
