"""Requests as Litestar makes them, but for how their bodies are read."""

import math
from typing import Any

from litestar import Request
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.types import HTTPReceiveMessage, WebSocketReceiveMessage


class WholeRequest(Request[Any, Any, Any]):
    """A request whose body, where it has come in one piece as nearly all do, is not read as a stream.

    Litestar's way takes an eighth of what it spends on a route that posts a transaction.
    """

    _whole: bytes | None = None

    async def body(self) -> bytes:
        """The body. Raises `RequestEntityTooLarge` beyond the route's limit."""
        if self._whole is None:
            self._whole = await self._read()
        return self._whole

    async def _read(self) -> bytes:
        limit = self.route_handler.resolve_request_max_body_size() or math.inf
        if (self.content_length or 0) > limit:
            raise RequestEntityTooLarge
        receive = self.receive
        first = await receive()
        if first["type"] == "http.request" and not first["more_body"] and len(first["body"]) <= limit:
            return first["body"]

        async def receive_again() -> HTTPReceiveMessage | WebSocketReceiveMessage:
            self.receive = receive
            return first

        self.receive = receive_again
        return await super().body()
