import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from uvicorn.server import ServerState

from ledgerx.turns import Turns
from ledgerx_api import connection
from ledgerx_api.connection import MAX_HEAD_BYTES, GuardedConnection

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]

GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"


LARGE = b"z" * 32 * 1024 * 1024


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body, and `/large` with much more."""
    body = LARGE if scope["path"] == "/large" else b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(len(body)).encode())]}
    )
    await send({"type": "http.response.body", "body": body})


@pytest_asyncio.fixture
async def connect(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Connect]:
    monkeypatch.setattr(connection, "MAX_SILENCE_S", 0.2)
    monkeypatch.setattr(connection, "MAX_STALL_S", 0.2)
    config = uvicorn.Config(echo, lifespan="off", ws="none", log_config=None, access_log=False)
    config.load()
    state, turns = ServerState(), Turns()
    server = await asyncio.get_running_loop().create_server(
        lambda: GuardedConnection(config, state, {}, turns=turns), "127.0.0.1", 0
    )
    async with server:
        host, port = server.sockets[0].getsockname()
        yield lambda: asyncio.open_connection(host, port)


async def closed(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.read(), 5)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", POST, POST + b"ab"], ids=["nothing", "head", "no body", "body"])
async def test_a_client_that_falls_silent_is_cut_off(connect: Connect, sent: bytes) -> None:
    reader, writer = await connect()
    writer.write(sent)
    assert await closed(reader) == b""
    writer.close()


async def test_a_head_that_trickles_is_cut_off(connect: Connect) -> None:
    reader, writer = await connect()
    ended = asyncio.create_task(closed(reader))
    for piece in [GET[:8], *[b"a: b\r\n"] * 100]:
        if ended.done():
            break
        writer.write(piece)
        await asyncio.sleep(0.02)
    assert ended.done()
    assert b"200" not in await ended
    writer.close()


async def test_a_slow_body_that_keeps_coming_is_taken(connect: Connect) -> None:
    reader, writer = await connect()
    writer.write(POST)
    for byte in b"slow":
        await asyncio.sleep(0.1)
        writer.write(bytes([byte]))
    assert (await reader.readuntil(b"slow")).startswith(b"HTTP/1.1 200")
    # An answered connection may rest for longer than a request may.
    await asyncio.sleep(0.3)
    writer.write(GET)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_head_that_is_too_large_is_refused(connect: Connect) -> None:
    reader, writer = await connect()
    writer.write(GET[:-2])
    await asyncio.sleep(0.05)
    writer.write(b"x: " + b"y" * MAX_HEAD_BYTES)
    assert (await closed(reader)).startswith(b"HTTP/1.1 431")
    writer.close()


async def test_what_is_no_http_is_refused(connect: Connect) -> None:
    reader, writer = await connect()
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    head, _, body = (await closed(reader)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in head
    assert json.loads(body)["code"] == "malformed"
    writer.close()


async def test_a_large_body_before_the_next_head_is_no_large_head(connect: Connect) -> None:
    reader, writer = await connect()
    body = b"z" * (2 * MAX_HEAD_BYTES)
    writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body + GET[:10])
    writer.write(GET[10:])
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert await reader.readexactly(len(body)) == body
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_a_client_that_does_not_read_its_answer_is_cut_off(connect: Connect) -> None:
    reader, writer = await connect()
    writer.write(GET.replace(b"/", b"/large", 1))
    # What is read ahead on either side is far less than the answer.
    await asyncio.sleep(0.5)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await reader.readexactly(len(LARGE))
    writer.close()


async def test_a_client_that_reads_slowly_gets_all_of_its_answer(connect: Connect) -> None:
    reader, writer = await connect()
    writer.write(GET.replace(b"/", b"/large", 1))
    await reader.readuntil(b"\r\n\r\n")
    for _ in range(8):
        await asyncio.sleep(0.1)
        await reader.readexactly(len(LARGE) // 8)
    writer.close()
