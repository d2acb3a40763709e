"""What has been sent to the broker and is not acknowledged yet: bounded, and in the order of the log."""

import asyncio
from collections import deque

from ledgerx_streams.relay.pgoutput import Lsn


class _Section:
    """The records between two marks of the log."""

    __slots__ = ("end", "unacknowledged", "unused")

    def __init__(self) -> None:
        self.end: Lsn | None = None
        self.unacknowledged = 0
        self.unused = True


class Window:
    """Counts records out and acknowledgements in, and so knows up to where the log is safe with the broker.

    Partitions acknowledge in any order. `acknowledged` is the last mark before which every record has been
    acknowledged, 0 at first.
    """

    def __init__(self, *, max_records: int, max_bytes: int) -> None:
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._sections = deque([_Section()])
        self._settled = asyncio.Event()
        self.acknowledged: Lsn = 0
        self.records = 0
        self.bytes = 0

    def sent(self, delivery: asyncio.Future[None], size_bytes: int) -> None:
        """Count a record that is on its way; `delivery` ends when the broker has acknowledged it."""
        section = self._sections[-1]
        section.unacknowledged += 1
        section.unused = False
        self.records += 1
        self.bytes += size_bytes

        def settle(_delivery: asyncio.Future[None]) -> None:
            self.records -= 1
            self.bytes -= size_bytes
            section.unacknowledged -= 1
            self._advance()
            self._settled.set()

        delivery.add_done_callback(settle)

    def mark(self, position: Lsn) -> None:
        """Say that all the log has to send before `position` has been sent."""
        if self._sections[-1].unused and len(self._sections) > 1:
            # The marks of an idle log while the broker is away must not pile up.
            self._sections[-2].end = position
        else:
            self._sections[-1].end = position
            self._sections.append(_Section())
        self._advance()

    async def room(self) -> None:
        """Wait until there are fewer records and bytes on their way than the limits; the next may exceed the bytes."""
        while self.records >= self._max_records or self.bytes >= self._max_bytes:
            await self._next()

    async def drained(self) -> None:
        """Wait until nothing is on its way any more."""
        while self.records:
            await self._next()

    async def _next(self) -> None:
        self._settled.clear()
        await self._settled.wait()

    def _advance(self) -> None:
        while (first := self._sections[0]).end is not None and not first.unacknowledged:
            self.acknowledged = max(self.acknowledged, first.end)
            self._sections.popleft()
