"""Looks up at once what many ask for one by one."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from typing import Generic, TypeVar

G = TypeVar("G", bound=Hashable)
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Together(Generic[G, K, V]):
    """Looks up keys of a group: together those that are asked for while other look-ups of the group are under way.

    An answer is always from after it was asked for, and no timer waits for anything. Of each group `at_once` keys are
    looked up by one call of `look_up`, and `side_by_side` such calls are made, so that a slow one holds up few.
    """

    def __init__(
        self, look_up: Callable[[G, Collection[K]], Awaitable[Mapping[K, V]]], *, at_once: int, side_by_side: int
    ) -> None:
        self._look_up = look_up
        self._at_once = at_once
        self._side_by_side = side_by_side
        self._waiting: defaultdict[G, deque[tuple[K, asyncio.Future[V | None]]]] = defaultdict(deque)
        self._tasks: defaultdict[G, set[asyncio.Task[None]]] = defaultdict(set)

    async def get(self, group: G, key: K) -> V | None:
        """What `look_up` finds for a key; None where that is nothing. Raises what `look_up` does."""
        future: asyncio.Future[V | None] = asyncio.get_running_loop().create_future()
        self._waiting[group].append((key, future))
        tasks = self._tasks[group]
        if len(tasks) < self._side_by_side:
            tasks.add(asyncio.create_task(self._work(group)))
        return await future

    async def _work(self, group: G) -> None:
        waiting, tasks = self._waiting[group], self._tasks[group]
        while waiting:
            asked = [waiting.popleft() for _ in range(min(len(waiting), self._at_once))]
            # Who asked may have gone away.
            try:
                found = await self._look_up(group, {key for key, _ in asked})
            except Exception as error:  # noqa: BLE001 - it is theirs who asked
                for _, future in asked:
                    if not future.done():
                        future.set_exception(error)
            else:
                for key, future in asked:
                    if not future.done():
                        future.set_result(found.get(key))
        tasks.discard(asyncio.current_task())
        if not tasks:
            del self._tasks[group], self._waiting[group]
