"""Tenants that are suspended, limited, handed over and purged."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable

import psycopg
import pytest
from psycopg import sql

from ledgerx import lifecycle
from ledgerx.database import Connection, connect, tenant_scope
from ledgerx.errors import Conflict, LedgerError, NotFound
from ledgerx.lifecycle import TenantState
from ledgerx.logins import Database
from ledgerx.tenancy import ClientCredentials, create_tenant
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import Answer, LedgerClient, client_of, new_tenant

SUSPENDED = (403, "tenant_suspended")


@pytest.fixture
async def registry(shared_database: Database) -> AsyncIterator[Connection]:
    async with await connect(shared_database.owner_url, application_name="test") as connection:
        yield connection


async def comes_to(told: tuple[int, str | None], ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask until the answer is this one; the API learns of a change within a second."""
    async with asyncio.timeout(20):
        while (answer := await ask()).told != told:  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.05)
    return answer


async def test_from_the_commit_of_a_suspension_on_nothing_is_recorded(
    client: LedgerClient, credentials: ClientCredentials, registry: Connection
) -> None:
    assert (await client.transfer("before")).status == 201
    posting = [asyncio.create_task(client.transfer(f"race-{n}")) for n in range(50)]
    assert await lifecycle.set_state(registry, credentials.tenant_id, TenantState.SUSPENDED)
    head = (await lifecycle.read_usage(registry))[credentials.tenant_id].sequence
    assert (await client.transfer("after")).told == SUSPENDED
    answers = await asyncio.gather(*posting)
    assert {answer.told for answer in answers} <= {(201, None), SUSPENDED}
    assert (await lifecycle.read_usage(registry))[credentials.tenant_id].sequence == head
    assert not await lifecycle.set_state(registry, credentials.tenant_id, TenantState.SUSPENDED)


async def test_a_suspended_tenant_answers_nobody_until_it_is_resumed(
    api: ApiProcess, client: LedgerClient, credentials: ClientCredentials, registry: Connection
) -> None:
    await lifecycle.set_state(registry, credentials.tenant_id, TenantState.SUSPENDED)
    await comes_to(SUSPENDED, lambda: client.get("/v1/accounts/bank/balance"))

    async def token() -> Answer:
        form = f"grant_type=client_credentials&client_id={credentials.client_id}".encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        secret = f"&client_secret={credentials.client_secret}".encode()
        return await client.request("POST", "/v1/auth/token", body=form + secret, headers=headers)

    assert (await token()).told == SUSPENDED
    await lifecycle.set_state(registry, credentials.tenant_id, TenantState.ACTIVE)
    await comes_to((200, None), lambda: client.get("/v1/accounts/bank/balance"))
    assert (await token()).status == 200
    assert (await client.transfer("again")).status == 201
    # A process that starts later knows as well.
    await lifecycle.set_state(registry, credentials.tenant_id, TenantState.SUSPENDED)
    assert [change.state for change in await _changes(registry, credentials)] == [TenantState.SUSPENDED]


async def _changes(registry: Connection, credentials: ClientCredentials) -> list[lifecycle.TenantChange]:
    return [one for one in await lifecycle.read_changes(registry, None) if one.tenant_id == credentials.tenant_id]


async def test_limits_of_its_own_hold_for_one_tenant(
    api: ApiProcess, client: LedgerClient, credentials: ClientCredentials, registry: Connection
) -> None:
    assert await lifecycle.set_limits(registry, credentials.tenant_id, requests_per_second=7, max_accounts=3)
    assert not await lifecycle.set_limits(registry, credentials.tenant_id, requests_per_second=7, max_accounts=3)
    assert (await client.open_account("third")).status == 201
    assert (await client.open_account("fourth")).told == (409, "too_many_accounts")

    async def limited() -> bool:
        return '"tenant";q=420;w=60' in (await client.get("/v1/accounts")).headers["RateLimit-Policy"]

    async with asyncio.timeout(20):
        while not await limited():  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.05)
    assert await lifecycle.set_limits(registry, credentials.tenant_id, requests_per_second=None, max_accounts=None)
    assert (await client.open_account("fourth")).status == 201


async def test_a_tenant_is_found_by_its_owner_and_handed_over(registry: Connection) -> None:
    first, second = (f"cluster/{secrets.token_hex(4)}/ns/shop" for _ in range(2))
    name = f"ns/{secrets.token_hex(4)}"
    tenant_id = await create_tenant(registry, name, owner=first)
    with pytest.raises(Conflict):
        await create_tenant(registry, f"{name}.b", owner=first)
    await lifecycle.hand_over(registry, tenant_id, owner=second, name=f"{name}.c")
    assert await lifecycle.tenant_of(registry, first) is None
    record = await lifecycle.tenant_of(registry, second)
    assert record is not None
    assert (record.tenant_id, record.name, record.state) == (tenant_id, f"{name}.c", TenantState.ACTIVE)
    assert await lifecycle.tenant_by_name(registry, f"{name}.c") == record
    assert await lifecycle.tenant_by_id(registry, tenant_id) == record


async def test_a_purge_removes_everything_of_one_tenant_and_leaves_its_id(
    api: ApiProcess,
    shared_database: Database,
    client: LedgerClient,
    credentials: ClientCredentials,
    registry: Connection,
) -> None:
    tenant_id = credentials.tenant_id
    other = await new_tenant(shared_database)
    async with client_of(api.base_url, other) as neighbour:
        for n in range(30):
            assert (await client.transfer(f"key-{n}", metadata={"n": n})).status == 201
            assert (await neighbour.transfer(f"key-{n}", metadata={"n": n})).status == 201
        with pytest.raises(Conflict):
            await lifecycle.purge(registry, tenant_id)
        before = rows_of(shared_database, other)
        await lifecycle.set_state(registry, tenant_id, TenantState.DELETING)
        # Who is being deleted never comes back.
        assert not await lifecycle.set_state(registry, tenant_id, TenantState.ACTIVE)
        batches = [await lifecycle.purge(registry, tenant_id, most=50)]
        while batches[-1]:
            batches.append(await lifecycle.purge(registry, tenant_id, most=50))
        assert max(batches) <= 50
        assert len(batches) > 3
        assert rows_of(shared_database, credentials) == {"tenants": 1}
        assert rows_of(shared_database, other) == before
        assert (await neighbour.transfer("still")).status == 201
    tombstone = await lifecycle.tenant_by_id(registry, tenant_id)
    assert tombstone is not None
    assert (tombstone.state, tombstone.owner, tombstone.name) == (TenantState.PURGED, None, f"purged/{tenant_id}")
    with pytest.raises(NotFound):
        await lifecycle.hand_over(registry, tenant_id, owner="somebody", name=f"ns/{secrets.token_hex(4)}")
    with pytest.raises(LedgerError):
        await lifecycle.purge(registry, tenant_id)


async def test_the_journal_of_any_other_tenant_stays_append_only_for_the_owner_too(
    client: LedgerClient, credentials: ClientCredentials, registry: Connection
) -> None:
    await client.transfer("one")
    await lifecycle.set_state(registry, credentials.tenant_id, TenantState.SUSPENDED)
    with pytest.raises(psycopg.errors.RestrictViolation):
        async with tenant_scope(registry, credentials.tenant_id):
            await registry.execute("DELETE FROM ledgerx.entries")
    await lifecycle.set_state(registry, credentials.tenant_id, TenantState.DELETING)
    with pytest.raises(psycopg.errors.RestrictViolation):
        async with tenant_scope(registry, credentials.tenant_id):
            await registry.execute("UPDATE ledgerx.entries SET reference = NULL")


@pytest.mark.parametrize("role", ["api_url", "streams_url", "relay_url"])
async def test_only_the_owner_of_the_schema_may_purge(shared_database: Database, role: str) -> None:
    async with await connect(getattr(shared_database, role), application_name="test") as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("SELECT ledgerx.purge_tenant(gen_random_uuid(), 1)")


def rows_of(database: Database, credentials: ClientCredentials) -> dict[str, int]:
    """How many rows each table has of a tenant, but those without any."""
    with psycopg.connect(database.admin_url) as connection:
        tables = connection.execute(
            """
            SELECT c.relname FROM pg_class AS c
            JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
            WHERE c.relnamespace = 'ledgerx'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
            """
        ).fetchall()
        counts = {}
        for (table,) in tables:
            query = sql.SQL("SELECT count(*) FROM {} WHERE tenant_id = %s").format(sql.Identifier("ledgerx", table))
            row = connection.execute(query, (credentials.tenant_id,)).fetchone()
            counts[table] = row[0] if row else 0
    return {table: count for table, count in counts.items() if count}
