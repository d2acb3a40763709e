"""Tokens from outside: whom a tenant takes their bearers for, and which it does not take."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace

from ledgerx.errors import Forbidden, InvalidToken, IssuerUnavailable
from ledgerx.roles import SCOPES, Role
from ledgerx.tenancy import Scope
from ledgerx.trust import Algorithm, Trust
from ledgerx_api import outside
from ledgerx_api.issuers import Issuer
from ledgerx_api.outside import OutsideTokens, principal_of
from tests.oidc_server import ALGORITHMS, AUDIENCE, OidcIssuer, algorithm_of

TENANT = UUID("0198c0de-0000-7000-8000-000000000001")
URL = "https://login.example.com"
TRUST = Trust(
    issuer=URL,
    audience=AUDIENCE,
    role_claim=("groups",),
    roles={"ledger-operators": Role.OPERATOR, "boss": Role.OWNER, "audit": Role.AUDITOR, "customer": Role.MEMBER},
)
NOW = int(time.time())
DAY_S = 86_400


class KnownIssuer(Issuer):
    """An issuer whose keys are here, with nothing to fetch; `asked` counts."""

    def __init__(self, site: OidcIssuer) -> None:
        self.url = site.url
        self.site = site
        self.asked = 0

    async def key(self, kid: str, algorithm: Algorithm) -> Any:
        self.asked += 1
        if not self.site.is_up:
            raise IssuerUnavailable
        found = self.site.keys.get(kid)
        if found is None or algorithm_of(found) != algorithm:
            raise InvalidToken
        return found.public_key()


class Trusts:
    """What tenants trust, and how often it was read."""

    def __init__(self) -> None:
        self.by_tenant: dict[UUID, Trust] = {TENANT: TRUST}
        self.reads = 0

    async def __call__(self, tenant_id: UUID) -> Trust | None:
        self.reads += 1
        await asyncio.sleep(0)
        return self.by_tenant.get(tenant_id)


class World:
    """An issuer, what is trusted, and the tokens in between, at a time of its own."""

    def __init__(self) -> None:
        self.site = OidcIssuer(URL)
        self.issuer = KnownIssuer(self.site)
        self.trusts = Trusts()
        self.now = time.time()
        self.tokens = OutsideTokens([self.issuer], self.trusts, clock=lambda: self.now)

    async def verify(self, token: str, tenant: object = TENANT) -> Any:
        return await self.tokens.verify(token, str(tenant))


@pytest.fixture
def world() -> World:
    return World()


async def refused(asked: Awaitable[Any], kind: type[Exception] = InvalidToken) -> str:
    with pytest.raises(kind) as caught:
        await asked
    return str(caught.value)


@pytest.mark.parametrize("kid", ALGORITHMS)
async def test_a_good_token_says_who_its_bearer_is(world: World, kid: str) -> None:
    principal = await world.verify(world.site.token(kid))
    issuer = hashlib.sha256(URL.encode()).hexdigest()[:12]
    assert (principal.tenant_id, principal.actor) == (TENANT, f"oidc:{issuer}:ada")
    assert (principal.role, principal.scopes) == (Role.OPERATOR, SCOPES[Role.OPERATOR])
    assert (principal.user_id, principal.confined_to) == (None, None)


async def test_a_member_is_confined_to_what_no_user_and_no_other_issuers_subject_can_own(world: World) -> None:
    user_id = str(uuid4())
    mine = await world.verify(world.site.token(groups="customer", sub=user_id))
    assert mine.confined_to == mine.actor != user_id
    other = replace(TRUST, issuer=f"{URL}/")
    claims = {"iss": other.issuer, "aud": AUDIENCE, "sub": user_id, "groups": "customer"}
    assert principal_of(TENANT, other, claims, Algorithm.ES256).confined_to != mine.confined_to


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", "jwt", ""])
async def test_types_of_access_tokens_are_taken(world: World, typ: str) -> None:
    assert await world.verify(world.site.token(header={"typ": typ}))


async def test_a_token_may_have_no_type(world: World) -> None:
    claims = jwt.decode(world.site.token(), options={"verify_signature": False})
    token = jwt.encode(claims, world.site.keys["EdDSA"], algorithm="EdDSA", headers={"kid": "EdDSA", "typ": None})
    assert "typ" not in jwt.get_unverified_header(token)
    assert await world.verify(token)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "https://others.example.com"},
        {"aud": [f"{AUDIENCE}/", "https://others.example.com"]},
        {"aud": None},
        {"aud": []},
        {"aud": ""},
        {"aud": 7},
        {"aud": {AUDIENCE: 1}},
        {"exp": None},
        {"exp": NOW - DAY_S},
        {"exp": "soon"},
        {"exp": float("inf")},
        {"exp": f"{NOW + DAY_S}"},
        {"nbf": NOW + DAY_S},
        {"nbf": "x"},
        {"iat": None},
        {"iat": NOW + DAY_S},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"sub": "s" * (outside.MAX_SUBJECT_CHARACTERS + 1)},
        {"sub": "ada\n"},
        {"sub": "ad\u00e4"},
        {"nonce": "n"},
        {"at_hash": "h"},
        {"c_hash": "h"},
        {"events": {}},
        {"typ": "ID"},
        {"token_use": "id"},
        {"header": {"typ": "id+jwt"}},
        {"header": {"typ": "logout+jwt"}},
        {"header": {"kid": "unknown"}},
        {"header": {"kid": "RS256"}},
    ],
    ids=str,
)
async def test_a_token_with_wrong_claims_is_refused(world: World, claims: dict[str, Any]) -> None:
    await refused(world.verify(world.site.token(**claims)))


@pytest.mark.parametrize(
    ("claims", "is_good"),
    [
        ({"exp": 1 - outside.LEEWAY_S}, True),
        ({"exp": -outside.LEEWAY_S}, False),
        ({"nbf": outside.LEEWAY_S}, True),
        ({"nbf": outside.LEEWAY_S + 1}, False),
        ({"iat": outside.LEEWAY_S}, True),
        ({"iat": outside.LEEWAY_S + 1}, False),
    ],
    ids=str,
)
async def test_clocks_may_differ_a_little(claims: dict[str, Any], is_good: bool) -> None:
    with time_machine.travel(NOW, tick=False):
        world = World()
        token = world.site.token(**{name: NOW + offset for name, offset in claims.items()})
        if is_good:
            assert await world.verify(token)
        else:
            await refused(world.verify(token))


async def test_a_token_with_an_extension_that_is_critical_is_refused(world: World) -> None:
    assert await _is_refused(world, world.site.token(header={"crit": ["exp"], "exp": NOW + 60}))


@pytest.mark.parametrize(
    "claims", [{"aud": ["x", AUDIENCE]}, {"sub": "a" * outside.MAX_SUBJECT_CHARACTERS}, {"nbf": NOW}]
)
async def test_a_token_with_other_good_claims_is_taken(world: World, claims: dict[str, Any]) -> None:
    assert await world.verify(world.site.token(**claims))


@pytest.mark.parametrize("iss", [None, "", 7, [URL], f"{URL}/", "https://evil.example.com", "ledgerx"])
async def test_a_token_of_an_issuer_that_is_not_on_the_list_is_not_from_outside(world: World, iss: Any) -> None:
    assert await world.verify(world.site.token(iss=iss)) is None
    assert (world.issuer.asked, world.trusts.reads) == (0, 0)


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "\u00e9", "e30.e30.e30", "bnVsbA.bnVsbA.bnVsbA", "x" * 9_999]
)
async def test_what_is_no_token_is_not_from_outside(world: World, token: str) -> None:
    assert await world.verify(token) is None


async def test_without_issuers_there_is_nothing_outside(world: World) -> None:
    assert await OutsideTokens([], world.trusts).verify(world.site.token(), str(TENANT)) is None


def by_hand(header: dict[str, Any], payload: str, sign: Callable[[bytes], bytes]) -> str:
    """A token put together without a library, which would refuse to."""
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    signature = sign(f"{head}.{payload}".encode())
    return f"{head}.{payload}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


@pytest.mark.parametrize("kid", ALGORITHMS)
@pytest.mark.parametrize("algorithm", ["none", "None", "", "HS256", "HS512", "RS512", "PS256", "ES256K", 7, None])
async def test_no_other_algorithm_is_taken(world: World, kid: str, algorithm: Any) -> None:
    """HMAC with the public key as its secret among them."""
    public = world.site.keys[kid].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    payload = world.site.token(kid).split(".")[1]
    signed_by = [
        lambda _: b"",
        lambda text: hmac.digest(public, text, hashlib.sha256),
        lambda text: hmac.digest(public, text, hashlib.sha512),
    ]
    for sign in signed_by:
        token = by_hand({"alg": algorithm, "typ": "at+jwt", "kid": kid}, payload, sign)
        assert await _is_refused(world, token)


@pytest.mark.parametrize("kid", ALGORITHMS)
@pytest.mark.parametrize("claimed", ALGORITHMS)
async def test_the_algorithm_is_that_of_the_key(world: World, kid: str, claimed: str) -> None:
    good = world.site.token(kid)
    header = {"alg": claimed, "typ": "at+jwt", "kid": kid}
    signature = base64.urlsafe_b64decode(good.split(".")[2] + "==")
    token = by_hand(header, good.split(".")[1], lambda _: signature)
    assert await _is_refused(world, token)
    assert await world.verify(good)


async def _is_refused(world: World, token: str) -> bool:
    try:
        return await world.verify(token) is None
    except InvalidToken:
        return True


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_a_token_tampered_with_is_refused(world: World, part: int) -> None:
    parts = world.site.token().split(".")
    middle = len(parts[part]) // 2
    parts[part] = parts[part][:middle] + ("A" if parts[part][middle] != "A" else "B") + parts[part][middle + 1 :]
    assert await _is_refused(world, ".".join(parts))


async def test_a_token_signed_by_somebody_else_is_refused(world: World) -> None:
    await refused(world.verify(OidcIssuer(URL).token("EdDSA")))


async def test_a_token_that_is_too_long_is_refused(world: World) -> None:
    await refused(world.verify(world.site.token(more="x" * outside.MAX_TOKEN_CHARACTERS)))


async def test_the_algorithms_are_those_that_the_tenant_takes(world: World) -> None:
    world.trusts.by_tenant[TENANT] = replace(TRUST, algorithms=(Algorithm.ES256,))
    assert await world.verify(world.site.token("ES256"))
    for kid in ("EdDSA", "RS256"):
        await refused(world.verify(world.site.token(kid)))


async def test_the_issuer_is_the_one_that_the_tenant_trusts(world: World) -> None:
    """Others on the platform's list give tokens for any audience, and sign them well."""
    other = OidcIssuer("https://other.example.com")
    tokens = OutsideTokens([world.issuer, KnownIssuer(other)], world.trusts)
    assert await tokens.verify(world.site.token(), str(TENANT))
    await refused(tokens.verify(other.token(), str(TENANT)))
    await refused(tokens.verify(other.token(iss=URL), str(TENANT)))
    world.trusts.by_tenant[TENANT] = replace(TRUST, issuer=other.url)
    tokens.forget(TENANT)
    assert await tokens.verify(other.token(), str(TENANT))
    await refused(tokens.verify(world.site.token(), str(TENANT)))


async def test_a_token_is_good_in_the_tenant_that_trusts_it_and_no_other(world: World) -> None:
    """Whether there is such a tenant it does not tell."""
    other, nobody = uuid4(), uuid4()
    world.trusts.by_tenant[other] = replace(TRUST, audience="https://other.example.com")
    token = world.site.token()
    assert (await world.verify(token)).tenant_id == TENANT
    assert await refused(world.verify(token, other)) == await refused(world.verify(token, nobody))
    both = world.site.token(aud=[AUDIENCE, "https://other.example.com"])
    assert [(await world.verify(both, tenant)).tenant_id for tenant in (TENANT, other)] == [TENANT, other]


@pytest.mark.parametrize("tenant", ["", "acme", "0198c0de", "*", "\u00e9" * 32])
async def test_what_is_no_tenants_id_is_refused(world: World, tenant: str) -> None:
    await refused(world.verify(world.site.token(), tenant))
    assert world.trusts.reads == 0


async def test_a_token_without_a_tenant_is_refused(world: World) -> None:
    with pytest.raises(InvalidToken, match="LedgerX-Tenant"):
        await world.tokens.verify(world.site.token(), None)


async def test_nobody_without_a_good_token_makes_the_settings_be_read(world: World) -> None:
    for token in (OidcIssuer(URL).token(), world.site.token(exp=1), world.site.token(header={"kid": "x"})):
        for tenant in (TENANT, uuid4()):
            await refused(world.verify(token, tenant))
    assert world.trusts.reads == 0


@pytest.mark.parametrize(
    ("path", "claims", "role"),
    [
        (("groups",), {"groups": "boss"}, Role.OWNER),
        (("groups",), {"groups": ["x", "customer", "audit"]}, Role.AUDITOR),
        (("groups",), {"groups": ["audit", "ledger-operators", "customer"]}, Role.OPERATOR),
        (("groups",), {"groups": ["customer", 7, None, {}]}, Role.MEMBER),
        (("sub",), {"sub": "boss"}, Role.OWNER),
        (("realm_access", "roles"), {"realm_access": {"roles": ["audit"]}}, Role.AUDITOR),
        (("https://a.example/roles",), {"https://a.example/roles": ["boss"]}, Role.OWNER),
        (("groups",), {"groups": None}, None),
        (("groups",), {"groups": []}, None),
        (("groups",), {"groups": "boss audit"}, None),
        (("groups",), {"groups": ["BOSS", "owner", "x"]}, None),
        (("groups",), {"groups": {"boss": 1}}, None),
        (("groups",), {"groups": [["boss"]]}, None),
        (("realm_access", "roles"), {"realm_access": "boss"}, None),
        (("realm_access", "roles"), {"realm_access": ["boss"]}, None),
    ],
    ids=str,
)
async def test_roles_are_those_that_the_tenant_maps(
    world: World, path: tuple[str, ...], claims: dict[str, Any], role: Role | None
) -> None:
    world.trusts.by_tenant[TENANT] = replace(TRUST, role_claim=path)
    token = world.site.token(**claims)
    if role is None:
        await refused(world.verify(token), Forbidden)
    else:
        principal = await world.verify(token)
        assert (principal.role, principal.scopes) == (role, SCOPES[role])


@pytest.mark.parametrize(
    ("group", "scope", "left"),
    [
        ("ledger-operators", "openid ledger:read profile", {Scope.LEDGER_READ}),
        ("ledger-operators", ["ledger:read", "ledger:write", 7], {Scope.LEDGER_READ, Scope.LEDGER_WRITE}),
        ("audit", "ledger:read ledger:write admin", {Scope.LEDGER_READ}),
        ("boss", "ledger:read users:write", {Scope.LEDGER_READ, Scope.USERS_WRITE}),
        ("boss", "admin", {Scope.ADMIN}),
        ("customer", "", set()),
        ("customer", "admin", set()),
        ("ledger-operators", "admin", None),
        ("audit", "openid", None),
        ("boss", "", None),
        ("boss", None, None),
        ("boss", {"admin": 1}, None),
    ],
    ids=str,
)
async def test_a_claim_of_scopes_takes_away_and_never_adds(
    world: World, group: str, scope: Any, left: set[Scope] | None
) -> None:
    world.trusts.by_tenant[TENANT] = replace(TRUST, scopes_claim=("scope",))
    token = world.site.token(groups=[group], scope=scope)
    if left is None:
        await refused(world.verify(token), Forbidden)
    else:
        assert (await world.verify(token)).scopes == left


async def test_a_good_token_is_remembered_for_a_while(world: World) -> None:
    token = world.site.token()
    first = await world.verify(token)
    world.now += outside.TRUST_AGE_S - 1
    assert await world.verify(token) is first
    assert (world.issuer.asked, world.trusts.reads) == (1, 1)
    world.now += outside.REMEMBERED_S
    assert await world.verify(token) == first
    assert world.issuer.asked == 2


async def test_a_remembered_token_expires_like_any_other(world: World) -> None:
    token = world.site.token(exp=int(world.now) + 2)
    assert await world.verify(token)
    world.now += 2 + outside.LEEWAY_S
    # It was verified anew, by the clock of the machine.
    assert await world.verify(token)
    assert world.issuer.asked == 2


async def test_a_withdrawn_key_ends_its_remembered_tokens(world: World) -> None:
    token = world.site.token()
    assert await world.verify(token)
    del world.site.keys["EdDSA"]
    world.now += outside.REMEMBERED_S
    await refused(world.verify(token))


@pytest.mark.parametrize("changed", [None, replace(TRUST, audience="x"), replace(TRUST, roles={"boss": Role.OWNER})])
async def test_withdrawn_trust_ends_remembered_tokens_in_time(world: World, changed: Trust | None) -> None:
    token = world.site.token()
    assert await world.verify(token)
    del world.trusts.by_tenant[TENANT]
    if changed is not None:
        world.trusts.by_tenant[TENANT] = changed
    world.now += outside.TRUST_AGE_S - 1
    assert await world.verify(token)
    world.now += 1
    with pytest.raises((InvalidToken, Forbidden)):
        await world.verify(token)


async def test_a_tenant_that_is_forgotten_is_read_anew_at_once(world: World) -> None:
    token = world.site.token()
    assert await world.verify(token)
    del world.trusts.by_tenant[TENANT]
    world.tokens.forget(TENANT)
    await refused(world.verify(token))


async def test_many_who_come_at_once_make_few_reads(world: World) -> None:
    tokens = [world.site.token(sub=f"{number}") for number in range(50)]
    await asyncio.gather(*map(world.verify, tokens))
    assert world.trusts.reads <= outside._READS_AT_ONCE
    world.now += outside.TRUST_AGE_S
    await asyncio.gather(*map(world.verify, tokens))
    assert world.trusts.reads <= 2 * outside._READS_AT_ONCE


async def test_a_refused_token_is_not_remembered(world: World) -> None:
    token = world.site.token(aud="x")
    for _ in range(2):
        await refused(world.verify(token))
    assert world.issuer.asked == 2


async def test_no_keys_is_no_refusal(world: World) -> None:
    world.site.is_up = False
    await refused(world.verify(world.site.token()), IssuerUnavailable)
