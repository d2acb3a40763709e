"""Every route of the application, called by everybody: what is too little is refused, what is foreign is not found."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import msgspec
import pytest

from ledgerx.audit import SYSTEM
from ledgerx.database import connect
from ledgerx.emails import parse_email
from ledgerx.exports import Dataset, Format, Wanted, request_export
from ledgerx.logins import Database
from ledgerx.roles import SCOPES, Role
from ledgerx.sealing import read_sealing_keys
from ledgerx.tenancy import ClientCredentials, Scope, create_client, let_members_post, read_clients
from ledgerx.users import create_user
from ledgerx.webhooks import Target, create_endpoint
from ledgerx_api.tokens import Principal
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import Answer, LedgerClient, client_of, new_tenant
from tests.integration.people import speaking_for
from tests.routes import Route, documented_roles, documented_routes, new_app, routes_of

with tempfile.TemporaryDirectory() as directory:
    ROUTES = list(routes_of(new_app(Path(directory))))
# A body for each route that takes one and has an id in its path; a new route needs one here.
BODIES: dict[str, Any] = {
    "amendTransaction": {"category": "changed"},
    "captureTransaction": {},
    "changeUser": {"name": "changed"},
    "changeWebhook": {"description": "changed"},
    "redeliverWebhook": {"sequence": 1},
    "releaseTransaction": {},
    "reverseTransaction": {},
    "rotateWebhookSecret": {},
    "updateAccount": {"frozen": False},
    "updateAsset": {"name": "changed"},
    "updateCategory": {"name": "changed"},
}
# A query for each route that has an id in its path and needs one.
QUERIES = {"getStatement": "?from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00Z"}


@pytest.fixture(scope="module")
def somebody() -> ClientCredentials:
    return ClientCredentials(tenant_id=uuid4(), client_id="", client_secret="")


async def status_of(api: ApiProcess, route: Route, token: str | None, path: str, body: Any = None, **more: str) -> int:
    """The status of an answer; its body may never end."""
    headers = {"Idempotency-Key": "key", **more} | ({} if token is None else {"Authorization": f"Bearer {token}"})
    async with (
        aiohttp.ClientSession(api.base_url) as session,
        session.request(route.method, path, headers=headers, json=body) as answer,
    ):
        return answer.status


def some_path(route: Route) -> str:
    """The path with ids of nothing."""
    values = {
        "user_id": uuid4(),
        "secret_id": uuid4(),
        "webhook_id": uuid4(),
        "client_id": "nobody",
        "code": "nothing",
        "asset_code": "NOTHING",
        "category_code": "nothing",
        "transaction_id": 999,
        "export_id": uuid4(),
        "link": "nothing",
    }
    return route.path.format_map(values)


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
    owner = Principal(somebody.tenant_id, f"user:{uuid4()}", SCOPES[Role.OWNER], Role.OWNER)
    for tenant in (uuid4(), "somebody"):
        assert await status_of(api, route, api.sign(owner), path, **{"LedgerX-Tenant": f"{tenant}"}) == 401
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
        keys = read_sealing_keys(api.sealing_keys)
        target = Target(url="https://example.com/private")
        webhook, _ = await create_endpoint(connection, tenant_id, target, keys=keys, author=SYSTEM)
    async with client_of(api.base_url, credentials) as ledger:
        transaction = await ledger.transfer("k")
        for path, body in (("/v1/assets", {"code": "PTS", "scale": 0}), ("/v1/categories", {"code": "food"})):
            assert (await ledger.request("POST", path, body=body)).status == 201
    return {
        "user_id": user.id,
        "client_id": made.client_id,
        "secret_id": secret.secret_id,
        "webhook_id": webhook.id,
        "code": "user",
        "asset_code": "PTS",
        "category_code": "food",
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


class Thing(msgspec.Struct, frozen=True):
    """An account and the numbers of transactions with it: holds out of it and into it, and a post into it."""

    code: str
    out: int
    into: int
    post: int

    def masked(self, answer: Answer) -> tuple[int, str]:
        """What was answered, without the names that were asked for."""
        text = json.dumps(answer.body).replace(self.code, "CODE")
        for number in (self.out, self.into, self.post):
            text = text.replace(f"transaction {number}", "transaction NUMBER")
        return answer.status, text


NOTHING = Thing("nothing", 1_000_001, 1_000_002, 1_000_003)
_PERIOD = "from=2026-01-01&to=2027-01-01"
_TRANSACTION = "/v1/transactions/"
# How a member asks each route that is open to members for a thing; a new one of these needs an entry here.
MEMBER_ASKS: dict[str, Callable[[Thing], tuple[str, Any]]] = {
    "listAccounts": lambda thing: (f"/v1/accounts?prefix={thing.code}", None),
    "getAccount": lambda thing: (f"/v1/accounts/{thing.code}", None),
    "getBalance": lambda thing: (f"/v1/accounts/{thing.code}/balance", None),
    "listAccountPostings": lambda thing: (f"/v1/accounts/{thing.code}/postings", None),
    "getStatement": lambda thing: (f"/v1/accounts/{thing.code}/statement{QUERIES['getStatement']}", None),
    "listSnapshots": lambda thing: (f"/v1/accounts/{thing.code}/snapshots", None),
    "getAggregateBalance": lambda thing: (f"/v1/balance?account={thing.code}", None),
    "getSummary": lambda thing: (f"/v1/summary?{_PERIOD}&account={thing.code}", None),
    "listTransactions": lambda thing: (f"/v1/transactions?account={thing.code}", None),
    "getTransaction": lambda thing: (f"{_TRANSACTION}{thing.post}", None),
    "createTransaction": lambda thing: (
        "/v1/transactions",
        {"debit": thing.code, "credit": "shop", "amount": "1"},
    ),
    "createTransactions": lambda thing: (
        "/v1/transactions/batch",
        {"transactions": [{"debit": thing.code, "credit": "shop", "amount": "1"}], "atomic": True},
    ),
    "captureTransaction": lambda thing: (f"{_TRANSACTION}{thing.out}/capture", {}),
    "releaseTransaction": lambda thing: (f"{_TRANSACTION}{thing.into}/release", {}),
    "reverseTransaction": lambda thing: (f"{_TRANSACTION}{thing.post}/reverse", {}),
}


async def make_thing(ledger: LedgerClient, code: str, owner: str) -> Thing:
    """An account of `owner` with its transactions."""
    assert (await ledger.open_account(code, min_balance="-5", owner=owner)).status == 201
    post = await ledger.transfer(f"post {code}", "5", credit=code)
    out = await ledger.transfer(f"out {code}", debit=code, credit="shop", kind="hold")
    into = await ledger.transfer(f"into {code}", debit="bank", credit=code, kind="hold")
    return Thing(code, out.body["id"], into.body["id"], post.body["id"])


@pytest.mark.parametrize(
    "route",
    [route for route in ROUTES if (wanted := documented_routes()[str(route)]).scope and "member" in wanted.roles],
    ids=str,
)
async def test_to_a_member_what_is_anybody_elses_is_what_is_not_there(
    api: ApiProcess, shared_database: Database, credentials: ClientCredentials, route: Route
) -> None:
    member = Principal(credentials.tenant_id, f"user:{uuid4()}", SCOPES[Role.MEMBER], Role.MEMBER)
    async with await connect(shared_database.owner_url, application_name="test") as connection:
        await let_members_post(connection, credentials.tenant_id, allowed=True)
    async with client_of(api.base_url, credentials) as ledger, speaking_for(api, member) as client:
        await ledger.open_account("shop")
        own = await make_thing(ledger, "mine", str(member.user_id))
        foreign = await make_thing(ledger, "theirs", str(uuid4()))

        async def asked(thing: Thing) -> tuple[int, str]:
            path, body = MEMBER_ASKS[str(route.handler.operation_id)](thing)
            key = f"ask {thing.code}" if route.method == "POST" else None
            return thing.masked(await client.request(route.method, path, body=body, key=key))

        missing = await asked(NOTHING)
        assert await asked(foreign) == missing
        status, shown = await asked(own)
        assert status < 300, shown
        assert (status, shown) != missing
