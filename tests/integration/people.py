"""People of a tenant as tests need them: made in the database, logged in over HTTP or by a token signed here."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import aiohttp
import msgspec
import psycopg

from ledgerx.audit import SYSTEM
from ledgerx.database import connect
from ledgerx.emails import parse_email
from ledgerx.logins import Database
from ledgerx.passwords import Passwords
from ledgerx.roles import SCOPES, Role
from ledgerx.tenancy import Scope, create_tenant
from ledgerx.users import create_user
from ledgerx_api.tokens import Principal
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import Answer, LedgerClient

PASSWORD = "correct horse battery"
ADMIN = frozenset({Scope.ADMIN})


class Person(msgspec.Struct, frozen=True):
    """A user with the password `PASSWORD`."""

    tenant: str
    tenant_id: UUID
    user_id: UUID
    email: str
    role: Role

    @property
    def principal(self) -> Principal:
        return Principal(self.tenant_id, f"user:{self.user_id}", SCOPES[self.role], self.role)

    @property
    def credentials(self) -> dict[str, str]:
        return {"tenant": self.tenant, "email": self.email, "password": PASSWORD}


async def new_people(database: Database, *roles: Role) -> list[Person]:
    """A person of each role, in a tenant of their own."""
    name = f"people/{secrets.token_hex(6)}"
    passwords = Passwords()
    password_hash = await passwords.hash(PASSWORD)
    passwords.close()
    people = []
    async with await connect(database.owner_url, application_name="test") as connection:
        tenant_id = await create_tenant(connection, name)
        for role in roles:
            email = f"{role}-{secrets.token_hex(3)}@example.com"
            user = await create_user(
                connection,
                tenant_id,
                email=parse_email(email),
                role=role,
                password_hash=password_hash,
                scopes=ADMIN,
                author=SYSTEM,
            )
            people.append(Person(name, tenant_id, user.id, email, role))
    return people


@asynccontextmanager
async def speaking_for(api: ApiProcess, principal: Principal | None) -> AsyncIterator[LedgerClient]:
    """A client with a token of `principal`, or with none."""
    async with aiohttp.ClientSession(api.base_url) as session:
        yield LedgerClient(session, None if principal is None else api.sign(principal))


async def post(client: LedgerClient, path: str, **body: Any) -> Answer:
    """Post members of a JSON body."""
    return await client.request("POST", path, body=body)


async def log_in(client: LedgerClient, person: Person, **credentials: str) -> Answer:
    """Log a person in; what `credentials` say differs from those that are right."""
    return await post(client, "/v1/auth/login", **person.credentials | credentials)


def audited(database: Database, tenant_id: UUID) -> Iterator[tuple[str, str, str, str | None]]:
    """Act, actor, subject and address of the tenant's audit log, oldest first."""
    query = "SELECT act, actor, subject, address FROM ledgerx.audit_log WHERE tenant_id = %s ORDER BY audit_id"
    with psycopg.connect(database.admin_url) as connection:
        yield from connection.execute(query, (tenant_id,)).fetchall()
