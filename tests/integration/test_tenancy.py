"""Tenants and their API clients."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from ledgerx.database import Connection, connect
from ledgerx.errors import Conflict, InvalidClient, InvalidField, NotFound
from ledgerx.logins import Database
from ledgerx.tenancy import Scope, authenticate_client, create_client, create_tenant, find_tenant
from tests.integration.ledger_client import READ_WRITE, new_tenant


@pytest.fixture
async def owner(shared_database: Database) -> AsyncIterator[Connection]:
    async with await connect(shared_database.owner_url, application_name="test") as connection:
        yield connection


@pytest.fixture
async def api_role(shared_database: Database) -> AsyncIterator[Connection]:
    async with await connect(shared_database.api_url, application_name="test") as connection:
        yield connection


async def test_a_tenant_is_found_by_its_name(owner: Connection) -> None:
    name = f"team-a/{uuid4()}"
    assert await create_tenant(owner, name) == await find_tenant(owner, name)
    with pytest.raises(Conflict, match=name):
        await create_tenant(owner, name)
    with pytest.raises(NotFound):
        await find_tenant(owner, f"{name}/other")


@pytest.mark.parametrize("time_zone", ["", "Mars/Olympus"])
async def test_what_is_no_time_zone_is_refused(owner: Connection, time_zone: str) -> None:
    with pytest.raises(InvalidField, match="time zone"):
        await create_tenant(owner, f"team-a/{uuid4()}", time_zone=time_zone)


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a b", "a_b", "ä", "a" * 128, "a\n"])
async def test_what_is_no_name_is_refused(owner: Connection, name: str) -> None:
    with pytest.raises(InvalidField):
        await create_tenant(owner, name)


async def test_a_client_is_known_by_its_secret(shared_database: Database, api_role: Connection) -> None:
    client = await new_tenant(shared_database)
    assert client.client_secret not in repr(client)
    found = await authenticate_client(api_role, client.client_id, client.client_secret)
    assert found == (client.tenant_id, READ_WRITE)


async def test_everybody_else_is_refused_alike(
    shared_database: Database, owner: Connection, api_role: Connection
) -> None:
    client = await new_tenant(shared_database)
    neighbour = await create_client(owner, client.tenant_id, "other", frozenset({Scope.LEDGER_READ}))
    for client_id, secret in (
        (client.client_id, neighbour.client_secret),
        (client.client_id, ""),
        (client.client_id[:-1], client.client_secret),
        (f"{uuid4()}.{client.client_id.partition('.')[2]}", client.client_secret),
        (str(client.tenant_id), client.client_secret),
        ("", ""),
        ("demo", client.client_secret),
    ):
        with pytest.raises(InvalidClient) as caught:
            await authenticate_client(api_role, client_id, secret)
        assert caught.value.detail == InvalidClient.title


async def test_a_revoked_client_is_refused(shared_database: Database, owner: Connection, api_role: Connection) -> None:
    client = await new_tenant(shared_database)
    async with owner.transaction():
        await owner.execute("SELECT set_config('ledgerx.tenant', %s, true)", (str(client.tenant_id),))
        await owner.execute("UPDATE ledgerx.api_clients SET revoked_at = now()")
    with pytest.raises(InvalidClient):
        await authenticate_client(api_role, client.client_id, client.client_secret)
