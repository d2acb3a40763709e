"""One client's connection: uvicorn's, with bounds on how slow and how long a request may be on its way."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ledgerx.errors import Malformed
from ledgerx.turns import Turns
from ledgerx_api.problems import MEDIA_TYPE, problem_of

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

# A client that takes longer to send the head of a request, or pauses longer in its body, is slow on purpose.
MAX_SILENCE_S = 10.0
# A client that takes nothing of its answer for longer holds memory, and a place among the event streams.
MAX_STALL_S = 30.0
# The request line and all headers.
MAX_HEAD_BYTES = 64 * 1024

_HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

_log = structlog.get_logger()


class GuardedConnection(HttpToolsProtocol):
    """Closes a connection whose head does not come whole in `MAX_SILENCE_S`, or whose body stops for so long.

    One whose client takes nothing of its answer is cut off after `MAX_STALL_S`. A head of more than `MAX_HEAD_BYTES` is
    answered with 431. Requests that come in one piece cost no timer. They begin in `turns`, which the connections of a
    server share.
    """

    def __init__(self, *args: Any, turns: Turns, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turns = turns
        self._in_head = self._in_body = False
        self._head_bytes = 0
        self._silence: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the first request."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._stop_waiting()
        self._stop_stalling()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request."""
        if self._in_head:
            # What ends one request and begins the next in one piece is not counted; a piece is small.
            self._head_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self.transport.write(_HEAD_TOO_LARGE)
            self.transport.close()
        elif self._in_head and self._silence is None:
            self._wait()
        elif not self._in_head:
            self._stop_waiting()
            if self._in_body:
                self._wait()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read as HTTP, or has a target too long to be read."""
        del msg
        body = msgspec.json.encode(problem_of(Malformed("this is no HTTP/1.1 request, or its target is too long")))
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}"
        self.transport.write(f"{head}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.close()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._in_head, self._in_body = False, True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Its body is whole."""
        self._in_body = False
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client is slower than the answer."""
        super().pause_writing()
        self._watch_progress()

    def resume_writing(self) -> None:
        """It has taken most of what waited."""
        super().resume_writing()
        self._stop_stalling()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        self._turns.add(partial(super()._start_asgi_task, cycle, app))

    def _stop_stalling(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _watch_progress(self) -> None:
        self._stall = self.loop.call_later(MAX_STALL_S, self._cut_off, self.transport.get_write_buffer_size())

    def _cut_off(self, unsent_before_bytes: int) -> None:
        if self.transport.get_write_buffer_size() < unsent_before_bytes:
            self._watch_progress()
            return
        _log.info("cut off a client that does not read", client=self.client[0] if self.client else None)
        self.transport.abort()

    def _wait(self) -> None:
        self._silence = self.loop.call_later(MAX_SILENCE_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _give_up(self) -> None:
        self._silence = None
        if self.flow.read_paused:
            # It is we who are slow.
            self._wait()
        elif not self.transport.is_closing():
            _log.info("closed a silent connection", client=self.client[0] if self.client else None)
            self.transport.close()
