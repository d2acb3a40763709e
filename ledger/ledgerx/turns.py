"""Work done in short turns of the event loop, so that what must not wait comes in between.

Fifty requests that arrive together, or fifty answers that leave together, hold the loop for several milliseconds. A
batch of the engine whose results arrive meanwhile would wait for all of them, with its tenant's head locked.
"""

import asyncio
from collections import deque
from collections.abc import Callable

A_TURN = 8


class Turns:
    """Calls what was added, in that order, at most `A_TURN` of them before the loop's other work has its turn.

    What is called must not raise.
    """

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], object]] = deque()

    def add(self, work: Callable[[], object]) -> None:
        """Call `work` in a turn to come of the running loop, which has to be always the same one."""
        self._waiting.append(work)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._turn)

    async def finished(self) -> None:
        """Return when all that was added before has been called."""
        reached = asyncio.Event()
        self.add(reached.set)
        await reached.wait()

    def _turn(self) -> None:
        # What is being called still counts as waiting: what it adds needs no turn asked for.
        for _ in range(min(A_TURN, len(self._waiting))):
            self._waiting[0]()
            self._waiting.popleft()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._turn)
