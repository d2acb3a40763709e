"""The databases that the operator works with: one small pool each, however many tenants they hold."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from uuid import UUID

from ledgerx import database
from ledgerx.database import Pool
from ledgerx.engine import Engine
from ledgerx.lifecycle import TenantUsage, read_usage
from ledgerx_operator.failures import NotYet
from ledgerx_operator.specs import DatabaseSpec

OWNER_ROLE = "ledgerx_owner"


class OpenDatabase:
    """A database that is ready. Its connections log in as the administrator and act as the owner of the schema."""

    def __init__(self, name: str, admin_url: str, spec: DatabaseSpec, *, connections: int) -> None:
        self.name = name
        self.admin_url = admin_url
        self.spec = spec
        self.pool: Pool = database.pool(
            admin_url, application_name="ledgerx-operator", min_size=0, max_size=connections, role=OWNER_ROLE
        )
        self.engine = Engine(self.pool)
        # One tenant after the other takes a place, so that no more do than there are.
        self.placing = asyncio.Lock()
        self._usage: Mapping[UUID, TenantUsage] = {}
        self._usage_read_at = 0.0
        self._reading_usage = asyncio.Lock()

    async def usage(self, tenant_id: UUID, *, at_most_s: float) -> TenantUsage | None:
        """How much a tenant holds, as one query for all tenants told within the last `at_most_s` seconds."""
        async with self._reading_usage:
            if time.monotonic() - self._usage_read_at > at_most_s:
                async with self.pool.connection() as connection:
                    self._usage = await read_usage(connection)
                self._usage_read_at = time.monotonic()
        return self._usage.get(tenant_id)

    async def close(self) -> None:
        """Close its connections once the commands on their way are answered."""
        await self.engine.drain()
        await self.pool.close()


class Databases:
    """The databases that are ready, by the name of their LedgerDatabase."""

    def __init__(self, *, connections: int) -> None:
        self._connections = connections
        self._open: dict[str, OpenDatabase] = {}

    def __iter__(self) -> Iterator[OpenDatabase]:
        return iter(sorted(self._open.values(), key=lambda one: one.name))

    def get(self, name: str) -> OpenDatabase:
        """The database of this name. Raises `NotYet` where it is not ready."""
        try:
            return self._open[name]
        except KeyError:
            raise NotYet("DatabaseNotReady", f"the LedgerDatabase {name} is not ready") from None

    async def open(self, name: str, admin_url: str, spec: DatabaseSpec) -> OpenDatabase:
        """Have a database open with this URL and spec."""
        known = self._open.get(name)
        if known is None or known.admin_url != admin_url:
            fresh = OpenDatabase(name, admin_url, spec, connections=self._connections)
            await fresh.pool.open()
            self._open[name] = fresh
            if known is not None:
                await known.close()
        self._open[name].spec = spec
        return self._open[name]

    async def close(self, name: str) -> None:
        """Forget a database."""
        known = self._open.pop(name, None)
        if known is not None:
            await known.close()
