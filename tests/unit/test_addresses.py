"""Client addresses behind proxies: what is believed of X-Forwarded-For, and what is not."""

from ipaddress import ip_address
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.types import Scope

from ledgerx.errors import ConfigurationError
from ledgerx_api.addresses import address_of, client_address, networks, site_of

PROXIES = networks("10.0.0.0/8, fd00::/8 192.0.2.7")
CLIENT = "203.0.113.9"


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        (CLIENT, [], CLIENT),
        (CLIENT, ["198.51.100.1"], CLIENT),  # whoever is no proxy may write what they like
        ("10.0.0.1", [CLIENT], CLIENT),
        ("192.0.2.7", [CLIENT], CLIENT),
        ("10.0.0.1", [f"198.51.100.1, {CLIENT}"], CLIENT),  # what the client sent stands left of what the proxy added
        ("10.0.0.1", [f"198.51.100.1, {CLIENT}, 10.9.9.9"], CLIENT),
        ("10.0.0.1", [f"10.0.0.5, {CLIENT}"], CLIENT),  # a client that claims to be a proxy gets nowhere
        ("10.0.0.1", ["198.51.100.1", CLIENT], CLIENT),  # two lines are one list
        ("10.0.0.1", [f"{CLIENT},fd00::1"], CLIENT),
        ("fd00::1", ["2001:db8::5"], "2001:db8::5"),
        ("10.0.0.1", ["[2001:db8::5]:443"], "2001:db8::5"),
        ("10.0.0.1", ["[2001:db8::5]"], "2001:db8::5"),
        ("10.0.0.1", [f"{CLIENT}:50123"], CLIENT),
        ("10.0.0.1", ["fe80::1%eth0"], "fe80::1"),
        ("10.0.0.1", [f"::ffff:{CLIENT}"], CLIENT),
        ("::ffff:10.0.0.1", [CLIENT], CLIENT),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", [f"{CLIENT}, unknown"], "10.0.0.1"),
        ("10.0.0.1", [f"{CLIENT}, _hidden, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        (None, [CLIENT], None),
        ("", [CLIENT], None),
        ("/run/ledgerx.sock", [CLIENT], None),
    ],
)
def test_only_what_trusted_proxies_say_is_believed(
    peer: str | None, forwarded_for: list[str], address: str | None
) -> None:
    assert client_address(peer, forwarded_for, PROXIES) == (None if address is None else ip_address(address))


@given(st.lists(st.text(max_size=40)))
def test_without_trusted_proxies_the_header_says_nothing(forwarded_for: list[str]) -> None:
    assert client_address("10.0.0.1", forwarded_for, ()) == ip_address("10.0.0.1")


@given(st.lists(st.text(max_size=40)))
def test_whatever_a_client_sends_it_is_who_it_is(forged: list[str]) -> None:
    assert client_address("10.0.0.1", [*forged, CLIENT], PROXIES) == ip_address(CLIENT)


def test_a_request_has_the_address_of_its_connection_and_headers() -> None:
    scope = {
        "client": ("10.0.0.1", 5),
        "headers": [(b"x-forwarded-for", b"\xff"), (b"x-forwarded-for", b"10.1.1.1, 192.0.2.1")],
    }
    assert str(address_of(cast("Any", scope), PROXIES)) == "192.0.2.1"
    assert str(address_of(cast("Any", scope), ())) == "10.0.0.1"
    assert address_of(cast("Scope", {"client": None, "headers": []}), PROXIES) is None


def test_an_ipv6_site_counts_as_one() -> None:
    assert site_of(ip_address("2001:db8:1:2:3::4")) == site_of(ip_address("2001:db8:1:2::")) == "2001:db8:1:2::/64"
    assert site_of(ip_address("2001:db8:1:3::")) != site_of(ip_address("2001:db8:1:2::"))
    assert site_of(ip_address("192.0.2.1")) != site_of(ip_address("192.0.2.2"))
    assert site_of(None) == "None"


@pytest.mark.parametrize("setting", [None, "", " , "])
def test_no_proxy_is_trusted_unless_said(setting: str | None) -> None:
    assert networks(setting) == ()


@pytest.mark.parametrize("setting", ["10.0.0.1/8", "proxy.internal", "10.0.0.0/33"])
def test_an_unusable_list_of_proxies_names_its_variable(setting: str) -> None:
    with pytest.raises(ConfigurationError, match="LEDGERX_TRUSTED_PROXIES"):
        networks(setting)
