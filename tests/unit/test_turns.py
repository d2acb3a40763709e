import asyncio
from functools import partial

from ledgerx.turns import A_TURN, Turns


async def test_work_is_done_in_order_and_others_come_in_between() -> None:
    turns = Turns()
    done: list[int] = []
    seen: list[int] = []
    for number in range(3 * A_TURN):
        turns.add(partial(done.append, number))
    assert not done
    while len(done) < 3 * A_TURN:
        await asyncio.sleep(0)
        seen.append(len(done))
    assert done == list(range(3 * A_TURN))
    assert seen == [A_TURN, 2 * A_TURN, 3 * A_TURN]


async def test_what_work_adds_waits_for_its_turn() -> None:
    turns = Turns()
    done: list[str] = []

    def first() -> None:
        done.append("first")
        turns.add(partial(done.append, "added"))

    turns.add(first)
    turns.add(partial(done.append, "second"))
    await turns.finished()
    assert done == ["first", "second"]
    await turns.finished()
    assert done == ["first", "second", "added"]
    turns.add(partial(done.append, "later"))
    await turns.finished()
    assert done[-1] == "later"
