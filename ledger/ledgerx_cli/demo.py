"""The demo tenant of `ledgerx up`."""

import msgspec

from ledgerx.database import connect
from ledgerx.errors import NotFound
from ledgerx.tenancy import Scope, create_client, create_tenant, find_tenant
from ledgerx_cli.data_directory import DataDirectory, read_json, write_private, write_private_json
from ledgerx_cli.platform import Demo

TENANT = "demo"


async def provide(directory: DataDirectory, *, owner_url: str, base_url: str, host: str) -> None:
    """Make sure that there are a demo tenant, an API client of it and the files that tell its credentials."""
    try:
        demo = read_json(directory.demo, Demo)
    except FileNotFoundError:
        demo = await _create(owner_url, base_url)
    write_private_json(directory.demo, msgspec.structs.replace(demo, base_url=base_url))
    # For curl: credentials in its arguments would show in the process list.
    netrc = f"machine {host} login {demo.client_id} password {demo.client_secret}\n"
    write_private(directory.demo_netrc, netrc.encode())


async def _create(owner_url: str, base_url: str) -> Demo:
    async with await connect(owner_url, application_name="ledgerx-up") as connection:
        try:
            tenant_id = await find_tenant(connection, TENANT)
        except NotFound:
            tenant_id = await create_tenant(connection, TENANT)
        client = await create_client(connection, tenant_id, TENANT, frozenset({Scope.LEDGER_READ, Scope.LEDGER_WRITE}))
    return Demo(base_url=base_url, tenant=TENANT, client_id=client.client_id, client_secret=client.client_secret)
