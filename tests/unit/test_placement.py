"""A tenant's database is looked for once, and one that is away holds up no tenant of another."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from uuid import UUID, uuid4

import psycopg
import pytest

from ledgerx.errors import Overloaded, Unavailable
from ledgerx.placement import MAX_WAITING, Key, Placement

PATIENCE_S = 0.02


class Fake:
    """A database with tenants, which is asked for them."""

    def __init__(self, *tenants: Key) -> None:
        self.tenants = set(tenants)
        self.asked: list[set[Key]] = []
        self.is_asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()
        self.is_away = False

    async def holds(self, keys: Sequence[Key]) -> Collection[Key]:
        self.asked.append(set(keys))
        self.is_asked.set()
        await self.answers.wait()
        if self.is_away:
            raise psycopg.OperationalError("away")
        return self.tenants & set(keys)


TENANT, OTHER, NOBODY = uuid4(), uuid4(), uuid4()


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def placement() -> Placement[Fake]:
    return Placement("test", Fake.holds, trusting=True, patience_s=PATIENCE_S)


async def test_where_there_is_one_database_nobody_asks(placement: Placement[Fake], opened: ExitStack) -> None:
    placement.expect(frozenset({"a"}))
    one = Fake()
    opened.enter_context(placement.opened("a", one))
    assert placement.alone
    assert placement.known(NOBODY) is one
    assert await placement.find(NOBODY) is one
    assert one.asked == []


async def test_the_only_database_may_be_asked_all_the_same(opened: ExitStack) -> None:
    placement = Placement("test", Fake.holds, trusting=False, patience_s=PATIENCE_S)
    placement.expect(frozenset({"a"}))
    one = Fake(TENANT)
    opened.enter_context(placement.opened("a", one))
    assert (await placement.find(TENANT), await placement.find(NOBODY)) == (one, None)


async def test_a_tenant_is_looked_for_once(placement: Placement[Fake], opened: ExitStack) -> None:
    placement.expect(frozenset({"a", "b"}))
    one, other = Fake(TENANT), Fake(OTHER, "shop")
    opened.enter_context(placement.opened("a", one))
    opened.enter_context(placement.opened("b", other))
    assert placement.known(OTHER) is None
    assert await placement.find(OTHER) is other
    assert placement.known(OTHER) is other
    assert await placement.find(OTHER) is other
    assert [len(database.asked) for database in (one, other)] == [1, 1]
    # A name may be another tenant's the next time.
    assert await placement.find("shop") is other
    assert await placement.find("shop") is other
    assert len(other.asked) == 3


async def test_those_who_ask_meanwhile_share_the_next_question(placement: Placement[Fake], opened: ExitStack) -> None:
    placement.expect(frozenset({"a", "b"}))
    one = Fake(TENANT)
    opened.enter_context(placement.opened("a", one))
    opened.enter_context(placement.opened("b", Fake()))
    one.answers.clear()
    tenants = [uuid4() for _ in range(50)]
    first = asyncio.create_task(placement.find(NOBODY))
    await one.is_asked.wait()
    rest = [asyncio.create_task(placement.find(tenant)) for tenant in [*tenants, *tenants]]
    await asyncio.sleep(0)
    one.answers.set()
    assert set(await asyncio.gather(first, *rest)) == {None}
    assert one.asked == [{NOBODY}, set(tenants)]
    # For a moment nobody asks again.
    assert await placement.find(NOBODY) is None
    assert len(one.asked) == 2


async def test_whoever_gives_up_takes_nobody_along(placement: Placement[Fake], opened: ExitStack) -> None:
    placement.expect(frozenset({"a", "b"}))
    one = Fake(TENANT)
    opened.enter_context(placement.opened("a", one))
    opened.enter_context(placement.opened("b", Fake()))
    one.answers.clear()
    impatient, patient = (asyncio.create_task(placement.find(TENANT)) for _ in range(2))
    await one.is_asked.wait()
    impatient.cancel()
    await asyncio.wait({impatient})
    one.answers.set()
    assert await patient is one


async def test_a_question_too_many_is_refused(placement: Placement[Fake], opened: ExitStack) -> None:
    placement.expect(frozenset({"a", "b"}))
    one = Fake()
    opened.enter_context(placement.opened("a", one))
    opened.enter_context(placement.opened("b", Fake()))
    one.answers.clear()
    first = asyncio.create_task(placement.find(TENANT))
    await one.is_asked.wait()
    many = [asyncio.create_task(placement.find(UUID(int=number))) for number in range(MAX_WAITING + 1)]
    with pytest.raises(Overloaded):
        await many[-1]
    one.answers.set()
    assert set(await asyncio.gather(first, *many[:-1])) == {None}


async def test_a_database_that_does_not_answer_holds_up_no_tenant_of_another(
    placement: Placement[Fake], opened: ExitStack
) -> None:
    placement.expect(frozenset({"a", "b"}))
    one, away = Fake(TENANT), Fake(OTHER)
    away.answers.clear()
    opened.enter_context(placement.opened("a", one))
    opened.enter_context(placement.opened("b", away))
    assert await placement.find(TENANT) is one
    lost = asyncio.create_task(placement.find(OTHER))
    await asyncio.sleep(0)
    away.is_away = True
    away.answers.set()
    with pytest.raises(Unavailable):
        await lost
    away.is_away = False
    assert await placement.find(OTHER) is away


async def test_a_database_that_is_not_open_is_waited_for_and_then_gone_on_without(
    placement: Placement[Fake], opened: ExitStack
) -> None:
    placement.expect(frozenset({"a", "b"}))
    one, other = Fake(TENANT), Fake(OTHER)
    opened.enter_context(placement.opened("a", one))
    assert not placement.settled
    early = asyncio.create_task(placement.find(OTHER))
    await asyncio.sleep(0)
    opened.enter_context(placement.opened("b", other))
    assert placement.settled
    assert await early is other
    placement.expect(frozenset({"a", "b", "c"}))
    with pytest.raises(Unavailable):
        await placement.find(NOBODY)
    assert placement.settled
    assert await placement.find(TENANT) is one
    placement.expect(frozenset({"a", "b"}))
    assert await placement.find(NOBODY) is None


async def test_what_was_in_a_database_that_closed_is_looked_for_again(placement: Placement[Fake]) -> None:
    placement.expect(frozenset({"a", "b"}))
    before, after = Fake(TENANT), Fake(TENANT)
    with placement.opened("b", Fake()):
        with placement.opened("a", before):
            assert await placement.find(TENANT) is before
        assert placement.known(TENANT) is None
        again = asyncio.create_task(placement.find(TENANT))
        await asyncio.sleep(0)
        with placement.opened("a", after):
            assert await again is after


async def test_without_any_database_nobody_is_told_that_there_is_no_tenant(placement: Placement[Fake]) -> None:
    with pytest.raises(Unavailable):
        await placement.find(TENANT)
    assert not placement.settled


async def test_a_database_that_is_removed_is_not_waited_for(placement: Placement[Fake], opened: ExitStack) -> None:
    placement.expect(frozenset({"a", "b"}))
    one = Fake()
    with placement.opened("b", Fake()):
        opened.enter_context(placement.opened("a", one))
        assert placement.known(NOBODY) is None
        placement.expect(frozenset({"a"}))
        assert placement.known(NOBODY) is one
    assert placement.known(NOBODY) is one
