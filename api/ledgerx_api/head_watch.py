"""Tells those who wait that a tenant's journal has moved on.

One statement, a few times a second, reads the heads of all tenants that somebody in this process waits for; while
nobody does, nothing is asked. Writers pay nothing for it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias
from uuid import UUID

import psycopg
import structlog

POLL_S = 0.25

ReadHeads: TypeAlias = Callable[[Sequence[UUID]], Awaitable[Mapping[UUID, int]]]

_log = structlog.get_logger()


class HeadWatch:
    """Compares what is waited for with the heads that `read_heads` returns."""

    def __init__(self, read_heads: ReadHeads, *, poll_s: float = POLL_S) -> None:
        self._read_heads = read_heads
        self._poll_s = poll_s
        self._waiting: defaultdict[UUID, dict[asyncio.Future[None], int]] = defaultdict(dict)
        self._wanted = asyncio.Event()
        self._closed = False

    async def beyond(self, tenant_id: UUID, seq: int) -> None:
        """Return when the tenant's journal has entries after `seq`, or when the watch is closed."""
        if self._closed:
            return
        news = asyncio.get_running_loop().create_future()
        self._waiting[tenant_id][news] = seq
        self._wanted.set()
        try:
            await news
        finally:
            del self._waiting[tenant_id][news]
            if not self._waiting[tenant_id]:
                del self._waiting[tenant_id]

    async def run(self) -> None:
        """Watch until cancelled; a database that does not answer is asked again."""
        while True:
            await self._wanted.wait()
            try:
                heads = await self._read_heads(list(self._waiting))
            except psycopg.Error as error:
                _log.warning("heads not read", error=str(error).strip())
            else:
                self._tell(heads)
            if not self._waiting:
                self._wanted.clear()
            await asyncio.sleep(self._poll_s)

    def close(self) -> None:
        """Let everybody go, and nobody wait any more."""
        self._closed = True
        for waiting in self._waiting.values():
            for news in waiting:
                _settle(news)

    def _tell(self, heads: Mapping[UUID, int]) -> None:
        for tenant_id, head in heads.items():
            for news, seq in self._waiting.get(tenant_id, {}).items():
                if head > seq:
                    _settle(news)


def _settle(news: asyncio.Future[None]) -> None:
    if not news.done():
        news.set_result(None)
