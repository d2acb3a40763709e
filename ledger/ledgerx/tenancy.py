"""Tenants and their API clients.

A client id is `<tenant id>.<random>`, so that a client says its tenant before any token does. A client secret is 256
random bits, kept as SHA-256: there is nothing to guess that a slow hash would protect.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec
import uuid_utils.compat as uuid_utils
from psycopg.errors import CheckViolation, InvalidParameterValue, UniqueViolation

from ledgerx import audit
from ledgerx.audit import SYSTEM, Act, Author
from ledgerx.database import Connection, Queries, tenant_scope
from ledgerx.errors import Conflict, InvalidClient, InvalidField, NotFound
from ledgerx.journal import genesis

MAX_SECRETS = 4
_HANDLE_CHARACTERS = 24
_NO_CLIENT = "there is no such client"
_queries = Queries("ledgerx", "sql/tenancy.sql")


class Scope(StrEnum):
    """What a token allows; `admin` allows everything."""

    LEDGER_READ = "ledger:read"
    LEDGER_WRITE = "ledger:write"
    USERS_WRITE = "users:write"
    EXPORTS_WRITE = "exports:write"
    WEBHOOKS_WRITE = "webhooks:write"
    ADMIN = "admin"


class ClientCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """A new client's id and secret; the secret is shown this once."""

    tenant_id: UUID
    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"ClientCredentials(client_id={self.client_id!r})"


class ClientSecret(msgspec.Struct, frozen=True):
    """What is known of a secret once it was shown."""

    secret_id: UUID
    created_at: datetime


class ApiClient(msgspec.Struct, frozen=True, kw_only=True):
    """An API client. With several secrets one takes the place of another without a pause."""

    client_id: str
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    secrets: tuple[ClientSecret, ...]


class Tenant(msgspec.Struct, frozen=True):
    """A tenant as the registry knows it."""

    tenant_id: UUID
    name: str
    created_at: datetime


async def create_tenant(connection: Connection, name: str, *, time_zone: str = "UTC", owner: str | None = None) -> UUID:
    """Make a tenant with an empty journal and return its id. `connection` is the schema owner's.

    `owner` is who declares it, where somebody outside does (`ledgerx.lifecycle`).

    Raises `Conflict` when the name is taken, or the owner has a tenant, and `InvalidField` when it is not one or
    Postgres knows no such time zone.
    """
    tenant_id = uuid_utils.uuid7()
    try:
        async with tenant_scope(connection, tenant_id):
            await connection.execute(
                _queries.insert_tenant,
                {"tenant_id": tenant_id, "name": name, "owner": owner, "time_zone": time_zone},
            )
            await connection.execute(_queries.insert_head, {"tenant_id": tenant_id, "hash": genesis(tenant_id)})
            await connection.execute(_queries.insert_schedule, {"tenant_id": tenant_id})
    except UniqueViolation:
        raise Conflict(f'there is a tenant named "{name}" already') from None
    except InvalidParameterValue:
        raise InvalidField(f'"{time_zone}" is not a time zone, such as Europe/Paris') from None
    except CheckViolation:
        raise InvalidField(f'"{name}" is not a name: a-z, 0-9, "-", "." and "/", at most 127 characters') from None
    return tenant_id


async def find_tenant(connection: Connection, name: str) -> UUID:
    """The id of the tenant with this name. `connection` is the schema owner's. Raises `NotFound`."""
    row = await (await connection.execute(_queries.find_tenant, {"name": name})).fetchone()
    if row is None:
        raise NotFound(f'there is no tenant named "{name}"')
    tenant_id: UUID = row[0]
    return tenant_id


async def read_tenants(connection: Connection) -> list[Tenant]:
    """All tenants by name. `connection` is the schema owner's."""
    return [Tenant(*row) async for row in await connection.execute(_queries.tenants)]


async def tenant_named(connection: Connection, name: str) -> UUID | None:
    """The id of the tenant with this name, for whoever has no token yet."""
    row = await (await connection.execute(_queries.tenant_named, {"name": name})).fetchone()
    return row[0] if row else None


async def tenants_named(connection: Connection, names: Sequence[str]) -> set[str]:
    """Those of the names that tenants have, for whoever has no token yet."""
    return {name async for (name,) in await connection.execute(_queries.tenants_named, {"names": list(names)})}


async def allow_registration(connection: Connection, tenant_id: UUID, *, allowed: bool) -> None:
    """Let people register themselves as members, or no more. `connection` is the schema owner's."""
    async with tenant_scope(connection, tenant_id):
        await connection.execute(_queries.allow_registration, {"tenant_id": tenant_id, "allowed": allowed})


async def registration_allowed(connection: Connection, tenant_id: UUID) -> bool:
    """Whether people may register themselves; not where there is no such tenant."""
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(_queries.registration_allowed, {"tenant_id": tenant_id})
    row = await cursor.fetchone()
    return row is not None and row[0]


async def let_members_post(connection: Connection, tenant_id: UUID, *, allowed: bool) -> None:
    """Let members take from the accounts that they own, or no more. `connection` is the schema owner's."""
    async with tenant_scope(connection, tenant_id):
        await connection.execute(_queries.let_members_post, {"tenant_id": tenant_id, "allowed": allowed})


async def create_client(
    connection: Connection, tenant_id: UUID, name: str, scopes: frozenset[Scope], author: Author = SYSTEM
) -> ClientCredentials:
    """Give a tenant an API client with a first secret."""
    client_id = f"{tenant_id}.{secrets.token_hex(6)}"
    parameters = {"tenant_id": tenant_id, "client_id": client_id, "name": name, "scopes": sorted(scopes)}
    async with tenant_scope(connection, tenant_id):
        await connection.execute(_queries.insert_client, parameters)
        _, secret = await _insert_secret(connection, tenant_id, client_id)
        details = {"name": name, "scopes": parameters["scopes"]}
        await audit.record(connection, tenant_id, Act.CLIENT_CREATED, author, f"client:{client_id}", details)
    return ClientCredentials(tenant_id=tenant_id, client_id=client_id, client_secret=secret)


async def ensure_client(
    connection: Connection,
    tenant_id: UUID,
    handle: str,
    name: str,
    scopes: frozenset[Scope],
    author: Author = SYSTEM,
) -> str:
    """Have an API client as somebody outside declares it, who knows it by `handle`, and return its id.

    It has no secret at first. Calling it again changes nothing but what is not so any more.
    """
    client_id = f"{tenant_id}.{_sha256(handle).hex()[:_HANDLE_CHARACTERS]}"
    parameters = {"tenant_id": tenant_id, "client_id": client_id, "name": name, "scopes": sorted(scopes)}
    async with tenant_scope(connection, tenant_id):
        changed = await (await connection.execute(_queries.ensure_client, parameters)).fetchone()
        if changed is not None:
            details = {"name": name, "scopes": parameters["scopes"]}
            await audit.record(connection, tenant_id, Act.CLIENT_CREATED, author, f"client:{client_id}", details)
    return client_id


async def read_secrets(
    connection: Connection, tenant_id: UUID, client_id: str, secret: str
) -> tuple[list[ClientSecret], ClientSecret | None]:
    """The secrets of a client, the oldest first, and which of them `secret` is."""
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(_queries.secrets, {"tenant_id": tenant_id, "client_id": client_id})
    given = _sha256(secret)
    secrets_of, found = [], None
    for secret_id, created_at, kept in await cursor.fetchall():
        secrets_of.append(ClientSecret(secret_id, created_at))
        if hmac.compare_digest(bytes(kept), given):
            found = secrets_of[-1]
    return secrets_of, found


def tenant_of_client(client_id: str) -> UUID:
    """The tenant that a client's id is of. Raises `InvalidClient`."""
    try:
        return UUID(client_id.partition(".")[0])
    except ValueError:
        raise InvalidClient from None


async def authenticate_client(
    connection: Connection, client_id: str, client_secret: str
) -> tuple[UUID, frozenset[Scope]]:
    """Check a client's secret and return its tenant and scopes. Raises `InvalidClient`, the same for every reason."""
    tenant_id = tenant_of_client(client_id)
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(_queries.find_client, {"tenant_id": tenant_id, "client_id": client_id})
    found = await cursor.fetchall()
    given = _sha256(client_secret)
    # An unknown client is compared as well, so that the time taken says nothing.
    matches = [hmac.compare_digest(bytes(kept), given) for _, kept in found or [((), bytes(32))]]
    if not any(matches) or not found:
        raise InvalidClient
    return tenant_id, frozenset(map(Scope, found[0][0]))


async def read_clients(connection: Connection, tenant_id: UUID, *, after: str, limit: int) -> list[ApiClient]:
    """At most `limit` clients in the order of their ids, from the first after the id `after`."""
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(
            _queries.clients_page, {"tenant_id": tenant_id, "after": after, "limit": limit}
        )
    return [
        ApiClient(
            client_id=client_id,
            name=name,
            scopes=tuple(map(Scope, scopes)),
            created_at=created_at,
            secrets=tuple(map(ClientSecret, secret_ids or (), secrets_created_at or ())),
        )
        for client_id, name, scopes, created_at, secret_ids, secrets_created_at in await cursor.fetchall()
    ]


async def delete_client(connection: Connection, tenant_id: UUID, client_id: str, author: Author) -> None:
    """End a client and all its secrets. Raises `NotFound`."""
    key = {"tenant_id": tenant_id, "client_id": client_id}
    async with tenant_scope(connection, tenant_id):
        if await (await connection.execute(_queries.revoke_client, key)).fetchone() is None:
            raise NotFound(_NO_CLIENT)
        await connection.execute(_queries.delete_secrets, key)
        await audit.record(connection, tenant_id, Act.CLIENT_DELETED, author, f"client:{client_id}")


async def add_secret(connection: Connection, tenant_id: UUID, client_id: str, author: Author) -> tuple[UUID, str]:
    """Give a client one more secret and return its id and the secret. Raises `NotFound` and `Conflict`."""
    key = {"tenant_id": tenant_id, "client_id": client_id}
    async with tenant_scope(connection, tenant_id):
        if await (await connection.execute(_queries.lock_client, key)).fetchone() is None:
            raise NotFound(_NO_CLIENT)
        row = await (await connection.execute(_queries.count_secrets, key)).fetchone()
        if row is None or row[0] >= MAX_SECRETS:
            raise Conflict(f"a client has at most {MAX_SECRETS} secrets: delete one that is not used any more")
        secret_id, secret = await _insert_secret(connection, tenant_id, client_id)
        await audit.record(
            connection, tenant_id, Act.CLIENT_SECRET_ADDED, author, f"client:{client_id}", {"secret_id": secret_id}
        )
    return secret_id, secret


async def delete_secret(
    connection: Connection, tenant_id: UUID, client_id: str, secret_id: UUID, author: Author
) -> None:
    """End one secret of a client. Raises `NotFound`."""
    key = {"tenant_id": tenant_id, "client_id": client_id, "secret_id": secret_id}
    async with tenant_scope(connection, tenant_id):
        if await (await connection.execute(_queries.delete_secret, key)).fetchone() is None:
            raise NotFound("the client has no such secret")
        await audit.record(
            connection, tenant_id, Act.CLIENT_SECRET_DELETED, author, f"client:{client_id}", {"secret_id": secret_id}
        )


async def _insert_secret(connection: Connection, tenant_id: UUID, client_id: str) -> tuple[UUID, str]:
    secret_id, secret = uuid_utils.uuid7(), secrets.token_urlsafe(32)
    await connection.execute(
        _queries.insert_secret,
        {
            "tenant_id": tenant_id,
            "client_id": client_id,
            "secret_id": secret_id,
            "secret_sha256": _sha256(secret),
        },
    )
    return secret_id, secret


def _sha256(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
