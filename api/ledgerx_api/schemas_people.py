"""What goes over the wire of people, clients and the audit log."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledgerx import emails, handles
from ledgerx.audit import Record
from ledgerx.emails import parse_email
from ledgerx.roles import Role
from ledgerx.tenancy import ApiClient, Scope
from ledgerx.users import Changes, Status
from ledgerx.users import User as UserRecord

Address = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=emails.MAX_CHARACTERS,
        description="Compared without regard to case; unique in the tenant.",
        examples=["ada@example.com"],
    ),
]
# As it was typed; what counts is its length in Unicode's form NFC.
Password = Annotated[str, Meta(max_length=1024, description="12 to 256 characters.")]
Name = Annotated[
    str, Meta(min_length=1, max_length=255, pattern=r"^(?![\s\S]*[\x00-\x1f\x7f])", description="Without controls.")
]
TenantName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=127,
        pattern=r"^(?![\s\S]*\x00)",
        description="May be left out where the platform has a default tenant.",
        examples=["demo"],
    ),
]
Token = Annotated[str, Meta(max_length=handles.MAX_CHARACTERS)]


class LogIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The credentials of a person."""

    email: Address
    password: Password
    tenant: TenantName | None = None


class Registration(LogIn, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who wants to become a member."""

    name: Name | None = None


class Registered(msgspec.Struct, frozen=True):
    """The same answer whether or not there was such a user."""

    status: Literal["accepted"] = "accepted"


class RefreshToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The refresh token of the latest log-in or refresh."""

    refresh_token: Token


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """An access token, its life in seconds, and the one refresh token that buys the next two."""

    access_token: str
    refresh_token: str
    token_type: str
    expires_in: int
    scope: str


class PasswordReset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new password, by a token that a user who may write users handed over."""

    token: Token
    password: Password


class PasswordChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new password, by the one before."""

    current_password: Password
    new_password: Password


class PasswordToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token with which the user may set a password once, at `POST /v1/auth/password-reset`."""

    token: str
    expires_at: datetime


class NewUser(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user to make; without a password one needs a password token before logging in."""

    email: Address
    role: Role
    name: Name | None = None
    password: Password | None = None


class UserChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a user; who is suspended is logged out."""

    email: Address | UnsetType = UNSET
    name: Name | UnsetType | None = UNSET
    role: Role | UnsetType = UNSET
    status: Status | UnsetType = UNSET


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user. `version` is what the `ETag` says."""

    id: UUID
    email: str
    name: str | None
    role: Role
    status: Status
    version: int
    created_at: datetime
    updated_at: datetime


class NewClient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An API client to make."""

    name: Name
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=10)]


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret of a client, without itself."""

    id: UUID
    created_at: datetime


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """An API client."""

    id: str
    name: str
    scopes: list[Scope]
    created_at: datetime
    secrets: list[Secret]


class ClientCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """A new client with its first secret, which is shown this once."""

    client_id: str
    client_secret: str


class NewSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A new secret of a client, which is shown this once."""

    id: UUID
    client_secret: str


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what to whom; `actor` and `subject` as in `user:<id>`, `address` is where the request came from."""

    id: UUID
    recorded_at: datetime
    act: str
    actor: str
    subject: str
    address: str | None
    details: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})] | None


def changes(data: UserChanges) -> Changes:
    """The changes behind `UserChanges`. Raises `InvalidField`."""
    email = data.email if data.email is UNSET else parse_email(data.email)
    return Changes(email=email, name=data.name, role=data.role, status=data.status)


def user(record: UserRecord) -> User:
    """A user as the API shows it."""
    return User(
        id=record.id,
        email=record.email.shown,
        name=record.name,
        role=record.role,
        status=record.status,
        version=record.version,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )


def client(record: ApiClient) -> Client:
    """A client as the API shows it."""
    return Client(
        id=record.client_id,
        name=record.name,
        scopes=list(record.scopes),
        created_at=record.created_at,
        secrets=[Secret(id=secret.secret_id, created_at=secret.created_at) for secret in record.secrets],
    )


def audit_record(record: Record) -> AuditRecord:
    """An entry of the audit log as the API shows it."""
    return AuditRecord(**{field: getattr(record, field) for field in record.__struct_fields__})
