"""The audit log: who did what that matters to security, written in the transaction that does it."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
import uuid_utils.compat as uuid_utils

from ledgerx.database import Connection, Queries, tenant_scope

_queries = Queries("ledgerx", "sql/audit.sql")
# Comes after every entry of the log.
NEWEST = UUID(int=2**128 - 1)


class Act(StrEnum):
    """What is recorded."""

    LOGIN = "login"
    LOGIN_FAILED = "login_failed"
    LOGIN_LOCKED = "login_locked"
    REFRESH_REUSED = "refresh_reused"
    LOGOUT = "logout"
    USER_REGISTERED = "user_registered"
    USER_CREATED = "user_created"
    USER_CHANGED = "user_changed"
    USER_DELETED = "user_deleted"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a name
    PASSWORD_TOKEN_ISSUED = "password_token_issued"  # noqa: S105 - a name
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a name
    CLIENT_CREATED = "client_created"
    CLIENT_DELETED = "client_deleted"
    CLIENT_SECRET_ADDED = "client_secret_added"  # noqa: S105 - a name
    CLIENT_SECRET_DELETED = "client_secret_deleted"  # noqa: S105 - a name
    EXPORT_REQUESTED = "export_requested"
    EXPORT_ENDED = "export_ended"
    EXPORT_DOWNLOADED = "export_downloaded"
    ISSUER_TRUSTED = "issuer_trusted"
    ISSUER_REMOVED = "issuer_removed"
    WEBHOOK_CREATED = "webhook_created"
    WEBHOOK_CHANGED = "webhook_changed"
    WEBHOOK_DELETED = "webhook_deleted"
    WEBHOOK_DISABLED = "webhook_disabled"
    WEBHOOK_SECRET_ROTATED = "webhook_secret_rotated"  # noqa: S105 - a name
    WEBHOOK_REDELIVERED = "webhook_redelivered"


class Author(msgspec.Struct, frozen=True):
    """Who acts: `actor` as the journal records it, `address` the network address that the request came from."""

    actor: str
    address: str | None = None


# Commands of the platform's operator, who holds the database itself.
SYSTEM = Author("system")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the log. `subject` is what was acted on, `details` JSON."""

    id: UUID
    recorded_at: datetime
    act: str
    actor: str
    subject: str
    address: str | None
    details: msgspec.Raw | None


async def record(
    connection: Connection,
    tenant_id: UUID,
    act: Act,
    author: Author,
    subject: str,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write one entry in the tenant's scope that `connection` is in."""
    await connection.execute(
        _queries.insert_audit,
        {
            "tenant_id": tenant_id,
            "audit_id": uuid_utils.uuid7(),
            "act": act,
            "actor": author.actor,
            "subject": subject,
            "address": author.address,
            "details": None if details is None else msgspec.json.encode(details).decode(),
        },
    )


async def read_audit(connection: Connection, tenant_id: UUID, *, before: UUID, limit: int) -> list[Record]:
    """At most `limit` entries, newest first, from the newest before the entry `before`."""
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(
            _queries.audit_page, {"tenant_id": tenant_id, "before": before, "limit": limit}
        )
    return [
        Record(
            id=audit_id,
            recorded_at=recorded_at,
            act=act,
            actor=actor,
            subject=subject,
            address=address,
            details=None if details is None else msgspec.Raw(details.encode()),
        )
        for audit_id, recorded_at, act, actor, subject, address, details in await cursor.fetchall()
    ]
