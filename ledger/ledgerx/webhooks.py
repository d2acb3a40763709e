"""Webhook endpoints of a tenant: where its events are sent to, and how that went.

Sending is the streams' business. An endpoint stands at a number of the journal, `next_sequence`, and gets what it wants
of the entries from there on, in order. Its secret is sealed, and shown when it is made and never again.
"""

import base64
import secrets
from collections.abc import Collection
from datetime import datetime
from enum import StrEnum
from ipaddress import ip_address, ip_network
from typing import Any
from uuid import UUID

import msgspec
import uuid_utils.compat as uuid_utils
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from ledgerx import audit
from ledgerx.audit import Act, Author
from ledgerx.database import Connection, Queries, tenant_scope
from ledgerx.errors import InvalidField, NotFound, PreconditionFailed, TooManyWebhooks
from ledgerx.feed import EVENT_TYPES
from ledgerx.outbound import Network, OutboundError, checked_url, is_reachable
from ledgerx.sealing import SealBroken, SealingKeys

MAX_ENDPOINTS = 20
MAX_OVERLAP_S = 604_800
OVERLAP_S = 86_400
# From this many failures in a row an endpoint counts as down.
FAILURES_OPEN = 5
FIRST = UUID(int=0)
_SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix
_SECRET_BYTES = 32
_queries = Queries("ledgerx", "sql/webhooks.sql")


class Status(StrEnum):
    """Whether events are sent to an endpoint."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class Reason(StrEnum):
    """Why an endpoint is disabled: somebody said so, it answered 410, or several events in a row died of it."""

    REQUESTED = "requested"
    GONE = "gone"
    FAILING = "failing"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What its owner says of an endpoint. Without `event_types` it gets all, those to come included."""

    url: str
    description: str | None = None
    event_types: tuple[str, ...] | None = None
    status: Status = Status.ENABLED


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What is to change of it."""

    url: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    event_types: tuple[str, ...] | UnsetType | None = UNSET
    status: Status | UnsetType = UNSET

    def of(self, target: Target) -> Target:
        """The target as the changes leave it."""
        return replace(
            target, **{field: value for field in self.__struct_fields__ if (value := getattr(self, field)) is not UNSET}
        )


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint; `version` rises with every change of its target or secret.

    `behind` entries of the journal are still to be looked at for it, and `asked` were asked for out of turn. `failures`
    attempts in a row have failed, those of the entry in hand since `tried_since`, and it rests until `retry_at`.
    """

    id: UUID
    target: Target
    disabled_reason: Reason | None
    version: int
    created_at: datetime
    updated_at: datetime
    next_sequence: int
    behind: int
    asked: int
    failures: int
    tried_since: datetime | None
    retry_at: datetime | None
    previous_secret_until: datetime | None

    @property
    def subject(self) -> str:
        """How the audit log names it."""
        return subject(self.id)


def networks(allow_private: bool) -> tuple[Network, ...]:
    """Where webhooks may be besides the public internet: nowhere, or anywhere."""
    return (ip_network("0.0.0.0/0"), ip_network("::/0")) if allow_private else ()


def check_url(url: str, networks: tuple[Network, ...]) -> None:
    """Refuse what no request would ever go to; what a name stands for is looked at whenever one goes there.

    Raises `InvalidField`.
    """
    try:
        host = checked_url(url, networks).host or ""
    except OutboundError as error:
        raise InvalidField(f"url: {error}") from None
    try:
        address = ip_address(host)
    except ValueError:
        return
    if not is_reachable(address, networks):
        raise InvalidField("url: an address that is not public is not to be reached")


def subject(endpoint_id: UUID) -> str:
    """How the audit log names an endpoint."""
    return f"webhook:{endpoint_id}"


def seal_context(tenant_id: UUID, endpoint_id: UUID) -> bytes:
    """What a sealed secret of an endpoint opens for."""
    return tenant_id.bytes + endpoint_id.bytes


async def create_endpoint(
    connection: Connection,
    tenant_id: UUID,
    target: Target,
    *,
    from_sequence: int | None = None,
    handle: str | None = None,
    keys: SealingKeys,
    author: Author,
) -> tuple[Endpoint, str]:
    """Make an endpoint, which gets the entries from a number on, and what is recorded from now on unless one is said.

    Who declares it from outside knows it by `handle`. Returns its secret as well. Raises `InvalidField`,
    `TooManyWebhooks` and `NotFound` for an unknown tenant.
    """
    _check_types(target)
    key = {"tenant_id": tenant_id, "endpoint_id": uuid_utils.uuid7()}
    secret, shown = _new_secret()
    async with tenant_scope(connection, tenant_id):
        await connection.execute(_queries.lock_endpoints, key)
        count = await (await connection.execute(_queries.count_endpoints, key)).fetchone()
        if count and count[0] >= MAX_ENDPOINTS:
            raise TooManyWebhooks(f"a tenant has at most {MAX_ENDPOINTS} webhook endpoints")
        head = await read_head(connection, tenant_id)
        parameters = {
            **key,
            "url": target.url,
            "description": target.description,
            "event_types": target.event_types and list(target.event_types),
            "secret": keys.seal(secret, of=seal_context(tenant_id, key["endpoint_id"])),
            "next_seq": checked_start(from_sequence, head),
            "known_seq": head,
        }
        await connection.execute(_queries.insert_endpoint, parameters)
        if handle is not None:
            await connection.execute(_queries.set_handle, {**key, "handle": handle})
        made = await read(connection, key)
        await audit.record(connection, tenant_id, Act.WEBHOOK_CREATED, author, made.subject, {"url": target.url})
    return made, shown


async def ensure_endpoint(
    connection: Connection, tenant_id: UUID, handle: str, target: Target, *, keys: SealingKeys, author: Author
) -> str:
    """Have an endpoint as somebody outside declares it, who knows it by `handle`, and return its secret.

    Whether it is enabled is left as it is. `connection` is the schema owner's. Raises `InvalidField` and
    `TooManyWebhooks`.
    """
    key = {"tenant_id": tenant_id, "handle": handle}
    async with tenant_scope(connection, tenant_id, read_only=True):
        row = await (await connection.execute(_queries.declared_endpoint, key)).fetchone()
    if row is None:
        return (await create_endpoint(connection, tenant_id, target, handle=handle, keys=keys, author=author))[1]
    endpoint_id, sealed = row
    changes = Changes(url=target.url, description=target.description, event_types=target.event_types)
    await change_endpoint(connection, tenant_id, endpoint_id, changes, versions=None, author=author)
    try:
        return _shown(keys.open(sealed, of=seal_context(tenant_id, endpoint_id)))
    except SealBroken:
        # Nobody can sign with it either.
        return (await rotate_secret(connection, tenant_id, endpoint_id, overlap_s=0, keys=keys, author=author))[1]


async def remove_other_endpoints(
    connection: Connection, tenant_id: UUID, handles: Collection[str], *, author: Author
) -> None:
    """Remove the endpoints that somebody outside declared by other handles. `connection` is the schema owner's."""
    parameters = {"tenant_id": tenant_id, "handles": list(handles)}
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(_queries.other_endpoints, parameters)
    for (endpoint_id,) in await cursor.fetchall():
        await delete_endpoint(connection, tenant_id, endpoint_id, versions=None, author=author)


async def read_endpoint(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> Endpoint:
    """The endpoint with this id. Raises `NotFound`."""
    async with tenant_scope(connection, tenant_id, read_only=True):
        return await read(connection, {"tenant_id": tenant_id, "endpoint_id": endpoint_id})


async def read_endpoints(connection: Connection, tenant_id: UUID, *, after: UUID, limit: int) -> list[Endpoint]:
    """At most `limit` endpoints in the order in which they were made, from the first after `after`."""
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(
            _queries.endpoints_page, {"tenant_id": tenant_id, "after": after, "limit": limit}
        )
    return [_endpoint_of(row) for row in await cursor.fetchall()]


async def change_endpoint(
    connection: Connection,
    tenant_id: UUID,
    endpoint_id: UUID,
    changes: Changes,
    *,
    versions: frozenset[int] | None,
    author: Author,
) -> Endpoint:
    """Change an endpoint, which must be at one of `versions` if any are given.

    It goes on where it stands, at once if it was disabled or has another URL now. Raises `InvalidField`, `NotFound` and
    `PreconditionFailed`.
    """
    key = {"tenant_id": tenant_id, "endpoint_id": endpoint_id}
    async with tenant_scope(connection, tenant_id):
        before = await lock(connection, key, versions)
        target = changes.of(before.target)
        if target == before.target:
            return before
        _check_types(target)
        is_enabled = target.status is Status.ENABLED
        reason = None if is_enabled else before.disabled_reason or Reason.REQUESTED
        await connection.execute(
            _queries.update_endpoint,
            {
                **key,
                "url": target.url,
                "description": target.description,
                "event_types": target.event_types and list(target.event_types),
                "status": target.status,
                "disabled_reason": reason,
            },
        )
        if not is_enabled:
            await connection.execute(_queries.stop, key)
        elif (target.status, target.url) != (before.target.status, before.target.url):
            await connection.execute(_queries.restart, {**key, "from_seq": None})
        details = {
            field: getattr(target, field)
            for field in Target.__struct_fields__
            if getattr(target, field) != getattr(before.target, field)
        }
        await audit.record(connection, tenant_id, Act.WEBHOOK_CHANGED, author, before.subject, details)
        return await read(connection, key)


async def delete_endpoint(
    connection: Connection, tenant_id: UUID, endpoint_id: UUID, *, versions: frozenset[int] | None, author: Author
) -> None:
    """Remove an endpoint; what is under way to it arrives. Raises `NotFound` and `PreconditionFailed`."""
    key = {"tenant_id": tenant_id, "endpoint_id": endpoint_id}
    async with tenant_scope(connection, tenant_id):
        endpoint = await lock(connection, key, versions)
        await connection.execute(_queries.delete_endpoint, key)
        await audit.record(connection, tenant_id, Act.WEBHOOK_DELETED, author, endpoint.subject)


async def rotate_secret(
    connection: Connection, tenant_id: UUID, endpoint_id: UUID, *, overlap_s: int, keys: SealingKeys, author: Author
) -> tuple[Endpoint, str]:
    """Give an endpoint a new secret, and sign with the one before as well for `overlap_s` seconds.

    A secret that was older still is good no more. Raises `NotFound`.
    """
    key = {"tenant_id": tenant_id, "endpoint_id": endpoint_id}
    secret, shown = _new_secret()
    sealed = keys.seal(secret, of=seal_context(tenant_id, endpoint_id))
    async with tenant_scope(connection, tenant_id):
        await lock(connection, key, None)
        await connection.execute(_queries.rotate_secret, {**key, "secret": sealed, "overlap_s": overlap_s})
        endpoint = await read(connection, key)
        await audit.record(
            connection, tenant_id, Act.WEBHOOK_SECRET_ROTATED, author, endpoint.subject, {"overlap_s": overlap_s}
        )
    return endpoint, shown


def _new_secret() -> tuple[bytes, str]:
    """A secret, and as Standard Webhooks writes it."""
    secret = secrets.token_bytes(_SECRET_BYTES)
    return secret, _shown(secret)


def _shown(secret: bytes) -> str:
    return _SECRET_PREFIX + base64.b64encode(secret).decode()


def _check_types(target: Target) -> None:
    if target.event_types == ():
        raise InvalidField("event_types names one type at least; null stands for all of them")
    for unknown in sorted(set(target.event_types or ()) - set(EVENT_TYPES.values())):
        raise InvalidField(f"there are no events of the type {unknown}")


def checked_start(from_sequence: int | None, head: int) -> int:
    """Where an endpoint begins or goes on; behind the head unless said. Raises `InvalidField`."""
    if from_sequence is not None and not 1 <= from_sequence <= head + 1:
        raise InvalidField(f"the journal has {head} entries: from_sequence is 1 to {head + 1}")
    return head + 1 if from_sequence is None else from_sequence


async def read_head(connection: Connection, tenant_id: UUID) -> int:
    """The number of the journal's last entry, in the tenant's scope. Raises `NotFound` for an unknown tenant."""
    row = await (await connection.execute(_queries.head, {"tenant_id": tenant_id})).fetchone()
    if row is None:
        raise NotFound("there is no such tenant")
    return int(row[0])


async def lock(connection: Connection, key: dict[str, UUID], versions: frozenset[int] | None) -> Endpoint:
    """The endpoint, which nobody else changes before the transaction ends that `connection` is in.

    Raises `NotFound` and `PreconditionFailed`.
    """
    await connection.execute(_queries.lock_endpoint, key)
    endpoint = await read(connection, key)
    if versions is not None and endpoint.version not in versions:
        raise PreconditionFailed(f"the webhook is at version {endpoint.version}")
    return endpoint


async def read(connection: Connection, key: dict[str, UUID]) -> Endpoint:
    """The endpoint, in the tenant's scope. Raises `NotFound`."""
    row = await (await connection.execute(_queries.endpoint, key)).fetchone()
    if row is None:
        raise NotFound("there is no such webhook")
    return _endpoint_of(row)


def _endpoint_of(row: Any) -> Endpoint:
    endpoint_id, url, description, event_types, status, reason, version, created_at, updated_at, next_seq, *state = row
    behind, asked, failures, tried_since, retry_at, previous_until = state
    return Endpoint(
        id=endpoint_id,
        target=Target(
            url=url,
            description=description,
            event_types=event_types and tuple(event_types),
            status=Status(status),
        ),
        disabled_reason=reason and Reason(reason),
        version=version,
        created_at=created_at,
        updated_at=updated_at,
        next_sequence=next_seq,
        behind=behind,
        asked=asked,
        failures=failures,
        tried_since=tried_since,
        retry_at=retry_at,
        previous_secret_until=previous_until,
    )
