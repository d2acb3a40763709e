"""People of a tenant, and the tokens with which they set a password.

Whoever makes, changes or removes somebody has scopes that reach that person's role, before and after: a client that may
write users cannot make itself an owner.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
import uuid_utils.compat as uuid_utils
from msgspec import UNSET, UnsetType
from msgspec.structs import replace
from psycopg.errors import UniqueViolation

from ledgerx import audit
from ledgerx.audit import Act, Author
from ledgerx.database import Connection, Queries, tenant_scope
from ledgerx.emails import Email
from ledgerx.errors import EmailTaken, Forbidden, LastOwner, NotFound, PreconditionFailed
from ledgerx.handles import Use, new_handle
from ledgerx.roles import Role, reaches
from ledgerx.tenancy import Scope

PASSWORD_TOKEN_TTL_S = 86_400
FIRST = UUID(int=0)
_queries = Queries("ledgerx", "sql/people.sql")


class Status(StrEnum):
    """Whether a user may log in."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user; `version` rises with every change of what is here."""

    id: UUID
    email: Email
    name: str | None
    role: Role
    status: Status
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def subject(self) -> str:
        """How the journal and the audit log name the user."""
        return f"user:{self.id}"


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What is to change of a user."""

    email: Email | UnsetType = UNSET
    name: str | UnsetType | None = UNSET
    role: Role | UnsetType = UNSET
    status: Status | UnsetType = UNSET

    def of(self, user: User) -> User:
        """The user as the changes leave it."""
        return replace(
            user, **{field: value for field in self.__struct_fields__ if (value := getattr(self, field)) is not UNSET}
        )


async def create_user(
    connection: Connection,
    tenant_id: UUID,
    *,
    email: Email,
    role: Role,
    name: str | None = None,
    password_hash: str | None = None,
    scopes: frozenset[Scope],
    author: Author,
) -> User:
    """Make a user, who logs in once there is a password. Raises `Forbidden` and `EmailTaken`."""
    _require_reach(scopes, role)
    return await insert_user(
        connection,
        tenant_id,
        uuid_utils.uuid7(),
        email=email,
        role=role,
        name=name,
        password_hash=password_hash,
        act=Act.USER_CREATED,
        author=author,
    )


async def insert_user(
    connection: Connection, tenant_id: UUID, user_id: UUID, *, email: Email, act: Act, author: Author, **fields: Any
) -> User:
    """Make a user whose role and password were decided on. Raises `EmailTaken`."""
    parameters = {"tenant_id": tenant_id, "user_id": user_id, "email": email.shown, "email_key": email.key, **fields}
    try:
        async with tenant_scope(connection, tenant_id):
            cursor = await connection.execute(_queries.insert_user, parameters)
            await audit.record(
                connection, tenant_id, act, author, f"user:{user_id}", {"role": fields["role"], "email": email.shown}
            )
    except UniqueViolation:
        raise EmailTaken("another user has this email") from None
    return user_of(await cursor.fetchone())


async def read_user(connection: Connection, tenant_id: UUID, user_id: UUID) -> User:
    """The user with this id. Raises `NotFound`."""
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(_queries.user, {"tenant_id": tenant_id, "user_id": user_id})
    return user_of(await cursor.fetchone())


async def has_owner(connection: Connection, tenant_id: UUID) -> bool:
    """Whether somebody who may log in is an owner of the tenant."""
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(_queries.other_owner, {"tenant_id": tenant_id, "user_id": FIRST})
    return await cursor.fetchone() is not None


async def read_users(
    connection: Connection, tenant_id: UUID, *, after: UUID, limit: int, email: Email | None = None
) -> list[User]:
    """At most `limit` users in the order in which they came, from the first after `after`; with `email` that one."""
    parameters = {"tenant_id": tenant_id, "after": after, "limit": limit, "email_key": email and email.key}
    query = _queries.users_page if email is None else _queries.user_by_email
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(query, parameters)
    return [user_of(row) for row in await cursor.fetchall()]


async def change_user(
    connection: Connection,
    tenant_id: UUID,
    user_id: UUID,
    changes: Changes,
    *,
    versions: frozenset[int] | None,
    scopes: frozenset[Scope],
    author: Author,
) -> User:
    """Change a user, who must be at one of `versions` if any are given; who is suspended is logged out at once.

    Raises `NotFound`, `Forbidden`, `PreconditionFailed`, `EmailTaken` and `LastOwner`.
    """
    try:
        async with tenant_scope(connection, tenant_id):
            user = await _lock(connection, tenant_id, user_id, versions, scopes)
            changed = changes.of(user)
            if changed == user:
                return user
            _require_reach(scopes, changed.role)
            await _keep_an_owner(connection, tenant_id, user, changed)
            key = {"tenant_id": tenant_id, "user_id": user_id}
            cursor = await connection.execute(
                _queries.update_user,
                {
                    **key,
                    "email": changed.email.shown,
                    "email_key": changed.email.key,
                    "name": changed.name,
                    "role": changed.role,
                    "status": changed.status,
                },
            )
            if changed.status is Status.SUSPENDED:
                await connection.execute(_queries.delete_families, key)
            details = {
                field: getattr(changed, field) for field in ("role", "status", "name") if _differ(user, changed, field)
            }
            if _differ(user, changed, "email"):
                details["email"] = changed.email.shown
            await audit.record(connection, tenant_id, Act.USER_CHANGED, author, user.subject, details)
    except UniqueViolation:
        raise EmailTaken("another user has this email") from None
    return user_of(await cursor.fetchone())


async def delete_user(
    connection: Connection,
    tenant_id: UUID,
    user_id: UUID,
    *,
    versions: frozenset[int] | None,
    scopes: frozenset[Scope],
    author: Author,
) -> None:
    """Remove a user with all tokens; the journal and the audit log keep the id, which is never used again.

    Raises `NotFound`, `Forbidden`, `PreconditionFailed` and `LastOwner`.
    """
    async with tenant_scope(connection, tenant_id):
        user = await _lock(connection, tenant_id, user_id, versions, scopes)
        await _keep_an_owner(connection, tenant_id, user, None)
        await connection.execute(_queries.delete_user, {"tenant_id": tenant_id, "user_id": user_id})
        await audit.record(connection, tenant_id, Act.USER_DELETED, author, user.subject)


async def issue_password_token(
    connection: Connection, tenant_id: UUID, user_id: UUID, *, scopes: frozenset[Scope], author: Author
) -> tuple[str, datetime]:
    """A token with which the user may set a password once, in place of an earlier one, and when it ends.

    Raises `NotFound` and `Forbidden`.
    """
    handle = new_handle(tenant_id, user_id)
    parameters = {
        "tenant_id": tenant_id,
        "user_id": user_id,
        "token_sha256": handle.sha256,
        "ttl_s": PASSWORD_TOKEN_TTL_S,
    }
    async with tenant_scope(connection, tenant_id):
        user = await _lock(connection, tenant_id, user_id, None, scopes)
        cursor = await connection.execute(_queries.upsert_password_token, parameters)
        await audit.record(connection, tenant_id, Act.PASSWORD_TOKEN_ISSUED, author, user.subject)
    row = await cursor.fetchone()
    if row is None:
        raise TypeError("an upsert returns its row")
    return handle.token(Use.PASSWORD), row[0]


def user_of(row: Any) -> User:
    """The user in a row of `sql/people.sql`. Raises `NotFound` when there is none."""
    if row is None:
        raise NotFound("there is no such user")
    user_id, email, email_key, name, role, status, version, created_at, updated_at, *_ = row
    return User(
        id=user_id,
        email=Email(email, email_key),
        name=name,
        role=Role(role),
        status=Status(status),
        version=version,
        created_at=created_at,
        updated_at=updated_at,
    )


async def _lock(
    connection: Connection, tenant_id: UUID, user_id: UUID, versions: frozenset[int] | None, scopes: frozenset[Scope]
) -> User:
    """The user, whom nobody else changes before the transaction ends."""
    key = {"tenant_id": tenant_id, "user_id": user_id}
    await connection.execute(_queries.lock_users, key)
    user = user_of(await (await connection.execute(_queries.user, key)).fetchone())
    _require_reach(scopes, user.role)
    if versions is not None and user.version not in versions:
        raise PreconditionFailed(f"the user is at version {user.version}")
    return user


async def _keep_an_owner(connection: Connection, tenant_id: UUID, user: User, changed: User | None) -> None:
    if not _is_owner(user) or (changed is not None and _is_owner(changed)):
        return
    cursor = await connection.execute(_queries.other_owner, {"tenant_id": tenant_id, "user_id": user.id})
    if await cursor.fetchone() is None:
        raise LastOwner("make somebody else an owner first")


def _is_owner(user: User) -> bool:
    return user.role is Role.OWNER and user.status is Status.ACTIVE


def _require_reach(scopes: frozenset[Scope], role: Role) -> None:
    if not reaches(scopes, role):
        raise Forbidden(f"this needs all scopes of the role {role}")


def _differ(before: User, after: User, field: str) -> bool:
    return bool(getattr(before, field) != getattr(after, field))
