"""Those who wait for news of a journal get them, and nobody asks while nobody waits."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from uuid import UUID, uuid4

import psycopg
import pytest_asyncio

from ledgerx_api.head_watch import HeadWatch


class Journals:
    """Heads that tests move; counts how often it is asked, and for whom last."""

    def __init__(self) -> None:
        self.heads: dict[UUID, int] = {}
        self.polls = 0
        self.asked: Sequence[UUID] = []
        self.fails = False

    async def read(self, tenant_ids: Sequence[UUID]) -> Mapping[UUID, int]:
        self.polls += 1
        self.asked = tenant_ids
        if self.fails:
            raise psycopg.OperationalError("gone")
        return {tenant_id: self.heads[tenant_id] for tenant_id in tenant_ids if tenant_id in self.heads}

    async def polled(self, times: int) -> None:
        """Return after as many polls more."""
        until = self.polls + times
        while self.polls < until:  # noqa: ASYNC110 - the watch sets no event
            await asyncio.sleep(0.001)


@pytest_asyncio.fixture
async def journals() -> Journals:
    return Journals()


@pytest_asyncio.fixture
async def watch(journals: Journals) -> AsyncIterator[HeadWatch]:
    watch = HeadWatch(journals.read, poll_s=0.001)
    running = asyncio.create_task(watch.run())
    yield watch
    running.cancel()


async def test_who_waits_is_told_when_the_head_has_passed(watch: HeadWatch, journals: Journals) -> None:
    mine, other, unknown = uuid4(), uuid4(), uuid4()
    journals.heads = {mine: 7, other: 1}
    waiting = [asyncio.create_task(watch.beyond(mine, seq)) for seq in (7, 8)]
    others = [asyncio.create_task(watch.beyond(other, 1)), asyncio.create_task(watch.beyond(unknown, 0))]
    await journals.polled(2)
    assert set(journals.asked) == {mine, other, unknown}
    journals.heads[mine] = 8
    await waiting[0]
    assert not waiting[1].done()
    journals.heads[mine] = 9
    await waiting[1]
    assert not any(task.done() for task in others)
    watch.close()
    await asyncio.gather(*others)


async def test_what_happened_before_is_news_too(watch: HeadWatch, journals: Journals) -> None:
    tenant_id = uuid4()
    journals.heads[tenant_id] = 5
    await watch.beyond(tenant_id, 4)


async def test_nobody_is_asked_while_nobody_waits(watch: HeadWatch, journals: Journals) -> None:
    await asyncio.sleep(0.02)
    assert journals.polls == 0
    waiting = asyncio.create_task(watch.beyond(uuid4(), 0))
    await journals.polled(2)
    waiting.cancel()
    await asyncio.wait([waiting])
    # The one that is under way may still come to an end.
    await asyncio.sleep(0.02)
    polls = journals.polls
    await asyncio.sleep(0.02)
    assert journals.polls == polls
    assert journals.asked == []


async def test_a_database_that_fails_is_asked_again(watch: HeadWatch, journals: Journals) -> None:
    tenant_id = uuid4()
    journals.fails = True
    waiting = asyncio.create_task(watch.beyond(tenant_id, 0))
    await journals.polled(3)
    journals.heads[tenant_id] = 1
    journals.fails = False
    await waiting


async def test_after_the_end_nobody_waits(watch: HeadWatch) -> None:
    watch.close()
    await watch.beyond(uuid4(), 0)
