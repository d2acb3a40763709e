"""Tenants and their API clients.

A client id is `<tenant id>.<random>`, so that a client says its tenant before any token does. A client secret is 256
random bits, kept as SHA-256: there is nothing to guess that a slow hash would protect.
"""

import hashlib
import hmac
import secrets
from enum import StrEnum
from uuid import UUID

import msgspec
import uuid_utils.compat as uuid_utils
from psycopg.errors import CheckViolation, InvalidParameterValue, UniqueViolation

from ledgerx.database import Connection, Queries, tenant_scope
from ledgerx.errors import Conflict, InvalidClient, InvalidField, NotFound
from ledgerx.journal import genesis

_queries = Queries("ledgerx", "sql/tenancy.sql")


class Scope(StrEnum):
    """What a token allows."""

    LEDGER_READ = "ledger:read"
    LEDGER_WRITE = "ledger:write"
    ADMIN = "admin"


class ClientCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """A new client's id and secret; the secret is shown this once."""

    tenant_id: UUID
    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"ClientCredentials(client_id={self.client_id!r})"


async def create_tenant(connection: Connection, name: str, *, time_zone: str = "UTC") -> UUID:
    """Make a tenant with an empty journal and return its id. `connection` is the schema owner's.

    Raises `Conflict` when the name is taken and `InvalidField` when it is not one or Postgres knows no such time zone.
    """
    tenant_id = uuid_utils.uuid7()
    try:
        async with tenant_scope(connection, tenant_id):
            await connection.execute(
                _queries.insert_tenant, {"tenant_id": tenant_id, "name": name, "time_zone": time_zone}
            )
            await connection.execute(_queries.insert_head, {"tenant_id": tenant_id, "hash": genesis(tenant_id)})
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


async def create_client(
    connection: Connection, tenant_id: UUID, name: str, scopes: frozenset[Scope]
) -> ClientCredentials:
    """Give a tenant an API client. `connection` is the schema owner's."""
    client_id = f"{tenant_id}.{secrets.token_hex(6)}"
    secret = secrets.token_urlsafe(32)
    parameters = {
        "tenant_id": tenant_id,
        "client_id": client_id,
        "name": name,
        "secret_sha256": _sha256(secret),
        "scopes": sorted(scopes),
    }
    async with tenant_scope(connection, tenant_id):
        await connection.execute(_queries.insert_client, parameters)
    return ClientCredentials(tenant_id=tenant_id, client_id=client_id, client_secret=secret)


async def authenticate_client(
    connection: Connection, client_id: str, client_secret: str
) -> tuple[UUID, frozenset[Scope]]:
    """Check a client's secret and return its tenant and scopes. Raises `InvalidClient`, the same for every reason."""
    tenant_id = _tenant_of(client_id)
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(_queries.find_client, {"tenant_id": tenant_id, "client_id": client_id})
    row = await cursor.fetchone()
    # An unknown client is compared as well, so that the time taken says nothing.
    expected, scopes = row or (bytes(32), [])
    if not hmac.compare_digest(bytes(expected), _sha256(client_secret)) or row is None:
        raise InvalidClient
    return tenant_id, frozenset(map(Scope, scopes))


def _tenant_of(client_id: str) -> UUID:
    try:
        return UUID(client_id.partition(".")[0])
    except ValueError:
        raise InvalidClient from None


def _sha256(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
