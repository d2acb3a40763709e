"""`ledgerx tenant`."""

import asyncio
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from ledgerx.database import connect
from ledgerx.tenancy import ClientCredentials, Scope, create_client, create_tenant
from ledgerx_cli.options import DEFAULT_DATA, AsJson, Data
from ledgerx_cli.platform import owner_url

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


async def _create(url: str, name: str) -> ClientCredentials:
    async with await connect(url, application_name="ledgerx-tenant") as connection:
        tenant_id = await create_tenant(connection, name)
        return await create_client(connection, tenant_id, name, frozenset({Scope.LEDGER_READ, Scope.LEDGER_WRITE}))
