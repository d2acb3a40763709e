"""The issuer of tokens from outside that a tenant trusts (OpenID Connect), and what its tokens may do there.

The platform says which issuers there are at all; a tenant takes one of them, an audience that no other tenant has
there, and maps what the tokens say to roles. What is not mapped is no role.
"""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from psycopg.errors import CheckViolation, UniqueViolation
from psycopg.types.json import Jsonb

from ledgerx import audit
from ledgerx.audit import Act, Author
from ledgerx.database import Connection, Queries, tenant_scope
from ledgerx.errors import InvalidField, IssuerNotAllowed, IssuerTaken, NotFound, PreconditionFailed
from ledgerx.roles import Role

MAX_CLAIM_LEVELS = 8
MAX_ROLES = 100
_ID_CHARACTERS = 12
_queries = Queries("ledgerx", "sql/trust.sql")


class Algorithm(StrEnum):
    """Signatures that tokens from outside may have (RFC 7518, RFC 8037): those of public keys only."""

    EDDSA = "EdDSA"
    ES256 = "ES256"
    RS256 = "RS256"


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant trusts.

    `role_claim` and `scopes_claim` are paths to claims, such as `("realm_access", "roles")`. With a `scopes_claim` a
    token reaches no more than the scopes that it names.
    """

    issuer: str
    audience: str
    role_claim: tuple[str, ...]
    roles: Mapping[str, Role]
    scopes_claim: tuple[str, ...] | None = None
    algorithms: tuple[Algorithm, ...] = tuple(Algorithm)

    @property
    def actor_prefix(self) -> str:
        """What the names begin with that the issuer's subjects have here; another issuer's begin otherwise."""
        return f"oidc:{hashlib.sha256(self.issuer.encode()).hexdigest()[:_ID_CHARACTERS]}:"


class TrustRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Trust as it is kept; `version` rises with every change."""

    trust: Trust
    version: int
    created_at: datetime
    updated_at: datetime


async def read_trust(connection: Connection, tenant_id: UUID) -> TrustRecord | None:
    """What a tenant trusts; None where there is no such tenant as well."""
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(_queries.trust, {"tenant_id": tenant_id})
    return _record_of(await cursor.fetchone())


async def set_trust(
    connection: Connection,
    tenant_id: UUID,
    trust: Trust,
    *,
    allowed_issuers: Collection[str],
    versions: frozenset[int] | None = None,
    author: Author,
) -> TrustRecord:
    """Let a tenant trust this and nothing else; what is there must be at one of `versions` if any are given.

    Raises `IssuerNotAllowed`, `IssuerTaken`, `InvalidField` and `PreconditionFailed`.
    """
    if trust.issuer not in allowed_issuers:
        raise IssuerNotAllowed("the platform does not take tokens of this issuer")
    parameters: dict[str, Any] = {
        **msgspec.structs.asdict(trust),
        "tenant_id": tenant_id,
        "role_claim": list(trust.role_claim),
        "roles": Jsonb(dict(trust.roles)),
        "scopes_claim": None if trust.scopes_claim is None else list(trust.scopes_claim),
        "algorithms": list(trust.algorithms),
    }
    try:
        async with tenant_scope(connection, tenant_id):
            before = await _lock(connection, tenant_id, versions)
            if before is not None and before.trust == trust:
                return before
            cursor = await connection.execute(_queries.put_trust, parameters)
            await audit.record(
                connection, tenant_id, Act.ISSUER_TRUSTED, author, _subject(trust), msgspec.to_builtins(trust)
            )
    except UniqueViolation:
        raise IssuerTaken("another tenant has this audience of the issuer") from None
    except CheckViolation as error:
        raise InvalidField(f"this is not what a tenant can trust ({error.diag.constraint_name})") from None
    record = _record_of(await cursor.fetchone())
    if record is None:
        raise TypeError("an upsert returns its row")
    return record


async def remove_trust(
    connection: Connection, tenant_id: UUID, *, versions: frozenset[int] | None = None, author: Author
) -> None:
    """Let a tenant trust no issuer any more. Raises `NotFound` and `PreconditionFailed`."""
    async with tenant_scope(connection, tenant_id):
        record = await _lock(connection, tenant_id, versions)
        if record is None:
            raise NotFound("the tenant trusts no issuer")
        await connection.execute(_queries.delete_trust, {"tenant_id": tenant_id})
        await audit.record(connection, tenant_id, Act.ISSUER_REMOVED, author, _subject(record.trust))


async def _lock(connection: Connection, tenant_id: UUID, versions: frozenset[int] | None) -> TrustRecord | None:
    """What is there, which nobody else changes before the transaction ends. Raises `PreconditionFailed`."""
    cursor = await connection.execute(_queries.lock_trust, {"tenant_id": tenant_id})
    record = _record_of(await cursor.fetchone())
    if versions is not None and (record is None or record.version not in versions):
        at = "there is none" if record is None else f"it is at version {record.version}"
        raise PreconditionFailed(f"another issuer is trusted by now, or otherwise: {at}")
    return record


def _subject(trust: Trust) -> str:
    return f"issuer:{trust.issuer}"


def _record_of(row: Any) -> TrustRecord | None:
    if row is None:
        return None
    issuer, audience, role_claim, roles, scopes_claim, algorithms, version, created_at, updated_at = row
    return TrustRecord(
        trust=Trust(
            issuer=issuer,
            audience=audience,
            role_claim=tuple(role_claim),
            roles={value: Role(role) for value, role in roles.items()},
            scopes_claim=None if scopes_claim is None else tuple(scopes_claim),
            algorithms=tuple(map(Algorithm, algorithms)),
        ),
        version=version,
        created_at=created_at,
        updated_at=updated_at,
    )
