"""The feed as server-sent events (HTML Living Standard, 9.2): any number of clients, each at its own pace.

A stream holds no connection of the database, and of the journal no more than one page: the next one is read when its
client has taken the last. So a slow client costs little, loses nothing, and holds nobody up.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from uuid import UUID

import psycopg
import structlog
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Send
from prometheus_client import Gauge

from ledgerx.cloud_events import encode_event
from ledgerx.database import Pool
from ledgerx.errors import LedgerError, TooManyStreams
from ledgerx.feed import FeedPage, read_feed, read_head_seqs
from ledgerx.journal import Entry
from ledgerx_api.head_watch import HeadWatch

MEDIA_TYPE = "text/event-stream"
# Intermediaries close what is silent for long; half a minute is the least that is common.
HEARTBEAT_S = 15.0
# No tenant takes all the streams of a process.
MAX_STREAMS_OF_A_TENANT = 20
_RECONNECT_MS = 1_000
_PAGE_ENTRIES = 500
# Pages of a database that are read at the same time: its pool is there for those who write.
_READS_AT_ONCE = 2

_OPEN = Gauge("ledgerx_event_streams", "Event streams that are open", multiprocess_mode="livesum")
_log = structlog.get_logger()


class Feed:
    """The journals of one database as streams read them. `watch` tells of news."""

    def __init__(self, pool: Pool, watch: HeadWatch) -> None:
        self._pool = pool
        self._reads = asyncio.Semaphore(_READS_AT_ONCE)
        self.watch = watch

    async def page(self, tenant_id: UUID, after: int | None) -> tuple[int, FeedPage]:
        """The entries after `after`, or after the head without it, and which number that is."""
        async with self._reads:
            if after is None:
                after = (await read_head_seqs(self._pool, [tenant_id])).get(tenant_id, 0)
            return after, await read_feed(self._pool, tenant_id, after=after, limit=_PAGE_ENTRIES)


class EventStreams:
    """All streams of this process, at most `max_streams`. `wake_all` has those go on that wait for news."""

    def __init__(self, wake_all: Callable[[], None], *, max_streams: int, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._wake_all = wake_all
        self._max_streams = max_streams
        self._heartbeat_s = heartbeat_s
        self._open: Counter[UUID] = Counter()
        self._closing = False
        _OPEN.set_function(self._open.total)

    def close(self) -> None:
        """End all streams after what they are sending, and open no more: clients go on with another process."""
        self._closing = True
        self._wake_all()

    async def open(
        self, feed: Feed, tenant_id: UUID, *, after: int | None, authorise: Callable[[], Awaitable[object]]
    ) -> "EventStreamResponse":
        """The answer that streams the entries after the number `after`, or those from now on.

        `authorise` is asked now and then: the stream ends when it raises a `LedgerError`. Raises `TooManyStreams` and
        what `read_feed` raises.
        """
        frames = self._frames(feed, tenant_id, after, authorise)
        # What it refuses it refuses before its first frame, when there is still a status to say so.
        opening = await anext(frames)
        return EventStreamResponse(opening, frames)

    async def _frames(
        self, feed: Feed, tenant_id: UUID, begin: int | None, authorise: Callable[[], Awaitable[object]]
    ) -> AsyncGenerator[bytes, None]:
        with self._counted(tenant_id):
            after, page = await feed.page(tenant_id, begin)
            # An event without data is not dispatched, but its id is kept: a client that loses the connection before
            # the first event goes on from here.
            yield f"retry: {_RECONNECT_MS}\nid: {after}\n\n".encode()
            with suppress(LedgerError):
                while not self._closing:
                    await authorise()
                    for entry in page.entries:
                        yield _frame(tenant_id, entry)
                        after = entry.seq
                    if after >= page.head and not await self._news(feed, tenant_id, after):
                        yield b":\n\n"
                    try:
                        _, page = await feed.page(tenant_id, after)
                    except psycopg.Error as error:
                        _log.warning("event stream ended", error=str(error).strip())
                        return

    async def _news(self, feed: Feed, tenant_id: UUID, after: int) -> bool:
        """Wait for entries after `after`; False when it is time for a heartbeat."""
        try:
            async with asyncio.timeout(self._heartbeat_s):
                await feed.watch.beyond(tenant_id, after)
        except TimeoutError:
            return False
        return True

    @contextmanager
    def _counted(self, tenant_id: UUID) -> Iterator[None]:
        if self._closing:
            raise TooManyStreams("this process is shutting down")
        if self._open.total() >= self._max_streams or self._open[tenant_id] >= MAX_STREAMS_OF_A_TENANT:
            raise TooManyStreams
        self._open[tenant_id] += 1
        try:
            yield
        finally:
            self._open[tenant_id] -= 1
            if not self._open[tenant_id]:
                del self._open[tenant_id]


class EventStreamResponse(ASGIStreamingResponse):
    """Streams `frames` behind the `opening`, and closes them as soon as the client is gone."""

    def __init__(self, opening: bytes, frames: AsyncGenerator[bytes, None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(iterator=_joined(opening, frames), media_type=MEDIA_TYPE, headers=headers)
        self._frames = frames

    async def send_body(self, send: Send, receive: Receive) -> None:
        """Stream until the frames end or the client is gone."""
        async with aclosing(self._frames):
            await super().send_body(send, receive)


async def _joined(opening: bytes, frames: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield opening
    async for frame in frames:
        yield frame


def _frame(tenant_id: UUID, entry: Entry) -> bytes:
    """One event; JSON from msgspec has no line breaks, and neither has stored metadata."""
    return b"id: %d\ndata: %b\n\n" % (entry.seq, encode_event(tenant_id, entry))
