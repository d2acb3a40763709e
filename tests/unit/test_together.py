"""Look-ups of many keys at once."""

import asyncio
from collections.abc import Collection

import pytest

from ledgerx.together import Together


class Store:
    """A look-up that waits to be let go on, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[int]]] = []
        self.open = asyncio.Event()

    async def look_up(self, group: str, keys: Collection[int]) -> dict[int, str]:
        self.asked.append((group, sorted(keys)))
        await self.open.wait()
        if 13 in keys:
            raise ValueError("unlucky")
        return {key: f"{group}{key}" for key in keys if key > 0}


async def begin(together: Together[str, int, str], *keys: tuple[str, int]) -> list[asyncio.Task[str | None]]:
    tasks = [asyncio.create_task(together.get(*key)) for key in keys]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_what_is_asked_for_during_a_look_up_is_looked_up_together_after_it() -> None:
    store = Store()
    together = Together(store.look_up, at_once=3, side_by_side=1)
    tasks = await begin(together, ("a", 1))
    tasks += await begin(together, ("a", 2), ("a", 2), ("a", 0), ("a", 4), ("b", 1))
    store.open.set()
    assert await asyncio.gather(*tasks) == ["a1", "a2", "a2", None, "a4", "b1"]
    assert store.asked == [("a", [1]), ("b", [1]), ("a", [0, 2]), ("a", [4])]
    assert await together.get("a", 5) == "a5"


async def test_a_slow_look_up_does_not_hold_up_all() -> None:
    store = Store()
    together = Together(store.look_up, at_once=3, side_by_side=2)
    tasks = await begin(together, ("a", 1))
    tasks += await begin(together, ("a", 2))
    assert store.asked == [("a", [1]), ("a", [2])]
    store.open.set()
    await asyncio.gather(*tasks)


async def test_a_failure_is_that_of_all_who_asked_and_of_nobody_later() -> None:
    store = Store()
    together = Together(store.look_up, at_once=3, side_by_side=1)
    [first] = await begin(together, ("a", 1))
    others = await begin(together, ("a", 12), ("a", 13))
    store.open.set()
    assert await first == "a1"
    for task in others:
        with pytest.raises(ValueError, match="unlucky"):
            await task
    assert await together.get("a", 3) == "a3"


async def test_who_goes_away_takes_nobody_along() -> None:
    store = Store()
    together = Together(store.look_up, at_once=3, side_by_side=1)
    gone, waiting, stays = await begin(together, ("a", 1), ("a", 2), ("a", 2))
    gone.cancel()
    waiting.cancel()
    store.open.set()
    assert await stays == "a2"
    assert gone.cancelled()
    assert waiting.cancelled()
