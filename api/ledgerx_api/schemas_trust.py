"""What goes over the wire of the issuer that a tenant trusts."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from ledgerx import trust
from ledgerx.outbound import MAX_URL_CHARACTERS
from ledgerx.roles import Role
from ledgerx.trust import Algorithm, TrustRecord

_NO_CONTROLS = r"^(?![\s\S]*[\x00-\x1f\x7f])"
IssuerUrl = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_URL_CHARACTERS,
        pattern=_NO_CONTROLS,
        description="What `iss` says in its tokens, to the letter; one of those that the platform takes.",
        examples=["https://login.example.com/realms/main"],
    ),
]
Audience = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=_NO_CONTROLS,
        description="What `aud` says, or has among others, in tokens for this tenant. No other tenant may have it.",
        examples=["https://ledger.example.com/acme"],
    ),
]
ClaimName = Annotated[str, Meta(min_length=1, max_length=255, pattern=_NO_CONTROLS)]
ClaimPath = Annotated[
    list[ClaimName],
    Meta(min_length=1, max_length=trust.MAX_CLAIM_LEVELS, examples=[["realm_access", "roles"]]),
]
Roles = Annotated[
    dict[ClaimName, Role],
    Meta(
        min_length=1,
        max_length=trust.MAX_ROLES,
        description="Roles by values of the claim. Other values are no role; of several, the one that reaches furthest "
        "counts: owner, operator, auditor, member.",
        examples=[{"ledger-admins": "owner", "customers": "member"}],
    ),
]
Algorithms = Annotated[list[Algorithm], Meta(min_length=1, max_length=len(Algorithm))]


class Trust(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An issuer to trust. A token reaches no more than the scopes that its `scopes_claim` names, if one is said."""

    issuer: IssuerUrl
    audience: Audience
    role_claim: ClaimPath
    roles: Roles
    scopes_claim: ClaimPath | None = None
    algorithms: Algorithms = msgspec.field(default_factory=lambda: list(Algorithm))


class TrustedIssuer(msgspec.Struct, frozen=True, kw_only=True):
    """The issuer that the tenant trusts. `tenant_id` is what its tokens come with in the header `LedgerX-Tenant`.

    The name of who comes with one, in the journal and as the owner of accounts, is `actor_prefix` and its `sub`.
    `version` is what the `ETag` says.
    """

    tenant_id: UUID
    issuer: str
    audience: str
    role_claim: list[str]
    roles: dict[str, Role]
    scopes_claim: list[str] | None
    algorithms: list[Algorithm]
    actor_prefix: str
    version: int
    created_at: datetime
    updated_at: datetime


def trust_of(data: Trust) -> trust.Trust:
    """What the tenant is to trust, behind `Trust`."""
    return trust.Trust(
        issuer=data.issuer,
        audience=data.audience,
        role_claim=tuple(data.role_claim),
        roles=data.roles,
        scopes_claim=None if data.scopes_claim is None else tuple(data.scopes_claim),
        algorithms=tuple(algorithm for algorithm in Algorithm if algorithm in data.algorithms),
    )


def trusted_issuer(tenant_id: UUID, record: TrustRecord) -> TrustedIssuer:
    """What a tenant trusts as the API shows it."""
    kept = record.trust
    return TrustedIssuer(
        tenant_id=tenant_id,
        issuer=kept.issuer,
        audience=kept.audience,
        role_claim=list(kept.role_claim),
        roles=dict(kept.roles),
        scopes_claim=None if kept.scopes_claim is None else list(kept.scopes_claim),
        algorithms=list(kept.algorithms),
        actor_prefix=kept.actor_prefix,
        version=record.version,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )
