"""Requests to where somebody else says: an issuer of tokens, a receiver of webhooks.

None of them reaches the platform's own network. What counts is the address that a connection is made to, looked at just
before it is made, and not the name, which may stand for another address every time it is asked for. TLS and the header
`Host` go by the name all the same. Redirects are not followed, answers are bounded in time and size.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, TypeAlias

import aiohttp
import msgspec
from yarl import URL

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

MAX_URL_CHARACTERS = 2_048
# All that the IANA has given out for the public; the rest embeds IPv4 addresses, or is not meant for it.
_GLOBAL_UNICAST = IPv6Network("2000::/3")


class OutboundError(Exception):
    """A request was refused, or got no answer of the size and in the time that is allowed.

    The message is for the log: it may tell what a name stands for.
    """


class Reply(msgspec.Struct, frozen=True):
    """An answer with its whole body, not decompressed; `headers` do not go by case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outbound:
    """Sends requests to public addresses, and to those in the networks `allowed`, each for `timeout_s` at most.

    Servers show a certificate that `tls` accepts; those that the system trusts unless it is given.
    """

    def __init__(self, *, allowed: Sequence[Network] = (), timeout_s: float, tls: ssl.SSLContext | None = None) -> None:
        self._allowed = allowed
        self._tls = tls
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self,
        method: str,
        url: str,
        *,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        """Send a request and read an answer of at most `max_bytes`. Raises `OutboundError`."""
        target = checked_url(url, self._allowed)
        try:
            async with self._open().request(
                method, target, headers=headers, data=body, allow_redirects=False
            ) as response:
                return Reply(response.status, response.headers, await _read(response, max_bytes))
        except TimeoutError:
            raise OutboundError(f"{target.host} did not answer in {self._timeout.total:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise OutboundError(f"{target.host}: {error}") from None

    async def close(self) -> None:
        """Close the connections that are open."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        """The session; it is made within the event loop that it will be used in."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(socket_factory=self._socket, use_dns_cache=False, ssl=self._tls or True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                auto_decompress=False,
                headers={"User-Agent": "LedgerX", "Accept-Encoding": "identity"},
                trust_env=False,
            )
        return self._session

    def _socket(self, target: Any) -> socket.socket:
        """A socket for one address that a name stands for; an error where that is not to be reached."""
        family, kind, protocol, _, endpoint = target
        if not is_reachable(ip_address(endpoint[0]), self._allowed):
            raise PermissionError(errno.EACCES, "an address that is not public is not to be reached")
        return socket.socket(family, kind, protocol)


def is_reachable(address: Address, allowed: Sequence[Network] = ()) -> bool:
    """Whether requests may go to an address: it is public, or in one of the networks `allowed`.

    Not public are private, loopback, link-local, multicast and reserved ones, and those of IPv6 that stand for one of
    IPv4: mapped, NAT64, 6to4 and Teredo.
    """
    if any(address in network for network in allowed):
        return True
    if isinstance(address, IPv4Address):
        return address.is_global and not address.is_multicast
    return address in _GLOBAL_UNICAST and address.is_global and address.sixtofour is None and address.teredo is None


def checked_url(url: str, allowed: Sequence[Network] = ()) -> URL:
    """A URL that requests may go to, as far as it tells.

    It is `https`, or `http` to a loopback address within the networks `allowed`, and has neither user nor fragment.
    Raises `OutboundError`.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise OutboundError(f"the URL has more than {MAX_URL_CHARACTERS} characters")
    try:
        parsed = URL(url)
        host = parsed.host
    except ValueError:
        raise OutboundError("this is not a URL") from None
    if not host or parsed.user is not None or parsed.password is not None or parsed.fragment:
        raise OutboundError("a URL needs a host, and has neither a user nor a fragment")
    if parsed.scheme != "https" and not (parsed.scheme == "http" and _is_open_loopback(host, allowed)):
        raise OutboundError("the URL is not one of https")
    return parsed


def _is_open_loopback(host: str, allowed: Sequence[Network]) -> bool:
    try:
        address = ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return False
    return address.is_loopback and is_reachable(address, allowed)


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    try:
        await response.content.readexactly(max_bytes + 1)
    except asyncio.IncompleteReadError as end:
        return end.partial
    response.close()
    raise OutboundError(f"the answer has more than {max_bytes} bytes")
