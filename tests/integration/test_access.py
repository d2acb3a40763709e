"""Every route of the application, called by everybody: what is too little is refused, what is foreign is not found."""

import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from ledgerx.audit import SYSTEM
from ledgerx.database import connect
from ledgerx.emails import parse_email
from ledgerx.exports import Dataset, Format, Wanted, request_export
from ledgerx.roles import SCOPES, Role
from ledgerx.tenancy import ClientCredentials, Scope, create_client, read_clients
from ledgerx.users import create_user
from ledgerx_api.tokens import Principal
from ledgerx_cli.roles import Database
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import client_of, new_tenant
from tests.routes import Route, documented_roles, documented_routes, new_app, routes_of

with tempfile.TemporaryDirectory() as directory:
    ROUTES = list(routes_of(new_app(Path(directory))))
# A body for each route that takes one and has an id in its path; a new route needs one here.
BODIES: dict[str, Any] = {
    "amendTransaction": {"category": "changed"},
    "captureTransaction": {},
    "changeUser": {"name": "changed"},
    "releaseTransaction": {},
    "reverseTransaction": {},
    "updateAccount": {"frozen": False},
}
# A query for each route that has an id in its path and needs one.
QUERIES = {"getStatement": "?from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def somebody() -> ClientCredentials:
    return ClientCredentials(tenant_id=uuid4(), client_id="", client_secret="")


async def status_of(api: ApiProcess, route: Route, token: str | None, path: str, body: Any = None) -> int:
    """The status of an answer; its body may never end."""
    headers = {"Idempotency-Key": "key"} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    async with (
        aiohttp.ClientSession(api.base_url) as session,
        session.request(route.method, path, headers=headers, json=body) as answer,
    ):
        return answer.status


def some_path(route: Route) -> str:
    """The path with ids of nothing."""
    values = {"user_id": uuid4(), "secret_id": uuid4(), "client_id": "nobody", "code": "nothing", "transaction_id": 999}
    return route.path.format_map({**values, "export_id": uuid4(), "link": "nothing"})


@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_a_route_lets_in_whom_the_documentation_says_and_nobody_else(
    api: ApiProcess, somebody: ClientCredentials, route: Route
) -> None:
    wanted, path = documented_routes()[str(route)], some_path(route)
    scopes_of = documented_roles()

    async def is_let_in(principal: Principal) -> bool:
        status = await status_of(api, route, api.sign(principal), path)
        assert status != 401
        return status != 403

    if wanted.is_open:
        assert await status_of(api, route, None, path) != 403
        return
    for token in (None, "", "garbage", api.token(uuid4(), ttl_s=-60)):
        assert await status_of(api, route, token, path) == 401
    for role in Role:
        person = Principal(somebody.tenant_id, f"user:{uuid4()}", SCOPES[role], role)
        has_scope = role is not Role.MEMBER and bool({wanted.scope, "admin"} & scopes_of[role]) and wanted.scope
        assert await is_let_in(person) == bool(role in wanted.roles or has_scope), role
    for scope in Scope:
        client = Principal(somebody.tenant_id, "client:x", frozenset({scope}))
        assert await is_let_in(client) == (wanted.scope is not None and scope in (wanted.scope, "admin")), scope
    rest = frozenset(Scope) - {Scope.ADMIN, wanted.scope}
    assert not await is_let_in(Principal(somebody.tenant_id, "client:x", rest))
    overreaching = Principal(somebody.tenant_id, f"user:{uuid4()}", frozenset(Scope), Role.MEMBER)
    assert await is_let_in(overreaching) == ("member" in wanted.roles)


async def furnish(api: ApiProcess, database: Database, credentials: ClientCredentials) -> dict[str, Any]:
    """One of everything, by the names that it has in paths."""
    tenant_id = credentials.tenant_id
    async with await connect(database.owner_url, application_name="test") as connection:
        user = await create_user(
            connection,
            tenant_id,
            email=parse_email("private@example.com"),
            role=Role.MEMBER,
            scopes=frozenset({Scope.ADMIN}),
            author=SYSTEM,
        )
        made = await create_client(connection, tenant_id, "private", frozenset({Scope.LEDGER_READ}))
        clients = await read_clients(connection, tenant_id, after="", limit=9)
        wanted = Wanted(format=Format.CSV, dataset=Dataset.POSTINGS)
        export = await request_export(connection, tenant_id, wanted, SYSTEM, traceparent=None, max_bytes=1)
        [secret] = next(client.secrets for client in clients if client.client_id == made.client_id)
    async with client_of(api.base_url, credentials) as ledger:
        transaction = await ledger.transfer("k")
    return {
        "user_id": user.id,
        "client_id": made.client_id,
        "secret_id": secret.secret_id,
        "code": "user",
        "transaction_id": transaction.body["id"],
        "export_id": export.id,
    }


@pytest.mark.parametrize(
    # What is open to whoever has a link asks for no tenant.
    "route",
    [route for route in ROUTES if "{" in route.path and not documented_routes()[str(route)].is_open],
    ids=str,
)
async def test_what_another_tenant_has_is_not_found(
    api: ApiProcess, shared_database: Database, credentials: ClientCredentials, route: Route
) -> None:
    path = route.path.format_map(await furnish(api, shared_database, credentials))
    path += QUERIES.get(str(route.handler.operation_id), "")
    takes_body = "data" in route.handler.parsed_fn_signature.parameters
    body = BODIES[str(route.handler.operation_id)] if takes_body else None
    stranger = (await new_tenant(shared_database)).tenant_id

    async def asked_by(tenant_id: Any) -> int:
        owner = Principal(tenant_id, f"user:{uuid4()}", SCOPES[Role.OWNER], Role.OWNER)
        return await status_of(api, route, api.sign(owner), path, body)

    assert await asked_by(stranger) == 404
    mine = await asked_by(credentials.tenant_id)
    assert mine != 404
    assert mine < 400 or mine == 409, "the stranger was refused for another reason"
