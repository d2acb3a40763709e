"""The demo tenant of `ledgerx up`."""

import secrets
from uuid import UUID

from msgspec.structs import replace

from ledgerx.audit import SYSTEM
from ledgerx.database import Connection, connect
from ledgerx.emails import parse_email
from ledgerx.errors import EmailTaken, NotFound
from ledgerx.passwords import Passwords
from ledgerx.roles import Role
from ledgerx.tenancy import Scope, create_client, create_tenant, find_tenant
from ledgerx.users import create_user
from ledgerx_cli.data_directory import DataDirectory, read_json, write_private, write_private_json
from ledgerx_cli.platform import Demo

TENANT = "demo"
EMAIL = "owner@demo.example"


async def provide(directory: DataDirectory, *, owner_url: str, base_url: str, host: str) -> None:
    """Make sure that there are a demo tenant, a client and an owner of it, and files that tell their credentials."""
    try:
        demo = read_json(directory.demo, Demo)
    except FileNotFoundError:
        demo = None
    if demo is None or demo.password is None:
        async with await connect(owner_url, application_name="ledgerx-up") as connection:
            demo = await _create(connection, demo, base_url)
    write_private_json(directory.demo, replace(demo, base_url=base_url))
    # For curl: credentials in its arguments would show in the process list.
    netrc = f"machine {host} login {demo.client_id} password {demo.client_secret}\n"
    write_private(directory.demo_netrc, netrc.encode())


async def _create(connection: Connection, demo: Demo | None, base_url: str) -> Demo:
    """What is missing: all of it, or the owner in the data of an earlier release."""
    try:
        tenant_id = await find_tenant(connection, TENANT)
    except NotFound:
        tenant_id = await create_tenant(connection, TENANT)
    if demo is None:
        scopes = frozenset({Scope.LEDGER_READ, Scope.LEDGER_WRITE, Scope.EXPORTS_WRITE})
        client = await create_client(connection, tenant_id, TENANT, scopes)
        demo = Demo(base_url=base_url, tenant=TENANT, client_id=client.client_id, client_secret=client.client_secret)
    try:
        return await _with_owner(connection, tenant_id, demo, EMAIL)
    except EmailTaken:
        # The file with that owner's password was lost.
        return await _with_owner(connection, tenant_id, demo, f"{secrets.token_hex(4)}.{EMAIL}")


async def _with_owner(connection: Connection, tenant_id: UUID, demo: Demo, email: str) -> Demo:
    password = secrets.token_urlsafe(15)
    passwords = Passwords()
    password_hash = await passwords.hash(password)
    passwords.close()
    await create_user(
        connection,
        tenant_id,
        email=parse_email(email),
        role=Role.OWNER,
        password_hash=password_hash,
        scopes=frozenset({Scope.ADMIN}),
        author=SYSTEM,
    )
    return replace(demo, email=email, password=password)
