"""HTTP/1.1 as the load generator speaks it: whole requests as bytes, one answer at a time.

A general client costs more per request than the server under test; this one knows only what the API answers with,
which is a body of known length on a connection that stays open.
"""

import re
from collections.abc import Mapping

import msgspec

_HEAD_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5]\d\d)[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_MAX_HEAD_BYTES = 64 * 1024


class ProtocolError(Exception):
    """The server answered with something that is not an HTTP/1.1 response of known length."""


class Response(msgspec.Struct, frozen=True, gc=False):
    """One whole answer."""

    status: int
    body: bytes


class ResponseReader:
    """Puts together one answer after the other from bytes that arrive cut anywhere."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> Response | None:
        """Take the next bytes; return the answer that they complete, if they do.

        Raises `ProtocolError` on what is no response of known length, and on bytes that nobody asked for.
        """
        buffer = self._buffer + data if self._buffer else data
        head_end = buffer.find(_HEAD_END)
        if head_end < 0:
            if len(buffer) > _MAX_HEAD_BYTES:
                raise ProtocolError("headers without end")
            self._buffer = buffer
            return None
        status = _STATUS.match(buffer)
        length = _LENGTH.search(buffer, 0, head_end + 2)
        if status is None or length is None:
            raise ProtocolError(f"no HTTP/1.1 response with a content-length: {buffer[:head_end]!r}")
        body_start = head_end + len(_HEAD_END)
        body_end = body_start + int(length[1])
        if len(buffer) < body_end:
            self._buffer = buffer
            return None
        if len(buffer) > body_end:
            raise ProtocolError("bytes after the response")
        self._buffer = b""
        return Response(int(status[1]), buffer[body_start:body_end])


def encode_request(method: str, target: str, *, host: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """The bytes of a request that keeps its connection open."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers.items())]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body
