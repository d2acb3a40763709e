"""Tenants never see each other, in SQL and over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors as pg
from psycopg import sql

from ledgerx import database as db
from ledgerx.audit import SYSTEM
from ledgerx.batch import run_batch
from ledgerx.commands import AnyCommand, CreateAsset, CreateCategory
from ledgerx.database import tenant_scope
from ledgerx.emails import parse_email
from ledgerx.exports import Dataset, Format, Wanted, request_export
from ledgerx.feed import read_head_seqs
from ledgerx.logins import Database
from ledgerx.roles import Role
from ledgerx.sealing import new_sealing_keys
from ledgerx.tenancy import Scope
from ledgerx.trust import Trust, set_trust
from ledgerx.users import create_user, issue_password_token
from ledgerx.webhooks import Target, create_endpoint
from tests.commands import envelope, opening, transfer
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import LedgerClient, client_of, new_tenant
from tests.unit.memory_ledger import NOON

PEOPLE = (
    "users",
    "refresh_tokens",
    "password_tokens",
    "login_attempts",
    "api_client_secrets",
    "audit_log",
    "trusted_issuers",
)
WEBHOOKS = ("webhook_endpoints", "webhook_deliveries")
JOURNAL = ("heads", "api_clients", "accounts", "guarded_balances", "entries", "postings", "outbox", "projections")
EXPORTS = ("exports", "search_terms")
REGISTRIES = ("assets", "categories")
PROJECTED = ("balances", "marks", "daily_volumes", "dated_marks", "dated_blocks", "dated_versions")
TABLES = (*JOURNAL, *REGISTRIES, *PEOPLE, *WEBHOOKS)
SHOWN = ("merkle_tiles", "checkpoints", "findings", "snapshots", "snapshot_balances")
# The owner's function looks for what is due in these of all tenants.
DUE = ("merkle_trees", "audits", "snapshot_schedules")
READABLE = {
    "owner": (*TABLES, *EXPORTS, "search_heads", *PROJECTED, "dated_tails", *SHOWN, "audit_balances"),
    "api": (*TABLES, *EXPORTS, "tenants", *PROJECTED, *SHOWN, "snapshot_schedules"),
    "streams": (
        *("tenants", "heads", "accounts", "entries", "postings", "projections", *PROJECTED, "dated_tails"),
        *(*EXPORTS, *WEBHOOKS),
        *("guarded_balances", *SHOWN, "audit_balances", *DUE),
    ),
}


@pytest.fixture(scope="module")
def tenants(shared_database: Database) -> tuple[UUID, UUID]:
    """Two tenants with a row in every table each."""
    return asyncio.run(_fill(shared_database)), asyncio.run(_fill(shared_database))


async def _fill(database: Database) -> UUID:
    tenant_id = (await new_tenant(database)).tenant_id
    commands: list[AnyCommand] = [opening("bank"), opening("user", min_balance="0"), transfer("k", metadata='{"a":1}')]
    commands += [CreateAsset(code="PTS", scale=0, **envelope("a")), CreateCategory(code="food", **envelope("c"))]
    async with await db.connect(database.api_url, application_name="test") as connection:
        await run_batch(connection, tenant_id, commands, clock=lambda: NOON)
        await fill_people(connection, tenant_id)
        wanted = Wanted(format=Format.CSV, dataset=Dataset.POSTINGS)
        await request_export(connection, tenant_id, wanted, SYSTEM, traceparent=None, max_bytes=1)
        target = Target(url="https://example.com/")
        await create_endpoint(connection, tenant_id, target, keys=new_sealing_keys(), author=SYSTEM)
    async with (
        await db.connect(database.streams_url, application_name="test") as connection,
        tenant_scope(connection, tenant_id),
    ):
        key = (tenant_id,)
        await connection.execute("INSERT INTO ledgerx.projections VALUES (%s, 'balances', 3, sha256(''))", key)
        await connection.execute("INSERT INTO ledgerx.balances VALUES (%s, 1, 100, 0, 0, 3, 1)", key)
        await connection.execute(
            """
            INSERT INTO ledgerx.webhook_deliveries
            VALUES (%s, gen_random_uuid(), gen_random_uuid(), now(), 'event', 1, 'x', 1, 'dead', 500, NULL, 1)
            """,
            key,
        )
        await connection.execute("INSERT INTO ledgerx.marks VALUES (%s, 1, 3, 0, 1000, 100, 0, 0)", key)
        await connection.execute("INSERT INTO ledgerx.daily_volumes VALUES (%s, 1, '2026-01-01', '', 1, 0, 1)", key)
        await connection.execute("INSERT INTO ledgerx.dated_marks VALUES (%s, 1, 3, 0, 1000)", key)
        await fill_integrity(connection, tenant_id)
        await connection.execute("INSERT INTO ledgerx.dated_tails VALUES (%s, 1, 1)", key)
        await connection.execute("INSERT INTO ledgerx.dated_blocks VALUES (%s, 1, now(), 3, 0, 1, 3, 1, 0, 0, 0)", key)
        await connection.execute("INSERT INTO ledgerx.dated_versions VALUES (%s, 1, now(), 3, 0, 0, 1, 0, 0)", key)
    async with (
        await db.connect(database.owner_url, application_name="test") as connection,
        tenant_scope(connection, tenant_id),
    ):
        await connection.execute("INSERT INTO ledgerx.search_heads VALUES (%s, 3)", key)
    return tenant_id


async def fill_integrity(connection: db.Connection, tenant_id: UUID) -> None:
    """One row in every table of trees, audits and snapshots; the schedule is there already."""
    for statement in (
        "INSERT INTO ledgerx.merkle_tiles VALUES (%s, 0, 0, sha256(''))",
        "INSERT INTO ledgerx.merkle_trees VALUES (%s, 1, sha256(''), '[]', NULL)",
        "INSERT INTO ledgerx.checkpoints VALUES (%s, 1, sha256(''), now(), '', '{}', '{}')",
        "INSERT INTO ledgerx.audits VALUES (%s, 3, sha256(''))",
        "INSERT INTO ledgerx.audit_balances VALUES (%s, 2, 'liability', 0, NULL, 0, 0, 0)",
        "INSERT INTO ledgerx.findings VALUES (%s, 3, 'what', 'who')",
        "INSERT INTO ledgerx.snapshots VALUES (%s, 3, now())",
        "INSERT INTO ledgerx.snapshot_balances VALUES (%s, 2, 3, 0, 0, 0)",
    ):
        await connection.execute(statement, (tenant_id,))


async def fill_people(connection: db.Connection, tenant_id: UUID) -> None:
    """A user of `tenant_id` with one row in every table of people."""
    scopes = frozenset({Scope.ADMIN})
    user = await create_user(
        connection, tenant_id, email=parse_email("a@example.com"), role=Role.OWNER, scopes=scopes, author=SYSTEM
    )
    await issue_password_token(connection, tenant_id, user.id, scopes=scopes, author=SYSTEM)
    url = "https://login.example.com"
    trust = Trust(issuer=url, audience=f"{tenant_id}", role_claim=("groups",), roles={"x": Role.MEMBER})
    await set_trust(connection, tenant_id, trust, allowed_issuers=[url], author=SYSTEM)
    async with tenant_scope(connection, tenant_id):
        key = (tenant_id, user.id)
        await connection.execute(
            "INSERT INTO ledgerx.refresh_tokens VALUES (%s, gen_random_uuid(), %s, sha256(''), now(), now())", key
        )
        await connection.execute(
            "INSERT INTO ledgerx.login_attempts VALUES (%s, sha256(''), 1, now(), now())", (tenant_id,)
        )


def url_of(database: Database, role: str) -> str:
    return str(getattr(database, f"{role}_url"))


@pytest.mark.parametrize(("role", "table"), [(role, table) for role, tables in READABLE.items() for table in tables])
def test_a_role_sees_the_rows_of_the_tenant_that_is_set_and_no_other(
    shared_database: Database, tenants: tuple[UUID, UUID], role: str, table: str
) -> None:
    query = sql.SQL("SELECT DISTINCT tenant_id FROM {}").format(sql.Identifier("ledgerx", table))
    with psycopg.connect(url_of(shared_database, role)) as connection:
        assert connection.execute(query).fetchall() == []
        for tenant_id in (*tenants, uuid4()):
            connection.execute("SELECT set_config('ledgerx.tenant', %s, true)", (str(tenant_id),))
            assert connection.execute(query).fetchall() == ([(tenant_id,)] if tenant_id in tenants else [])
        connection.execute("SELECT set_config('ledgerx.tenant', '', true)")
        assert connection.execute(query).fetchall() == []


@pytest.mark.parametrize("role", ["api", "owner"])
def test_a_role_cannot_write_for_a_tenant_that_is_not_set(
    shared_database: Database, tenants: tuple[UUID, UUID], role: str
) -> None:
    mine, other = tenants
    with psycopg.connect(url_of(shared_database, role)) as connection:
        connection.execute("SELECT set_config('ledgerx.tenant', %s, true)", (str(mine),))
        moved = connection.execute("UPDATE ledgerx.heads SET seq = seq WHERE tenant_id = %s", (other,))
        assert moved.rowcount == 0
        with pytest.raises(pg.InsufficientPrivilege, match="row-level security"):
            connection.execute("INSERT INTO ledgerx.guarded_balances VALUES (%s, 99, 0, 0, 0, 1)", (other,))


def test_the_relay_reads_every_outbox_and_nothing_else(shared_database: Database, tenants: tuple[UUID, UUID]) -> None:
    with psycopg.connect(shared_database.relay_url, autocommit=True) as connection:
        seen = {found for (found,) in connection.execute("SELECT tenant_id FROM ledgerx.outbox").fetchall()}
        assert seen >= set(tenants)
        for statement in (
            "SELECT FROM ledgerx.entries",
            "SELECT FROM ledgerx.tenants",
            "SELECT FROM ledgerx.users",
            "SELECT ledgerx.tenant_named('demo')",
            "DELETE FROM ledgerx.outbox",
            "INSERT INTO ledgerx.outbox (tenant_id) VALUES (gen_random_uuid())",
        ):
            with pytest.raises(pg.InsufficientPrivilege):
                connection.execute(statement)


async def test_heads_of_several_tenants_are_those_that_were_asked_for_and_leave_no_tenant_set(
    shared_database: Database, tenants: tuple[UUID, UUID]
) -> None:
    unknown = uuid4()
    async with db.pool(shared_database.api_url, application_name="test", max_size=1) as pool:
        assert await read_head_seqs(pool, [*tenants, unknown]) == dict.fromkeys(tenants, 5)
        assert await read_head_seqs(pool, [tenants[0]]) == {tenants[0]: 5}
        assert await read_head_seqs(pool, []) == {}
        async with pool.connection() as connection:
            assert await (await connection.execute("SELECT FROM ledgerx.heads")).fetchall() == []


@pytest.fixture
async def clients(api: ApiProcess, shared_database: Database) -> AsyncIterator[tuple[LedgerClient, LedgerClient]]:
    """Two tenants' clients; the first has an account and a transaction that the second has not."""
    async with (
        client_of(api.base_url, await new_tenant(shared_database)) as mine,
        client_of(api.base_url, await new_tenant(shared_database)) as other,
    ):
        await mine.open_account("private")
        await mine.transfer("k", credit="private", category="secret", metadata={"secret": 1})
        await mine.request("POST", "/v1/assets", body={"code": "SECRET", "scale": 3})
        await mine.request("POST", "/v1/categories", body={"code": "secret"})
        yield mine, other


async def test_what_belongs_to_another_tenant_is_not_found(clients: tuple[LedgerClient, LedgerClient]) -> None:
    mine, other = clients
    [transaction] = (await mine.get("/v1/transactions")).body["items"]
    for path in (
        "/v1/accounts/private",
        "/v1/accounts/private/balance",
        "/v1/accounts/private/balance?effective_at=2100-01-01T00:00:00Z&as_of=2100-01-01T00:00:00Z",
        "/v1/accounts/private/postings",
        "/v1/accounts/private/statement?from=2000-01-01T00:00:00Z&to=2100-01-01T00:00:00Z",
        "/v1/accounts/private/snapshots",
        "/v1/balance?account=private",
        f"/v1/transactions/{transaction['id']}",
        "/v1/assets/SECRET",
        "/v1/categories/secret",
    ):
        assert (await mine.get(path)).status == 200
        assert (await other.get(path)).told == (404, "not_found")


async def test_lists_hold_ones_own_things_only(clients: tuple[LedgerClient, LedgerClient]) -> None:
    mine, other = clients
    assert (await other.get("/v1/transactions")).body["items"] == []
    assert [account["code"] for account in (await other.get("/v1/accounts")).body["items"]] == ["bank", "user"]
    for path in ("/v1/assets?registered=true", "/v1/categories"):
        assert (await other.get(path)).body["items"] == []
        assert len((await mine.get(path)).body["items"]) == 1
    assert (await other.open_account("mine", asset="SECRET")).told == (422, "unknown_asset")
    days = {"from": "2000-01-01", "to": "2009-01-01"}
    assert (await other.get("/v1/summary", **days)).body["items"] == []
    assert (await other.get("/v1/balance", prefix="private")).body["items"] == []
    for query in ({"account": "private"}, {"prefix": "private"}, {"metadata": '{"secret":1}'}, {"category": "secret"}):
        assert (await other.get("/v1/transactions", **query)).body["items"] == []
        assert len((await mine.get("/v1/transactions", **query)).body["items"]) == 1
    assert {one["debits"] for one in (await other.get("/v1/trial-balance")).body["items"]} <= {"0.00"}
    events = (await other.get("/v1/events")).body["items"]
    assert [event["subject"] for event in events] == ["accounts/bank", "accounts/user"]
    assert (await other.get("/v1/integrity")).body["sequence"] == 2
    assert (await other.get("/v1/checkpoints")).body["items"] == []
    cursor = (await mine.get("/v1/accounts", limit=1)).body["next_cursor"]
    assert [account["code"] for account in (await other.get("/v1/accounts", cursor=cursor)).body["items"]] == ["user"]


async def test_keys_and_accounts_of_another_tenant_do_not_matter(clients: tuple[LedgerClient, LedgerClient]) -> None:
    mine, other = clients
    assert (await other.transfer("x", credit="private")).told == (422, "unknown_account")
    secret: dict[str, Any] = {"category": "secret", "metadata": {"secret": 1}}
    first, again = await other.transfer("k"), await mine.transfer("k", credit="private", **secret)
    assert first.status == again.status == 201
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
