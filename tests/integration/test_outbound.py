"""Requests of the platform against real servers on loopback."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledgerx.outbound import Outbound, OutboundError

LOOPBACK = [ip_network("127.0.0.0/8")]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    made = Outbound(allowed=LOOPBACK, timeout_s=5)
    yield made
    await made.close()


class Server:
    """Answers each connection with the same bytes, and keeps the heads of the requests."""

    def __init__(self, answer: bytes, *, is_endless: bool = False) -> None:
        self.answer = answer
        self.is_endless = is_endless
        self.heads: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(self.answer)
            await writer.drain()
            while self.is_endless and not writer.is_closing():
                writer.write(b"x" * 65_536)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A port of 127.0.0.1."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    yield server.sockets[0].getsockname()[1]
    server.close()


def ok(body: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers, b"", body])


async def test_an_answer_comes_whole_with_its_headers(outbound: Outbound) -> None:
    server = Server(ok(b"hello", b"Cache-Control: max-age=7"))
    async with listening(server.serve) as port:
        url = f"http://127.0.0.1:{port}/a?b=c"
        reply = await outbound.send("POST", url, max_bytes=5, headers={"X-Own": "1"}, body=b"{}")
    assert (reply.status, reply.body, reply.headers["cache-control"]) == (200, b"hello", "max-age=7")
    [head] = server.heads
    assert head.startswith("POST /a?b=c HTTP/1.1\r\n")
    assert f"Host: 127.0.0.1:{port}\r\n" in head
    assert "X-Own: 1\r\n" in head


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "0x7f.1", "127.1"])  # noqa: S104
async def test_no_connection_is_made_to_an_address_that_is_not_public(host: str) -> None:
    """Whatever the name, and whatever resolves it: the port is there, and sees nobody."""
    server = Server(ok(b""))
    outbound = Outbound(timeout_s=5)
    async with listening(server.serve) as port:
        with pytest.raises(OutboundError, match=r"not public|canonical"):
            await outbound.send("GET", f"https://{host}:{port}/", max_bytes=1)
    await outbound.close()
    assert server.heads == []


async def test_a_name_is_looked_up_anew_and_its_address_checked_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that first stands for an address that is allowed, and then for another, as with DNS rebinding."""
    server = Server(ok(b"", b"Connection: close"))
    addresses = iter(["127.0.0.1", "127.0.0.2"])
    outbound = Outbound(allowed=[ip_network("127.0.0.1")], timeout_s=5)

    async def resolve(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(addresses), port))]

    async with listening(server.serve) as port:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        assert (await outbound.send("GET", f"http://localhost:{port}/", max_bytes=1)).status == 200
        with pytest.raises(OutboundError, match="not public"):
            await outbound.send("GET", f"http://localhost:{port}/", max_bytes=1)
    await outbound.close()
    assert len(server.heads) == 1


async def test_a_redirect_is_an_answer_and_is_not_followed(outbound: Outbound) -> None:
    elsewhere = Server(ok(b""))
    async with listening(elsewhere.serve) as other_port:
        location = b"Location: http://127.0.0.1:%d/" % other_port
        async with listening(Server(ok(b"", location).replace(b"200 OK", b"302 Found")).serve) as port:
            assert (await outbound.send("GET", f"http://127.0.0.1:{port}/", max_bytes=1)).status == 302
    assert elsewhere.heads == []


@pytest.mark.parametrize("is_endless", [True, False])
async def test_an_answer_that_is_too_large_is_refused_before_it_is_read(outbound: Outbound, is_endless: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n" if is_endless else ok(b"x" * 11)
    async with listening(Server(head, is_endless=is_endless).serve) as port:
        with pytest.raises(OutboundError, match="more than 10 bytes"):
            await outbound.send("GET", f"http://127.0.0.1:{port}/", max_bytes=10)


async def test_an_answer_is_not_decompressed(outbound: Outbound) -> None:
    async with listening(Server(ok(b"not gzip", b"Content-Encoding: gzip")).serve) as port:
        assert (await outbound.send("GET", f"http://127.0.0.1:{port}/", max_bytes=99)).body == b"not gzip"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_an_answer_that_does_not_end_in_time_is_given_up(answer: bytes) -> None:
    outbound, gone = Outbound(allowed=LOOPBACK, timeout_s=0.2), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await reader.read()
        gone.set()
        writer.close()

    async with listening(serve) as port:
        with pytest.raises(OutboundError, match="did not answer"):
            await outbound.send("GET", f"http://127.0.0.1:{port}/", max_bytes=99)
        async with asyncio.timeout(10):
            await gone.wait()
    await outbound.close()


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_what_is_no_whole_answer_is_an_error(outbound: Outbound, answer: bytes) -> None:
    async with listening(Server(answer).serve) as port:
        with pytest.raises(OutboundError):
            await outbound.send("GET", f"http://127.0.0.1:{port}/", max_bytes=99)


async def test_nobody_there_is_an_error(outbound: Outbound) -> None:
    async with listening(Server(b"").serve) as port:
        pass
    with pytest.raises(OutboundError):
        await outbound.send("GET", f"http://127.0.0.1:{port}/", max_bytes=1)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a certificate of its own for the name `localhost`, and the key."""
    key, now = Ed25519PrivateKey.generate(), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, None)
    )
    file = tmp_path / "localhost.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


async def test_tls_and_the_host_go_by_the_name(certificate: Path) -> None:
    """The certificate of the name is wanted, and the name asked for, though the address was looked up before."""
    names: list[str | None] = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    tls.sni_callback = lambda _socket, name, _context: names.append(name)
    server = Server(ok(b"hello"))
    outbound = Outbound(allowed=LOOPBACK, timeout_s=5, tls=ssl.create_default_context(cafile=certificate))
    stranger = Outbound(allowed=LOOPBACK, timeout_s=5)
    async with listening(server.serve, tls) as port:
        assert (await outbound.send("GET", f"https://localhost:{port}/", max_bytes=9)).body == b"hello"
        for sender, host in ((outbound, "127.0.0.1"), (stranger, "localhost")):
            with pytest.raises(OutboundError, match="certificate"):
                await sender.send("GET", f"https://{host}:{port}/", max_bytes=9)
    await outbound.close()
    await stranger.close()
    assert names == ["localhost", None, "localhost"]
    assert [head.partition("Host: ")[2].partition("\r\n")[0] for head in server.heads] == [f"localhost:{port}"]
