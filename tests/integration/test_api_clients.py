"""API clients and their secrets over HTTP."""

import asyncio
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from ledgerx.logins import Database
from ledgerx.tenancy import MAX_SECRETS
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import LedgerClient
from tests.integration.people import Person, audited, post

CLIENT = {"name": "billing", "scopes": ["ledger:read", "users:write"]}


async def token_status(api: ApiProcess, client_id: str, client_secret: str) -> int:
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
    async with aiohttp.ClientSession(api.base_url) as session, session.post("/v1/auth/token", data=form) as answer:
        if answer.status == 200:
            assert (await answer.json())["scope"] == "ledger:read users:write"
        return answer.status


async def test_secrets_rotate_without_a_pause(
    api: ApiProcess, admin: LedgerClient, owner: Person, shared_database: Database
) -> None:
    made = await post(admin, "/v1/clients", **CLIENT)
    assert made.status == 201
    assert made.headers["Cache-Control"] == "no-store"
    client_id, first = made.body["client_id"], made.body["client_secret"]
    added = await post(admin, f"/v1/clients/{client_id}/secrets")
    assert added.status == 201
    assert await token_status(api, client_id, first) == 200
    assert await token_status(api, client_id, added.body["client_secret"]) == 200

    [shown] = (await admin.get("/v1/clients")).body["items"]
    assert (shown["id"], shown["name"], shown["scopes"]) == (client_id, "billing", CLIENT["scopes"])
    assert [secret["id"] for secret in shown["secrets"]][1] == added.body["id"]
    assert first not in str(shown)
    old = f"/v1/clients/{client_id}/secrets/{shown['secrets'][0]['id']}"
    assert (await admin.request("DELETE", old)).status == 204
    assert (await admin.request("DELETE", old)).told == (404, "not_found")
    assert await token_status(api, client_id, first) == 401
    assert await token_status(api, client_id, added.body["client_secret"]) == 200

    assert (await admin.request("DELETE", f"/v1/clients/{client_id}")).status == 204
    assert (await admin.request("DELETE", f"/v1/clients/{client_id}")).told == (404, "not_found")
    assert (await post(admin, f"/v1/clients/{client_id}/secrets")).told == (404, "not_found")
    assert await token_status(api, client_id, added.body["client_secret"]) == 401
    assert (await admin.get("/v1/clients")).body["items"] == []
    assert list(audited(shared_database, owner.tenant_id))[1:] == [
        (f"client_{act}", f"user:{owner.user_id}", f"client:{client_id}", "127.0.0.1")
        for act in ("created", "secret_added", "secret_deleted", "deleted")
    ]


async def test_a_client_has_so_many_secrets_at_most(admin: LedgerClient) -> None:
    client_id = (await post(admin, "/v1/clients", **CLIENT)).body["client_id"]
    answers = await asyncio.gather(*(post(admin, f"/v1/clients/{client_id}/secrets") for _ in range(MAX_SECRETS + 2)))
    assert sorted(answer.status for answer in answers) == [201] * (MAX_SECRETS - 1) + [409] * 3


@pytest.mark.parametrize(
    "fields",
    [{"name": ""}, {"name": "a\n"}, {"scopes": []}, {"scopes": ["everything"]}, {"scopes": "admin"}, {"secret": "x"}],
)
async def test_a_bad_client_is_refused(admin: LedgerClient, fields: dict[str, Any]) -> None:
    assert (await post(admin, "/v1/clients", **CLIENT | fields)).told == (422, "invalid_field")


async def test_clients_are_listed_in_pages(admin: LedgerClient) -> None:
    made = sorted([(await post(admin, "/v1/clients", **CLIENT)).body["client_id"] for _ in range(3)])
    pages = [page async for page in admin.pages("/v1/clients", 2)]
    assert [[client["id"] for client in page] for page in pages] == [made[:2], made[2:]]


@pytest.mark.parametrize("client_id", ["x", f"{uuid4()}.0", "%00"])
async def test_a_client_that_is_not_there_is_not_found(admin: LedgerClient, client_id: str) -> None:
    answer = await admin.request("DELETE", f"/v1/clients/{client_id}")
    assert answer.status in (400, 404)
