"""Access tokens over HTTP: who gets one, and which are refused."""

import base64
import io
from typing import Any

import aiohttp
import pytest

from ledgerx.logins import Database
from ledgerx.tenancy import ClientCredentials, Scope
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import LedgerClient, new_tenant

GOOD = {"debit": "bank", "credit": "user", "amount": "1.00"}


def unsigned(token: str) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').decode().rstrip("=")
    return f"{header}.{token.split('.')[1]}."


@pytest.mark.parametrize(
    ("case", "code"),
    [
        ("absent", "unauthenticated"),
        ("expired", "invalid_token"),
        ("forged", "invalid_token"),
        ("audience", "invalid_token"),
        ("issuer", "invalid_token"),
        ("none", "invalid_token"),
        ("garbage", "invalid_token"),
    ],
)
async def test_a_bad_token_opens_nothing(
    api: ApiProcess, client: LedgerClient, credentials: ClientCredentials, case: str, code: str
) -> None:
    good = api.token(credentials.tenant_id)
    forged = good[:-10] + ("A" * 10 if good[-10:] != "A" * 10 else "B" * 10)
    bad = {
        "absent": None,
        "expired": api.token(credentials.tenant_id, ttl_s=-60),
        "forged": forged,
        "audience": api.token(credentials.tenant_id, audience="others"),
        "issuer": api.token(credentials.tenant_id, issuer="elsewhere"),
        "none": unsigned(good),
        "garbage": "garbage",
    }
    client.token, kept = bad[case], client.token
    for method, path in (
        ("POST", "/v1/transactions"),
        ("POST", "/v1/accounts"),
        ("GET", "/v1/transactions"),
        ("GET", "/v1/accounts"),
        ("GET", "/v1/accounts/bank/balance"),
    ):
        answer = await client.request(method, path, body=GOOD if method == "POST" else None, key="k")
        assert answer.told == (401, code)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    client.token = kept
    assert await client.head() == 2


async def test_a_scope_that_is_missing_is_forbidden(api: ApiProcess, shared_database: Database) -> None:
    reader = await new_tenant(shared_database, frozenset({Scope.LEDGER_READ}))
    async with aiohttp.ClientSession(api.base_url) as session:
        client = LedgerClient(session)
        await client.log_in(reader)
        assert (await client.get("/v1/accounts")).status == 200
        assert (await client.open_account("bank")).told == (403, "forbidden")
        assert (await client.transfer("k")).told == (403, "forbidden")


async def ask_for_token(
    api: ApiProcess, form: dict[str, str] | io.BytesIO, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    sent = {"Content-Type": "application/x-www-form-urlencoded"} | (headers or {})
    async with (
        aiohttp.ClientSession(api.base_url) as session,
        session.post("/v1/auth/token", data=form, headers=sent) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def test_a_token_is_given_for_a_secret_in_the_form_or_by_http_basic(
    api: ApiProcess, credentials: ClientCredentials
) -> None:
    basic = base64.b64encode(f"{credentials.client_id}:{credentials.client_secret}".encode()).decode()
    form = {"grant_type": "client_credentials"}
    secrets = {"client_id": credentials.client_id, "client_secret": credentials.client_secret}
    for answer in (
        await ask_for_token(api, form | secrets),
        await ask_for_token(api, form, {"Authorization": f"Basic {basic}"}),
    ):
        status, body = answer
        assert status == 200
        assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 900, "ledger:read ledger:write")
    status, body = await ask_for_token(api, form | secrets | {"scope": "ledger:read"})
    assert (status, body["scope"]) == (200, "ledger:read")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"client_id": ""}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"scope": "admin"}, 400, "invalid_scope"),
        ({"scope": "everything"}, 400, "invalid_scope"),
    ],
)
async def test_no_token_is_given_for_less(
    api: ApiProcess, credentials: ClientCredentials, change: dict[str, str], status: int, code: str
) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret,
    }
    told, body = await ask_for_token(api, form | change)
    assert (told, body["code"]) == (status, code)


@pytest.mark.parametrize(
    "form",
    [
        b"",
        b"grant_type",
        b"grant_type=client_credentials&client_id=%00&client_secret=%00",
        b"grant_type=client_credentials&client_id=0198c0de-0000-7000-8000-000000000001.%00&client_secret=x",
        b"grant_type=client_credentials&client_id=0198c0de-0000-7000-8000-000000000001.a&client_secret=%ff%ed%a0%80",
        b"grant_type=client_credentials&client_id=a&client_id=b&client_secret=c",
        b"\xff\xfe",
        b"grant_type=" + b"x" * 100_000,
    ],
)
async def test_a_broken_form_is_the_clients_fault(api: ApiProcess, form: bytes) -> None:
    status, body = await ask_for_token(api, io.BytesIO(form))
    assert 400 <= status < 500, body


@pytest.mark.parametrize("basic", ["!!!", "w6k=", "/////w==", "", base64.b64encode(b"no colon").decode()])
async def test_broken_basic_credentials_are_refused(api: ApiProcess, basic: str) -> None:
    status, body = await ask_for_token(api, {"grant_type": "client_credentials"}, {"Authorization": f"Basic {basic}"})
    assert (status, body["code"]) == (401, "invalid_client")
