"""What has been sent to the broker and is not acknowledged yet: bounded, and in the order of the log."""

import asyncio
from collections import deque
from typing import Any

from ledgerx_streams.relay.pgoutput import Lsn


class _Section:
    """The records between two marks of the log."""

    __slots__ = ("end", "unacknowledged")

    def __init__(self) -> None:
        self.end: Lsn | None = None
        self.unacknowledged = 0


class Window:
    """Counts records out and acknowledgements in, and so knows up to where the log is safe with the broker.

    Partitions acknowledge in any order. `acknowledged` is the last mark before which every record has been
    acknowledged, 0 at first; a record that the broker refused keeps it where it is for good, and `refusal` raises.
    """

    def __init__(self, *, max_records: int, max_bytes: int) -> None:
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._sections = deque([_Section()])
        self._settled = asyncio.Event()
        self._error: BaseException | None = None
        self.acknowledged: Lsn = 0
        self.records = 0
        self.bytes = 0

    def sent(self, delivery: asyncio.Future[Any], size_bytes: int) -> None:
        """Count a record that is on its way; `delivery` ends when the broker has acknowledged or refused it."""
        section = self._sections[-1]
        section.unacknowledged += 1
        self.records += 1
        self.bytes += size_bytes

        def settle(delivery: asyncio.Future[Any]) -> None:
            self.records -= 1
            self.bytes -= size_bytes
            error = delivery.exception()
            if error is None:
                section.unacknowledged -= 1
                self._advance()
            else:
                self._error = self._error or error
            self._settled.set()

        delivery.add_done_callback(settle)

    def mark(self, position: Lsn) -> None:
        """Say that all the log has to send before `position` has been sent."""
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

    async def refusal(self) -> None:
        """Wait until the broker refuses a record, and raise its error."""
        while self._error is None:
            await self._next()
        raise self._error

    async def _next(self) -> None:
        self._settled.clear()
        await self._settled.wait()

    def _advance(self) -> None:
        while (first := self._sections[0]).end is not None and not first.unacknowledged:
            self.acknowledged = max(self.acknowledged, first.end)
            self._sections.popleft()
