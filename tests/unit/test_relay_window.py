import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerx_streams.relay.window import Window


def roomy() -> Window:
    return Window(max_records=1000, max_bytes=1000)


async def settle() -> None:
    """Let the callbacks of futures and those who wait for them run."""
    for _ in range(3):
        await asyncio.sleep(0)


def delivery(window: Window, size_bytes: int = 1) -> "asyncio.Future[None]":
    future = asyncio.get_running_loop().create_future()
    window.sent(future, size_bytes)
    return future


async def test_a_position_is_acknowledged_once_all_before_it_is() -> None:
    window = roomy()
    first, second = delivery(window), delivery(window)
    window.mark(10)
    third = delivery(window)
    window.mark(20)

    third.set_result(None)
    second.set_result(None)
    await settle()
    assert window.acknowledged == 0
    first.set_result(None)
    await settle()
    assert window.acknowledged == 20


async def test_records_of_an_unfinished_transaction_acknowledge_nothing() -> None:
    window = roomy()
    delivery(window).set_result(None)
    await settle()
    assert window.acknowledged == 0


async def test_an_idle_window_follows_the_log() -> None:
    window = roomy()
    window.mark(10)
    assert window.acknowledged == 10
    window.mark(7)
    assert window.acknowledged == 10


async def test_an_idle_log_does_not_pile_up_behind_a_record() -> None:
    window = roomy()
    first = delivery(window)
    for position in range(10, 1000):
        window.mark(position)
    assert len(window._sections) == 2
    second = delivery(window)
    window.mark(1000)
    first.set_result(None)
    await settle()
    assert window.acknowledged == 999
    second.set_result(None)
    await settle()
    assert window.acknowledged == 1000


@pytest.mark.parametrize(("max_records", "max_bytes"), [(2, 1000), (1000, 20)])
async def test_a_full_window_makes_wait(max_records: int, max_bytes: int) -> None:
    window = Window(max_records=max_records, max_bytes=max_bytes)
    first, _second = delivery(window, 10), delivery(window, 10)
    waiting = asyncio.ensure_future(window.room())
    await settle()
    assert not waiting.done()
    first.set_result(None)
    await waiting
    assert (window.records, window.bytes) == (1, 10)


@given(sections=st.lists(st.integers(0, 3), max_size=6), data=st.data())
def test_acknowledged_is_always_the_longest_settled_beginning(sections: list[int], data: st.DataObject) -> None:
    async def acknowledge_in_any_order() -> None:
        window = roomy()
        deliveries = []
        for number, count in enumerate(sections, start=1):
            deliveries += [(number, delivery(window)) for _ in range(count)]
            window.mark(number)
        pending = data.draw(st.permutations(deliveries))
        while pending:
            pending.pop()[1].set_result(None)
            await settle()
            assert window.acknowledged == min((number for number, _ in pending), default=len(sections) + 1) - 1

    asyncio.run(acknowledge_in_any_order())
