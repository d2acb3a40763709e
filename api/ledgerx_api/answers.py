"""Answers whose bytes are known, written as they are: looking for what may be missing costs more than writing them."""

from collections.abc import Iterable

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

_JSON = (b"content-type", b"application/json")


class JsonAnswer(ASGIResponse):
    """A whole answer in JSON."""

    __slots__ = ("_body", "_headers", "_status")

    def __init__(self, body: bytes, *, status: int, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._status = status
        self._headers = [_JSON, (b"content-length", b"%d" % len(body)), *headers]
        self._body = body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        await send({"type": "http.response.start", "status": self._status, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body, "more_body": False})
