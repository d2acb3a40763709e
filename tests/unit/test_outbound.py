"""Where requests of the platform may go."""

from ipaddress import ip_address, ip_network

import pytest

from ledgerx.outbound import OutboundError, checked_url, is_reachable

LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1")]


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"])
def test_public_addresses_are_reached(address: str) -> None:
    assert is_reachable(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"),  # noqa: S104
        *("169.254.169.254", "192.0.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1"),
        *("255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1"),
        # What stands for an address of IPv4: mapped, compatible, NAT64, 6to4, Teredo, and of the documentation.
        *("::ffff:127.0.0.1", "::ffff:1.1.1.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::"),
        *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1", "100::1", "4000::1"),
    ],
)
def test_all_others_are_not(address: str) -> None:
    assert not is_reachable(ip_address(address))


def test_networks_that_are_allowed_are_reached_and_no_others() -> None:
    networks = [ip_network("10.1.0.0/16"), ip_network("fd00::/8")]
    assert is_reachable(ip_address("10.1.2.3"), networks)
    assert is_reachable(ip_address("fd00::1"), networks)
    assert not is_reachable(ip_address("10.2.0.1"), networks)
    assert not is_reachable(ip_address("127.0.0.1"), networks)


@pytest.mark.parametrize(
    "url", ["https://login.example.com", "https://login.example.com:8443/realms/a?x=1", "https://[2606:4700::1]/"]
)
def test_urls_of_https_are_taken(url: str) -> None:
    assert str(checked_url(url)) in (url, f"{url}/")


@pytest.mark.parametrize(
    "url",
    [
        *("", "x", "/path", "//host/path", "https://", "https:///x", "ftp://host/", "file:///etc/passwd"),
        *("http://login.example.com/", "http://127.0.0.1/", "http://localhost:8080/", "https://user@host/"),
        *("https://user:password@host/", "https://host/#fragment", "https://host:99999/", "https://[::1"),
        "https://host/" + "x" * 2_048,
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(OutboundError):
        checked_url(url)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_plain_http_goes_to_loopback_where_that_is_allowed(host: str) -> None:
    assert checked_url(f"http://{host}:8080/x", LOOPBACK).host
    for elsewhere in ("http://10.0.0.1/", "http://login.example.com/", "http://169.254.169.254/"):
        with pytest.raises(OutboundError):
            checked_url(elsewhere, [*LOOPBACK, ip_network("10.0.0.0/8"), ip_network("169.254.0.0/16")])
