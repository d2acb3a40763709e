"""`ledgerx tenant`."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Literal, TypeVar
from uuid import UUID

import msgspec
from cyclopts import App, Parameter

from ledgerx import findings
from ledgerx.audit import SYSTEM
from ledgerx.database import Connection, connect, pool
from ledgerx.engine import Engine
from ledgerx.registries import ensure_strict_categories
from ledgerx.snapshots import SnapshotSettings, read_snapshot_settings, set_snapshot_settings
from ledgerx.tenancy import (
    ClientCredentials,
    Scope,
    Tenant,
    allow_registration,
    create_client,
    create_tenant,
    find_tenant,
    let_members_post,
    read_tenants,
)
from ledgerx_cli.options import DEFAULT_DATA, AsJson, Data
from ledgerx_cli.platform import owner_url

T = TypeVar("T")

app = App(name="tenant", help="Manage tenants.")


@app.command
def create(
    name: Annotated[str, Parameter(help="a-z, 0-9, '-', '.' and '/', at most 127 characters.")],
    /,
    *,
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> str:
    """Make a tenant and an API client of it, and print the client's credentials, this once."""
    client = asyncio.run(_create(owner_url(data), name))
    printed = {"tenant": name, **msgspec.to_builtins(client)}
    if json:
        return msgspec.json.encode(printed).decode()
    return "\n".join(f"{field}: {value}" for field, value in printed.items())


@app.command(name="list")
def list_tenants(*, data: Data = DEFAULT_DATA, json: AsJson = False) -> str:
    """List the tenants by name, with their ids."""
    tenants = asyncio.run(_list(owner_url(data)))
    if json:
        return "\n".join(msgspec.json.encode(one).decode() for one in tenants)
    return "\n".join(f"{one.tenant_id} {one.name}" for one in tenants)


@app.command
def registration(
    name: Annotated[str, Parameter(help="The tenant's name.")],
    state: Annotated[Literal["open", "closed"], Parameter(help="Whether people may make themselves members.")],
    /,
    *,
    data: Data = DEFAULT_DATA,
) -> None:
    """Let people register themselves as members of a tenant, or no more."""
    asyncio.run(_done(owner_url(data), name, partial(allow_registration, allowed=state == "open")))


@app.command
def categories(
    name: Annotated[str, Parameter(help="The tenant's name.")],
    state: Annotated[Literal["strict", "free"], Parameter(help="Whether those that are not registered are refused.")],
    /,
    *,
    data: Data = DEFAULT_DATA,
) -> None:
    """Let transactions of a tenant have registered categories only, or any, by an entry of its journal."""
    asyncio.run(_set_categories(owner_url(data), name, strict=state == "strict"))


async def _set_categories(url: str, name: str, *, strict: bool) -> None:
    async with pool(url, application_name="ledgerx-tenant", max_size=1) as connections:
        async with connections.connection() as connection:
            tenant_id = await find_tenant(connection, name)
        await ensure_strict_categories(connections, Engine(connections), tenant_id, strict=strict, actor=SYSTEM.actor)


@app.command
def members_may_post(
    name: Annotated[str, Parameter(help="The tenant's name.")],
    answer: Annotated[Literal["yes", "no"], Parameter(help="Whether members may take from the accounts they own.")],
    /,
    *,
    data: Data = DEFAULT_DATA,
) -> None:
    """Let members of a tenant record transactions that take from their own accounts, or no more."""
    asyncio.run(_done(owner_url(data), name, partial(let_members_post, allowed=answer == "yes")))


@app.command
def snapshots(
    name: Annotated[str, Parameter(help="The tenant's name.")],
    /,
    *,
    schedule: Annotated[
        list[str] | None,
        Parameter(help="A cron expression in the tenant's time zone, as '0 0 * * *'; repeatable."),
    ] = None,
    retention_days: Annotated[int | None, Parameter(help="For how many days snapshots are kept.")] = None,
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> str:
    """Print when the balances of a tenant are captured and how long that is kept, after setting what is given."""
    setting = partial(_set_snapshots, schedule=schedule, retention_days=retention_days)
    settings = asyncio.run(_done(owner_url(data), name, setting))
    if json:
        return msgspec.json.encode(settings).decode()
    return "\n".join([*(f"schedule: {one}" for one in settings.schedule), f"retention_days: {settings.retention_days}"])


@app.command
def clear_findings(name: Annotated[str, Parameter(help="The tenant's name.")], /, *, data: Data = DEFAULT_DATA) -> str:
    """Forget what was found to be wrong with a tenant's journal, once it is looked into; what still is comes back."""
    return f"{name}: {asyncio.run(_done(owner_url(data), name, findings.clear_findings))} cleared"


async def _done(url: str, name: str, work: Callable[[Connection, UUID], Awaitable[T]]) -> T:
    """What `work` on the tenant of this name comes to, done as the schema's owner."""
    async with await connect(url, application_name="ledgerx-tenant") as connection:
        return await work(connection, await find_tenant(connection, name))


async def _set_snapshots(
    connection: Connection, tenant_id: UUID, *, schedule: list[str] | None, retention_days: int | None
) -> SnapshotSettings:
    settings = await read_snapshot_settings(connection, tenant_id)
    changed = SnapshotSettings(
        schedule=settings.schedule if schedule is None else tuple(schedule),
        retention_days=settings.retention_days if retention_days is None else retention_days,
    )
    if changed != settings:
        await set_snapshot_settings(connection, tenant_id, changed)
    return changed


async def _list(url: str) -> list[Tenant]:
    async with await connect(url, application_name="ledgerx-tenant") as connection:
        return await read_tenants(connection)


async def _create(url: str, name: str) -> ClientCredentials:
    async with await connect(url, application_name="ledgerx-tenant") as connection:
        tenant_id = await create_tenant(connection, name)
        return await create_client(connection, tenant_id, name, frozenset({Scope.LEDGER_READ, Scope.LEDGER_WRITE}))
