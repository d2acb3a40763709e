"""Event streams from within: what their clients do not see happen."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from uuid import uuid4

import pytest

from ledgerx import database as db
from ledgerx.database import Pool
from ledgerx.errors import InvalidToken, NotFound, TooManyStreams
from ledgerx.feed import read_head_seqs
from ledgerx.logins import Database
from ledgerx_api.event_streams import EventStreamResponse, EventStreams, Feed
from ledgerx_api.head_watch import HeadWatch
from tests.integration.journals import Journal, new_journal, open_engine


@pytest.fixture
async def pool(shared_database: Database) -> AsyncIterator[Pool]:
    async with db.pool(shared_database.api_url, application_name="test", max_size=2) as pool:
        yield pool


@pytest.fixture
async def journal(shared_database: Database) -> AsyncIterator[Journal]:
    """A journal of six entries."""
    async with open_engine(shared_database) as engine:
        yield await new_journal(shared_database, engine)


@pytest.fixture
async def feed(pool: Pool) -> AsyncIterator[Feed]:
    feed = Feed(pool, HeadWatch(partial(read_head_seqs, pool), poll_s=0.01))
    running = asyncio.create_task(feed.watch.run())
    yield feed
    running.cancel()


async def nothing() -> None:
    """Authorises."""


async def frames(response: EventStreamResponse, count: int) -> list[bytes]:
    """The next of its frames, without their data."""
    found = [await anext(aiter(response.iterator)) for _ in range(count)]
    return [frame.partition(b"\ndata:")[0] for frame in found if isinstance(frame, bytes)]


async def rest(response: EventStreamResponse) -> int:
    """How many frames there are until it ends."""
    return len([frame async for frame in response.iterator])


async def test_a_silent_stream_beats_and_goes_on(feed: Feed, journal: Journal) -> None:
    streams = EventStreams(feed.watch.close, max_streams=1, heartbeat_s=0.02)
    stream = await streams.open(feed, journal.tenant_id, after=None, authorise=nothing)
    assert await frames(stream, 3) == [b"retry: 1000\nid: 6\n\n", b":\n\n", b":\n\n"]
    await journal.post(2)
    seen = await frames(stream, 1)
    while seen[-1] == b":\n\n":
        seen = await frames(stream, 1)
    assert seen + await frames(stream, 1) == [b"id: 7", b"id: 8"]


async def test_a_stream_ends_when_it_is_not_authorised_any_more(feed: Feed, journal: Journal) -> None:
    allowed = True

    async def authorise() -> None:
        if not allowed:
            raise InvalidToken

    streams = EventStreams(feed.watch.close, max_streams=1, heartbeat_s=0.02)
    stream = await streams.open(feed, journal.tenant_id, after=5, authorise=authorise)
    assert await frames(stream, 3) == [b"retry: 1000\nid: 5\n\n", b"id: 6", b":\n\n"]
    allowed = False
    with pytest.raises(StopAsyncIteration):
        await frames(stream, 1)


async def test_a_place_is_free_again_however_a_stream_ends(feed: Feed, journal: Journal) -> None:
    streams = EventStreams(feed.watch.close, max_streams=1, heartbeat_s=0.02)
    stream = await streams.open(feed, journal.tenant_id, after=0, authorise=nothing)
    with pytest.raises(TooManyStreams):
        await streams.open(feed, journal.tenant_id, after=0, authorise=nothing)

    async def gone() -> object:
        return {"type": "http.disconnect"}

    async def blocked(_message: object) -> None:
        await asyncio.Event().wait()

    # Its client is gone while a frame is being sent.
    await stream.send_body(blocked, gone)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        await streams.open(feed, uuid4(), after=0, authorise=nothing)
    again = await streams.open(feed, journal.tenant_id, after=0, authorise=nothing)
    streams.close()
    assert await rest(again) == 1
    with pytest.raises(TooManyStreams, match="shutting down"):
        await streams.open(feed, journal.tenant_id, after=0, authorise=nothing)


async def test_closing_ends_streams_that_wait(feed: Feed, journal: Journal) -> None:
    streams = EventStreams(feed.watch.close, max_streams=1)
    stream = await streams.open(feed, journal.tenant_id, after=None, authorise=nothing)
    assert await frames(stream, 1) == [b"retry: 1000\nid: 6\n\n"]
    waiting = asyncio.create_task(rest(stream))
    while not feed.watch._waiting:  # noqa: ASYNC110 - it sets no event
        await asyncio.sleep(0.001)
    streams.close()
    assert await waiting == 0
