"""What this process knows of tenants that are not as all others: suspended ones, and those with limits of their own.

Requests look at it and ask nobody. Once a second one statement reads what has changed; the engine needs none of it to
refuse, for it sees the head of the tenant under its lock.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

import psycopg
import structlog

from ledgerx.errors import TenantSuspended
from ledgerx.lifecycle import POLL_S, TenantChange, TenantState

ReadChanges: TypeAlias = Callable[[datetime | None], Awaitable[Sequence[TenantChange]]]

# A change is seen when it is committed, which may be so much later than it says.
_OVERLAP = timedelta(seconds=30)

_log = structlog.get_logger()


class Tenants:
    """Keeps up with the changes that `read_changes` returns.

    `known` is set once all of them were read; `current` says whether the last look was answered.
    """

    def __init__(self, read_changes: ReadChanges, *, poll_s: float = POLL_S) -> None:
        self._read_changes = read_changes
        self._poll_s = poll_s
        self._closed: set[UUID] = set()
        self._rates: dict[UUID, int] = {}
        self._latest: datetime | None = None
        self.known = asyncio.Event()
        self.current = False

    def check(self, tenant_id: UUID) -> None:
        """Raises `TenantSuspended` for a tenant that nobody may use now."""
        if tenant_id in self._closed:
            raise TenantSuspended

    def requests_per_second(self, tenant_id: UUID) -> int | None:
        """The tenant's own limit; None where it has the one of all tenants."""
        return self._rates.get(tenant_id)

    async def read(self) -> None:
        """Read what has changed. Raises `psycopg.Error`."""
        since = None if self._latest is None else self._latest - _OVERLAP
        for change in await self._read_changes(since):
            self._take(change)
        self.known.set()
        self.current = True

    async def run(self) -> None:
        """Keep up until cancelled; a database that does not answer is asked again."""
        while True:
            try:
                await self.read()
            except psycopg.Error as error:
                self.current = False
                _log.warning("changes of tenants not read", error=str(error).strip())
            await asyncio.sleep(self._poll_s)

    def _take(self, change: TenantChange) -> None:
        self._latest = change.changed_at if self._latest is None else max(self._latest, change.changed_at)
        if change.state is TenantState.ACTIVE:
            self._closed.discard(change.tenant_id)
        else:
            self._closed.add(change.tenant_id)
        if change.requests_per_second is None:
            self._rates.pop(change.tenant_id, None)
        else:
            self._rates[change.tenant_id] = change.requests_per_second
