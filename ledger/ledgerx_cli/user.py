"""`ledgerx user`: the first people of a tenant, who make the others over HTTP."""

import asyncio
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from ledgerx.audit import SYSTEM
from ledgerx.database import connect
from ledgerx.emails import parse_email
from ledgerx.roles import Role
from ledgerx.tenancy import Scope, find_tenant
from ledgerx.users import create_user, issue_password_token
from ledgerx_cli.options import DEFAULT_DATA, AsJson, Data
from ledgerx_cli.platform import owner_url

app = App(name="user", help="Manage people.")


@app.command
def create(
    tenant: Annotated[str, Parameter(help="The tenant's name.")],
    email: Annotated[str, Parameter(help="The person's email.")],
    /,
    *,
    role: Annotated[Role, Parameter(help="What the person is in the tenant.")] = Role.OWNER,
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> str:
    """Make a user, and print the token with which a password is set at POST /v1/auth/password-reset, once."""
    printed = asyncio.run(_create(owner_url(data), tenant, email, role))
    if json:
        return msgspec.json.encode(printed).decode()
    return "\n".join(f"{field}: {value}" for field, value in printed.items())


async def _create(url: str, tenant: str, email: str, role: Role) -> dict[str, str]:
    scopes = frozenset({Scope.ADMIN})
    async with await connect(url, application_name="ledgerx-user") as connection:
        tenant_id = await find_tenant(connection, tenant)
        user = await create_user(
            connection, tenant_id, email=parse_email(email), role=role, scopes=scopes, author=SYSTEM
        )
        token, expires_at = await issue_password_token(connection, tenant_id, user.id, scopes=scopes, author=SYSTEM)
    return {
        "tenant": tenant,
        "user_id": str(user.id),
        "email": user.email.shown,
        "role": role.value,
        "password_token": token,
        "expires_at": expires_at.isoformat(),
    }
