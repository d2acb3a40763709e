"""The keys of an issuer that is really there, or is not: how often it is asked, and what is done meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from ipaddress import ip_network
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledgerx.errors import InvalidToken, IssuerUnavailable
from ledgerx.outbound import Outbound
from ledgerx.trust import Algorithm
from ledgerx_api import issuers
from ledgerx_api.issuers import MAX_DOCUMENT_BYTES, PAUSE_S, STALE_S, Issuer
from tests.oidc_server import DISCOVERY, JWKS, OidcIssuer, OidcServer, new_key

AGE_S = 600


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def server() -> Iterator[OidcServer]:
    with OidcServer().running() as server:
        yield server


@pytest.fixture
def site(server: OidcServer, request: pytest.FixtureRequest) -> OidcIssuer:
    """The issuer as it is in the world."""
    return server.issuer(f"{abs(hash(request.node.nodeid))}")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def issuer(site: OidcIssuer, clock: Clock) -> AsyncIterator[Issuer]:
    """The issuer as the platform knows it."""
    outbound = Outbound(allowed=[ip_network("127.0.0.0/8")], timeout_s=5)
    made = Issuer(site.url, outbound, clock=clock)
    yield made
    site.answers.set()
    await made.close()
    await outbound.close()


async def key(issuer: Issuer, kid: str = "EdDSA") -> Any:
    return await issuer.key(kid, Algorithm.EDDSA)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what happens in the background."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in another thread
            await asyncio.sleep(0.005)


async def refused(asked: Awaitable[Any]) -> IssuerUnavailable:
    with pytest.raises(IssuerUnavailable) as caught:
        await asked
    return caught.value


async def test_keys_are_fetched_once_and_then_known(site: OidcIssuer, issuer: Issuer, clock: Clock) -> None:
    assert isinstance(await key(issuer), Ed25519PublicKey)
    assert await issuer.key("RS256", Algorithm.RS256)
    clock.now += AGE_S * 0.7
    assert await issuer.key("ES256", Algorithm.ES256)
    assert site.fetches == {DISCOVERY: 1, JWKS: 1}


async def test_many_who_ask_at_once_make_one_fetch(site: OidcIssuer, issuer: Issuer) -> None:
    site.answers.clear()
    asking = [asyncio.create_task(key(issuer)) for _ in range(50)]
    await until(lambda: site.fetches[JWKS] > 0)
    # Who goes away takes nobody along.
    asking.pop(0).cancel()
    site.answers.set()
    first, *others = await asyncio.gather(*asking)
    assert all(other is first for other in others)
    assert site.fetches == {DISCOVERY: 1, JWKS: 1}


async def test_unknown_keys_make_one_fetch_in_a_while(site: OidcIssuer, issuer: Issuer, clock: Clock) -> None:
    await key(issuer)
    clock.now += PAUSE_S
    for _ in range(3):
        asked = await asyncio.gather(*(key(issuer, f"{n}") for n in range(100)), return_exceptions=True)
        assert {type(answer) for answer in asked} == {InvalidToken}
        assert await key(issuer)
    assert site.fetches[JWKS] == 2
    clock.now += PAUSE_S - 0.1
    with pytest.raises(InvalidToken):
        await key(issuer, "x")
    assert site.fetches[JWKS] == 2
    clock.now += 0.1
    with pytest.raises(InvalidToken):
        await key(issuer, "x")
    assert site.fetches[JWKS] == 3


async def test_a_new_key_is_found_when_a_token_names_it(site: OidcIssuer, issuer: Issuer, clock: Clock) -> None:
    await key(issuer)
    site.keys["new"] = new_key("EdDSA")
    clock.now += PAUSE_S
    assert await key(issuer, "new") != await key(issuer)


async def test_a_key_is_for_its_own_algorithm_only(issuer: Issuer) -> None:
    for kid, algorithm in (("RS256", Algorithm.ES256), ("EdDSA", Algorithm.RS256), ("ES256", Algorithm.EDDSA)):
        with pytest.raises(InvalidToken):
            await issuer.key(kid, algorithm)


async def test_keys_are_fetched_anew_before_they_are_old_and_nobody_waits(
    site: OidcIssuer, issuer: Issuer, clock: Clock
) -> None:
    before = await key(issuer)
    site.keys["EdDSA"] = new_key("EdDSA")
    site.answers.clear()
    clock.now += AGE_S * 0.8
    assert await key(issuer) is before
    await until(lambda: site.fetches[JWKS] == 2)
    assert await key(issuer) is before
    site.answers.set()
    task = issuer._fetching
    assert task is not None
    await task
    assert await key(issuer) != before
    assert site.fetches[JWKS] == 2


async def test_old_keys_are_not_used_before_the_issuer_was_asked(
    site: OidcIssuer, issuer: Issuer, clock: Clock
) -> None:
    """A key that the issuer withdrew long ago is not good once more for who comes first."""
    await key(issuer)
    del site.keys["EdDSA"]
    clock.now += AGE_S
    with pytest.raises(InvalidToken):
        await key(issuer)


async def test_documents_are_kept_as_long_as_the_issuer_says(site: OidcIssuer, issuer: Issuer, clock: Clock) -> None:
    site.jwks_headers = {"Cache-Control": "max-age=3000"}
    await key(issuer)
    clock.now += 3_000 * 0.74
    await key(issuer)
    assert issuer._fetching is not None
    assert issuer._fetching.done()
    assert site.fetches[JWKS] == 1
    clock.now += 3_000 * 0.02
    await key(issuer)
    await until(lambda: site.fetches[JWKS] == 2)


async def test_an_outage_is_bridged_with_the_keys_of_before_but_not_for_ever(
    site: OidcIssuer, issuer: Issuer, clock: Clock
) -> None:
    before = await key(issuer)
    site.is_up = False
    clock.now += AGE_S
    # The first waits to learn of the outage; the others do not, and look again in the background.
    assert await key(issuer) is before
    assert site.fetches[DISCOVERY] == 2
    clock.now += PAUSE_S
    site.is_up = True
    site.instead[JWKS] = (503, {}, b"")
    site.answers.clear()
    assert await key(issuer) is before
    assert issuer._fetching is not None
    assert not issuer._fetching.done()
    site.answers.set()
    await issuer._fetching
    assert site.fetches[DISCOVERY] == 3
    # Whether a key is new nobody can say.
    await refused(key(issuer, "new"))
    clock.now = 1_000 + AGE_S + STALE_S - 1
    assert await key(issuer) is before
    clock.now += PAUSE_S
    await refused(key(issuer))
    del site.instead[JWKS]
    clock.now += PAUSE_S
    assert await key(issuer) == before


async def test_without_keys_it_is_unavailable_and_asked_again_after_a_pause(
    site: OidcIssuer, issuer: Issuer, clock: Clock
) -> None:
    site.is_up = False
    for _ in range(5):
        assert (await refused(key(issuer))).retry_after_s == PAUSE_S
    assert site.fetches == {DISCOVERY: 1}
    clock.now += 4
    assert (await refused(key(issuer))).retry_after_s == PAUSE_S - 4
    site.is_up = True
    clock.now += PAUSE_S - 4
    assert await key(issuer)


async def test_an_issuer_whose_server_is_gone_is_unavailable(clock: Clock) -> None:
    with OidcServer().running() as server:
        url = server.issuer("a").url
    outbound = Outbound(allowed=[ip_network("127.0.0.0/8")], timeout_s=5)
    await refused(key(Issuer(url, outbound, clock=clock)))
    await outbound.close()


@pytest.mark.parametrize("document", [DISCOVERY, JWKS])
@pytest.mark.parametrize(
    "answer",
    [
        (500, {}, b""),
        (204, {}, b""),
        (302, {"Location": JWKS}, b"{}"),
        (200, {}, b"not JSON"),
        (200, {}, b"{}"),
        (200, {}, b"[" * 100_000),
        (200, {}, b" " * MAX_DOCUMENT_BYTES + b"{}"),
    ],
    ids=lambda answer: f"{answer[0]}-{answer[2][:8]!r}",
)
async def test_what_cannot_be_meant_leaves_no_keys(
    site: OidcIssuer, issuer: Issuer, document: str, answer: tuple[int, dict[str, str], bytes]
) -> None:
    site.instead[document] = answer
    await refused(key(issuer))
    assert site.fetches[document] == 1
    assert site.fetches[JWKS] <= 1


async def test_an_issuer_that_says_to_be_another_is_not_asked_for_keys(site: OidcIssuer, issuer: Issuer) -> None:
    site.discovery["issuer"] = site.url + "/"
    await refused(key(issuer))
    assert site.fetches == {DISCOVERY: 1}


async def test_keys_are_not_fetched_from_where_the_platform_keeps_its_own(
    site: OidcIssuer, clock: Clock, server: OidcServer
) -> None:
    """What the issuer names goes through the same guard as the issuer itself."""
    outbound = Outbound(allowed=[ip_network("127.0.0.1")], timeout_s=5)
    for n, elsewhere in enumerate(
        (
            f"http://127.0.0.2:{server.port}/x/keys",
            f"https://127.0.0.2:{server.port}/x/keys",
            "https://169.254.169.254/latest/meta-data",
            "http://login.example.com/keys",
            "file:///etc/passwd",
        )
    ):
        site.discovery["jwks_uri"] = elsewhere
        await refused(key(Issuer(site.url, outbound, clock=clock)))
        assert site.fetches == {DISCOVERY: n + 1}
    await outbound.close()


async def test_a_slow_issuer_is_given_up(site: OidcIssuer, clock: Clock) -> None:
    outbound = Outbound(allowed=[ip_network("127.0.0.0/8")], timeout_s=0.2)
    site.answers.clear()
    await refused(key(Issuer(site.url, outbound, clock=clock)))
    site.answers.set()
    await outbound.close()


async def test_who_closes_leaves_no_fetch_behind(site: OidcIssuer, issuer: Issuer) -> None:
    site.answers.clear()
    asking = asyncio.create_task(key(issuer))
    await until(lambda: site.fetches[JWKS] == 1)
    await issuer.close()
    assert issuer._fetching is not None
    assert issuer._fetching.cancelled()
    with pytest.raises(asyncio.CancelledError):
        await asking


def test_the_time_to_wait_for_an_issuer_is_less_than_that_of_a_request() -> None:
    """Two documents one after the other, before a proxy gives up."""
    assert 2 * issuers.FETCH_TIMEOUT_S < 15
