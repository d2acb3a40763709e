"""Tokens from outside over HTTP: a tenant says whom it trusts, and a real issuer signs."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import psycopg
import pytest
from psycopg import errors as pg

from ledgerx.audit import SYSTEM
from ledgerx.database import connect
from ledgerx.errors import IssuerNotAllowed, IssuerTaken, NotFound, PreconditionFailed
from ledgerx.logins import Database
from ledgerx.roles import SCOPES, Role
from ledgerx.tenancy import ClientCredentials
from ledgerx.trust import Trust, read_trust, remove_trust, set_trust
from ledgerx_api.tokens import Principal
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import LedgerClient, client_of, new_tenant
from tests.integration.people import Person, audited, new_people, speaking_for
from tests.oidc_server import ALGORITHMS, JWKS, OidcIssuer, OidcServer

ISSUER = "/v1/auth/issuer"
_SITES = 100


@pytest.fixture(scope="module")
def server() -> Iterator[OidcServer]:
    with OidcServer().running() as server:
        yield server


@pytest.fixture(scope="module")
def api(shared_database: Database, servers_directory: Path, server: OidcServer) -> Iterator[ApiProcess]:
    """An API that takes tokens of the first `_SITES` issuers."""
    urls = ", ".join(server.url(f"{number}") for number in range(_SITES))
    settings = {"OIDC_ISSUERS": urls, "OIDC_NETWORKS": "127.0.0.0/8", "RATE_LIMIT_CLIENT": "1000"}
    process = ApiProcess(shared_database, servers_directory, **settings)
    process.start()
    yield process
    process.end()


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return iter(range(_SITES))


@pytest.fixture
def site(server: OidcServer, numbers: Iterator[int]) -> OidcIssuer:
    """An issuer on the platform's list that nobody knows yet."""
    return server.issuer(f"{next(numbers)}")


def trusted(site: OidcIssuer, **fields: Any) -> dict[str, Any]:
    """What a tenant says to trust it: an audience of its own unless said."""
    return {
        "issuer": site.url,
        "audience": f"urn:{uuid4()}",
        "role_claim": ["groups"],
        "roles": {"ledger-operators": "operator", "customers": "member", "admins": "owner"},
        **fields,
    }


async def put(client: LedgerClient, body: Any, **headers: str) -> Any:
    return await client.request("PUT", ISSUER, body=body, headers=headers)


@asynccontextmanager
async def outsider(api: ApiProcess, token: str, tenant: UUID | str | None) -> AsyncIterator[LedgerClient]:
    """Who sends a token from outside to a tenant."""
    headers = {} if tenant is None else {"LedgerX-Tenant": f"{tenant}"}
    async with aiohttp.ClientSession(api.base_url, headers=headers) as session:
        yield LedgerClient(session, token)


async def told(api: ApiProcess, token: str, tenant: UUID | str | None, path: str = "/v1/accounts") -> Any:
    async with outsider(api, token, tenant) as client:
        return (await client.get(path)).told


async def test_trust_is_said_shown_changed_and_taken_back(
    admin: LedgerClient, owner: Person, site: OidcIssuer, shared_database: Database
) -> None:
    assert (await admin.get(ISSUER)).told == (404, "not_found")
    said = trusted(site)
    made = await put(admin, said)
    assert (made.status, made.headers["ETag"]) == (200, '"1"')
    assert {field: made.body[field] for field in said} == said
    assert made.body["tenant_id"] == str(owner.tenant_id)
    assert (made.body["algorithms"], made.body["scopes_claim"]) == (["EdDSA", "ES256", "RS256"], None)
    assert (await put(admin, said)).headers["ETag"] == '"1"'
    more = {"scopes_claim": ["a", "scope"], "algorithms": ["RS256", "ES256", "RS256"], "role_claim": ["a", "b"]}
    changed = await put(admin, said | more)
    assert changed.headers["ETag"] == '"2"'
    assert changed.body["algorithms"] == ["ES256", "RS256"]
    assert (await admin.get(ISSUER)).body == changed.body
    assert (await admin.request("DELETE", ISSUER)).status == 204
    assert (await admin.request("DELETE", ISSUER)).told == (404, "not_found")
    assert (await admin.get(ISSUER)).told == (404, "not_found")
    me = (f"user:{owner.user_id}", f"issuer:{site.url}", "127.0.0.1")
    assert list(audited(shared_database, owner.tenant_id))[1:] == [
        (f"issuer_{act}", *me) for act in ("trusted", "trusted", "removed")
    ]
    [_, latest, *_] = (await admin.get("/v1/audit-log")).body["items"]
    assert latest["details"]["scopes_claim"] == ["a", "scope"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"issuer": "https://login.example.com"}, "issuer_not_allowed"),
        ({"issuer": ""}, "invalid_field"),
        ({"issuer": "https://" + "x" * 2_048}, "invalid_field"),
        ({"audience": ""}, "invalid_field"),
        ({"audience": "a" * 256}, "invalid_field"),
        ({"audience": "a\u0000"}, "invalid_field"),
        ({"audience": ["a"]}, "invalid_field"),
        ({"role_claim": []}, "invalid_field"),
        ({"role_claim": "groups"}, "invalid_field"),
        ({"role_claim": ["a"] * 9}, "invalid_field"),
        ({"role_claim": [""]}, "invalid_field"),
        ({"roles": {}}, "invalid_field"),
        ({"roles": {"x": "king"}}, "invalid_field"),
        ({"roles": {"": "owner"}}, "invalid_field"),
        ({"roles": {"x\u0000": "owner"}}, "invalid_field"),
        ({"roles": {f"{number}": "member" for number in range(101)}}, "invalid_field"),
        ({"algorithms": []}, "invalid_field"),
        ({"algorithms": ["HS256"]}, "invalid_field"),
        ({"algorithms": ["none"]}, "invalid_field"),
        ({"scopes_claim": []}, "invalid_field"),
        ({"jwks_uri": "https://evil.example.com"}, "invalid_field"),
    ],
    ids=str,
)
async def test_what_cannot_be_trusted_is_refused(
    admin: LedgerClient, site: OidcIssuer, fields: dict[str, Any], code: str
) -> None:
    assert (await put(admin, trusted(site, **fields))).told == (422, code)
    assert (await admin.get(ISSUER)).status == 404


async def test_a_change_goes_by_the_version_it_was_made_for(admin: LedgerClient, site: OidcIssuer) -> None:
    assert (await put(admin, trusted(site), **{"If-Match": '"1"'})).told == (412, "precondition_failed")
    said = trusted(site)
    assert (await put(admin, said)).status == 200
    answers = await asyncio.gather(
        *(put(admin, said | {"audience": f"{said['audience']}{n}"}, **{"If-Match": '"1"'}) for n in range(5))
    )
    assert sorted(answer.status for answer in answers) == [200, 412, 412, 412, 412]
    assert (await admin.request("DELETE", ISSUER, headers={"If-Match": '"1"'})).status == 412
    assert (await admin.request("DELETE", ISSUER, headers={"If-Match": '"2"'})).status == 204


async def test_an_audience_of_an_issuer_is_one_tenants(
    api: ApiProcess, admin: LedgerClient, site: OidcIssuer, shared_database: Database
) -> None:
    [stranger] = await new_people(shared_database, Role.OWNER)
    said = trusted(site)
    assert (await put(admin, said)).status == 200
    async with speaking_for(api, stranger.principal) as other:
        assert (await put(other, said)).told == (409, "issuer_taken")
        assert (await other.get(ISSUER)).status == 404
        assert (await put(other, said | {"audience": "urn:other"})).status == 200
        # And what one gives up the other may have.
        assert (await admin.request("DELETE", ISSUER)).status == 204
        assert (await put(other, said)).status == 200


@pytest.fixture
async def trusting(admin: LedgerClient, site: OidcIssuer) -> str:
    """The audience for which the owner's tenant trusts `site`."""
    made = await put(admin, trusted(site))
    assert made.status == 200
    return str(made.body["audience"])


@pytest.mark.parametrize("kid", ALGORITHMS)
async def test_who_is_trusted_works_in_the_ledger_by_a_name_of_its_own(
    api: ApiProcess, admin: LedgerClient, owner: Person, site: OidcIssuer, trusting: str, kid: str
) -> None:
    async with outsider(api, site.token(kid, aud=trusting, sub="auth0|ada"), owner.tenant_id) as ada:
        for code in ("bank", "cash"):
            assert (await ada.open_account(code)).status == 201
        moved = await ada.transfer("k", debit="bank", credit="cash")
        assert moved.status == 201
        assert (await ada.get(ISSUER)).told == (403, "forbidden")
        assert (await ada.get("/v1/users/me")).told == (404, "not_found")
        changed = {"current_password": "x" * 12, "new_password": "y" * 12}
        assert (await ada.request("POST", "/v1/users/me/password", body=changed)).told == (404, "not_found")
        events = (await ada.get("/v1/events")).body["items"]
    prefix = (await admin.get(ISSUER)).body["actor_prefix"]
    assert prefix.startswith("oidc:")
    assert {event["data"]["actor"] for event in events} == {f"{prefix}auth0|ada"}
    assert site.fetches[JWKS] == 1


async def test_an_owner_from_outside_is_in_the_audit_log(
    api: ApiProcess, owner: Person, site: OidcIssuer, trusting: str, shared_database: Database
) -> None:
    async with outsider(api, site.token(aud=trusting, groups=["admins"], sub="eve"), owner.tenant_id) as eve:
        made = await eve.request("POST", "/v1/clients", body={"name": "x", "scopes": ["ledger:read"]})
        prefix = (await eve.get(ISSUER)).body["actor_prefix"]
    assert made.status == 201
    *_, latest = audited(shared_database, owner.tenant_id)
    assert latest == ("client_created", f"{prefix}eve", f"client:{made.body['client_id']}", "127.0.0.1")


async def test_a_token_from_outside_opens_nothing_else(
    api: ApiProcess,
    owner: Person,
    site: OidcIssuer,
    trusting: str,
    server: OidcServer,
    numbers: Iterator[int],
    shared_database: Database,
) -> None:
    good = site.token(aud=trusting)
    assert (await told(api, good, owner.tenant_id)) == (200, None)
    stranger = (await new_tenant(shared_database)).tenant_id
    for tenant in (stranger, uuid4(), owner.tenant.replace("/", ""), None):
        assert (await told(api, good, tenant)) == (401, "invalid_token")
    unlisted, listed = server.issuer("unlisted"), server.issuer(f"{next(numbers)}")
    for token in (
        site.token(aud="urn:other"),
        site.token(aud=None),
        site.token(aud=trusting, exp=1),
        site.token(aud=trusting, iss="ledgerx"),
        site.token(aud=trusting, nonce="n"),
        unlisted.token(aud=trusting),
        unlisted.token(aud=trusting, iss=site.url),
        listed.token(aud=trusting),
        listed.token(aud=trusting, iss=site.url),
        good[:-4] + "AAAA",
    ):
        assert (await told(api, token, owner.tenant_id)) == (401, "invalid_token")
    assert not unlisted.fetches
    assert (await told(api, site.token(aud=trusting, groups=["x"]), owner.tenant_id)) == (403, "forbidden")
    assert (await told(api, site.token(aud=trusting, groups=["customers"]), owner.tenant_id, "/v1/events")) == (
        403,
        "forbidden",
    )


async def test_a_tenant_sees_its_own_by_a_token_that_is_good_in_two(
    api: ApiProcess, admin: LedgerClient, owner: Person, site: OidcIssuer, trusting: str, shared_database: Database
) -> None:
    [stranger] = await new_people(shared_database, Role.OWNER)
    async with speaking_for(api, stranger.principal) as other:
        assert (await put(other, trusted(site, audience=f"{trusting}/2"))).status == 200
    token = site.token(aud=[trusting, f"{trusting}/2"])
    async with outsider(api, token, owner.tenant_id) as mine:
        assert (await mine.open_account("private")).status == 201
    assert (await told(api, token, stranger.tenant_id, "/v1/accounts/private")) == (404, "not_found")
    async with outsider(api, token, stranger.tenant_id) as theirs:
        assert (await theirs.get("/v1/accounts")).body["items"] == []
    assert (await admin.get("/v1/accounts/private")).status == 200


async def test_a_token_of_the_platform_goes_with_its_own_tenant_only(api: ApiProcess, owner: Person) -> None:
    token = api.sign(owner.principal)
    for tenant in (owner.tenant_id, f"{owner.tenant_id}".upper(), None):
        assert (await told(api, token, tenant)) == (200, None)
    for wrong in (uuid4(), "x", owner.tenant):
        assert (await told(api, token, wrong)) == (401, "invalid_token")


async def test_a_token_of_the_platform_is_not_taken_for_one_from_outside(
    api: ApiProcess, owner: Person, site: OidcIssuer, trusting: str
) -> None:
    """Nor with the issuer and the audience that the tenant trusts: the keys are not the issuer's."""
    forged = api.token(owner.tenant_id, issuer=site.url, audience=trusting)
    assert (await told(api, forged, owner.tenant_id)) == (401, "invalid_token")


async def test_trust_that_is_taken_back_ends_at_once_where_that_was_said(
    api: ApiProcess, admin: LedgerClient, owner: Person, site: OidcIssuer, trusting: str
) -> None:
    token = site.token(aud=trusting)
    assert (await told(api, token, owner.tenant_id)) == (200, None)
    said = (await admin.get(ISSUER)).body
    fields = ("issuer", "role_claim", "roles", "scopes_claim", "algorithms")
    said = {field: said[field] for field in fields} | {"audience": trusting}
    assert (await put(admin, said | {"algorithms": ["RS256"]})).status == 200
    assert (await told(api, token, owner.tenant_id)) == (401, "invalid_token")
    assert (await put(admin, said)).status == 200
    assert (await told(api, token, owner.tenant_id)) == (200, None)
    assert (await admin.request("DELETE", ISSUER)).status == 204
    assert (await told(api, token, owner.tenant_id)) == (401, "invalid_token")


async def test_an_issuer_that_is_down_makes_its_tokens_unavailable_and_no_others(
    api: ApiProcess, owner: Person, site: OidcIssuer, trusting: str
) -> None:
    site.is_up = False
    async with outsider(api, site.token(aud=trusting), owner.tenant_id) as client:
        answer = await client.get("/v1/accounts")
    assert answer.told == (503, "issuer_unavailable")
    assert 1 <= int(answer.headers["Retry-After"]) <= 10
    async with speaking_for(api, owner.principal) as mine:
        assert (await mine.get("/v1/accounts")).status == 200


async def test_an_issuer_that_is_down_later_is_not_missed(
    api: ApiProcess, owner: Person, site: OidcIssuer, trusting: str
) -> None:
    assert (await told(api, site.token(aud=trusting), owner.tenant_id)) == (200, None)
    site.is_up = False
    assert (await told(api, site.token("ES256", aud=trusting), owner.tenant_id)) == (200, None)


async def test_rate_limits_count_by_subject(api: ApiProcess, owner: Person, site: OidcIssuer, trusting: str) -> None:
    async def left(sub: str) -> str:
        async with outsider(api, site.token(aud=trusting, sub=sub), owner.tenant_id) as client:
            limits: str = (await client.get("/v1/accounts")).headers["RateLimit"]
        return limits.partition(";t=")[0]

    assert [await left("ada"), await left("ada"), await left("bob")] == [
        '"client";r=999',
        '"client";r=998',
        '"client";r=999',
    ]


async def test_a_stream_ends_when_its_token_is_not_trusted_any_more(
    api: ApiProcess, admin: LedgerClient, owner: Person, site: OidcIssuer, trusting: str
) -> None:
    headers = {"LedgerX-Tenant": f"{owner.tenant_id}", "Authorization": f"Bearer {site.token(aud=trusting)}"}
    async with (
        aiohttp.ClientSession(api.base_url, headers=headers) as session,
        session.get("/v1/events/stream") as stream,
    ):
        assert stream.status == 200
        assert (await stream.content.readline()).startswith(b"retry:")
        assert (await admin.open_account("first")).status == 201
        while not (await stream.content.readline()).startswith(b"data:"):
            pass
        assert (await admin.request("DELETE", ISSUER)).status == 204
        assert (await admin.open_account("second")).status == 201
        async with asyncio.timeout(10):
            assert b"second" not in await stream.content.read()


async def test_a_platform_without_issuers_takes_none(
    shared_database: Database, servers_directory: Path, owner: Person, server: OidcServer
) -> None:
    plain = ApiProcess(shared_database, servers_directory)
    plain.start()
    try:
        site = server.issuer("0")
        async with speaking_for(plain, owner.principal) as client:
            assert (await put(client, trusted(site))).told == (422, "issuer_not_allowed")
        assert (await told(plain, site.token(), owner.tenant_id)) == (401, "invalid_token")
        assert not site.fetches
    finally:
        plain.end()


async def test_the_platforms_operator_says_what_a_tenant_trusts(shared_database: Database) -> None:
    mine, other = [(await new_tenant(shared_database)).tenant_id for _ in range(2)]
    url = f"https://{uuid4()}.example.com"
    trust = Trust(issuer=url, audience="a", role_claim=("groups",), roles={"x": Role.AUDITOR})
    async with await connect(shared_database.owner_url, application_name="test") as connection:
        with pytest.raises(IssuerNotAllowed):
            await set_trust(connection, mine, trust, allowed_issuers=["https://other.example.com"], author=SYSTEM)
        made = await set_trust(connection, mine, trust, allowed_issuers=[url], author=SYSTEM)
        assert (made.trust, made.version) == (trust, 1)
        assert await read_trust(connection, mine) == made
        with pytest.raises(IssuerTaken):
            await set_trust(connection, other, trust, allowed_issuers=[url], author=SYSTEM)
        assert await read_trust(connection, other) is None
        with pytest.raises(PreconditionFailed):
            await remove_trust(connection, mine, versions=frozenset({2}), author=SYSTEM)
        await remove_trust(connection, mine, author=SYSTEM)
        with pytest.raises(NotFound):
            await remove_trust(connection, mine, author=SYSTEM)
    assert [act for act, actor, *_ in audited(shared_database, mine) if actor == "system"] == [
        "client_created",
        "issuer_trusted",
        "issuer_removed",
    ]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("roles", '{"x": "king"}'),
        ("roles", '{"x": ["owner"]}'),
        ("roles", '{"x": 7}'),
        ("roles", "[]"),
        ("roles", "{}"),
        ("algorithms", ["HS256"]),
        ("algorithms", []),
        ("role_claim", []),
        ("scopes_claim", []),
        ("audience", ""),
    ],
)
def test_the_table_holds_nothing_that_could_let_anybody_in_by_mistake(
    shared_database: Database, column: str, value: Any
) -> None:
    row: dict[str, Any] = {
        "tenant_id": uuid4(),
        "issuer": "i",
        "audience": f"{uuid4()}",
        "role_claim": ["a"],
        "roles": '{"x": "member"}',
        "scopes_claim": None,
        "algorithms": ["ES256"],
    }
    insert = (
        "INSERT INTO ledgerx.trusted_issuers VALUES (%(tenant_id)s, %(issuer)s, %(audience)s, %(role_claim)s, "
        "%(roles)s::jsonb, %(scopes_claim)s, %(algorithms)s)"
    )
    with psycopg.connect(shared_database.api_url) as connection:
        connection.execute("SELECT set_config('ledgerx.tenant', %s, true)", (f"{row['tenant_id']}",))
        connection.execute(insert, row)
        connection.execute("DELETE FROM ledgerx.trusted_issuers")
        with pytest.raises(pg.CheckViolation):
            connection.execute(insert, row | {column: value})


async def test_clients_may_say_whom_to_trust_with_the_scope_for_it_only(
    api: ApiProcess, site: OidcIssuer, credentials: ClientCredentials
) -> None:
    async with client_of(api.base_url, credentials) as client:
        assert (await put(client, trusted(site))).told == (403, "forbidden")
    operator = Principal(credentials.tenant_id, f"user:{uuid4()}", SCOPES[Role.OPERATOR], Role.OPERATOR)
    async with speaking_for(api, operator) as client:
        assert (await put(client, trusted(site))).told == (403, "forbidden")
