"""Whose address a request comes from, behind proxies too.

A proxy appends the address that it was called from to `X-Forwarded-For`, so the header is read from the right, and a
word of it counts only while everybody to its right is a proxy of ours. What a client writes there itself stands
further left and is not believed.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address, ip_address, ip_network

from litestar.types import Scope

from ledgerx.errors import ConfigurationError
from ledgerx.outbound import Address, Network

_FORWARDED_FOR = b"x-forwarded-for"
# Whoever has an IPv6 address has all of its /64.
_SITE_PREFIX = 64


def networks(setting: str | None, variable: str = "LEDGERX_TRUSTED_PROXIES") -> tuple[Network, ...]:
    """The networks that a variable names, such as "10.0.0.0/8, fd00::/8, 192.0.2.7".

    Raises `ConfigurationError`, also for a network with host bits set.
    """
    try:
        return tuple(ip_network(part) for part in (setting or "").replace(",", " ").split())
    except ValueError as error:
        raise ConfigurationError(f"{variable}: {error}") from None


def client_address(peer: str | None, forwarded_for: Iterable[str], trusted: Sequence[Network]) -> Address | None:
    """The address of the client of a request that `peer` has sent; None where no address is known at all.

    `forwarded_for` are the values of the header in the order of its lines. Where a trusted proxy passes on what is no
    address, the request counts as the proxy's own; where all are trusted, as that of the one furthest away.
    """
    address = _parse(peer or "")
    if not trusted:
        return address
    hops = [hop for line in forwarded_for for hop in line.split(",")]
    while hops and address is not None and _is_in(address, trusted):
        before = _parse(hops.pop())
        if before is None:
            break
        address = before
    return address


def address_of(scope: Scope, trusted: Sequence[Network]) -> Address | None:
    """`client_address` of an ASGI request."""
    client = scope.get("client")
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == _FORWARDED_FOR] if trusted else ()
    return client_address(client[0] if client else None, lines, trusted)


def site_of(address: Address | None) -> str:
    """What stands for an address where addresses are counted: an IPv4 address, or the /64 of an IPv6 one."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address, _SITE_PREFIX), strict=False))
    return str(address)


def _parse(text: str) -> Address | None:
    """An address as proxies write it: with a port or without, IPv6 in brackets or bare."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _is_in(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address in network for network in trusted)
