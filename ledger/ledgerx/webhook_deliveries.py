"""What is sent to webhook endpoints out of turn, and the log of the attempts."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from ledgerx import audit
from ledgerx.audit import Act, Author
from ledgerx.database import Connection, Queries, tenant_scope
from ledgerx.errors import Conflict, InvalidField, WebhookDisabled
from ledgerx.webhooks import Endpoint, Status, checked_start, lock, read, read_head

# As many as the constraint `webhook_endpoints_asked_check` allows.
MAX_ASKED = 1_000
# Comes after every attempt of the log.
NEWEST = UUID(int=2**128 - 1)
PING = 0
PING_TYPE = "ledgerx.webhook.ping"
_queries = Queries("ledgerx", "sql/webhooks.sql")


class Outcome(StrEnum):
    """What became of an attempt. After `FAILED` there is another one, after `DEAD` the next event's turn has come."""

    DELIVERED = "delivered"
    FAILED = "failed"
    DEAD = "dead"
    GONE = "gone"


class Cause(StrEnum):
    """Why an attempt was made: it was the event's turn, or somebody asked for it."""

    EVENT = "event"
    REDELIVERY = "redelivery"
    PING = "ping"


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt; `attempt` counts those of the event, `duration_ms` is until the whole answer was there."""

    id: UUID
    attempted_at: datetime
    cause: Cause
    sequence: int | None
    event_type: str
    attempt: int
    outcome: Outcome
    status_code: int | None
    error: str | None
    duration_ms: int


async def redeliver_from(
    connection: Connection, tenant_id: UUID, endpoint_id: UUID, from_sequence: int, *, author: Author
) -> Endpoint:
    """Let an endpoint go on at this entry: before where it stands to get all since then once more, behind to skip.

    Raises `InvalidField`, `NotFound` and `WebhookDisabled`.
    """
    key = {"tenant_id": tenant_id, "endpoint_id": endpoint_id}
    async with tenant_scope(connection, tenant_id):
        endpoint = await _lock_enabled(connection, key)
        start = checked_start(from_sequence, await read_head(connection, tenant_id))
        await connection.execute(_queries.restart, {**key, "from_seq": start})
        details = {"from_sequence": start, "stood_at": endpoint.next_sequence}
        await audit.record(connection, tenant_id, Act.WEBHOOK_REDELIVERED, author, endpoint.subject, details)
        return await read(connection, key)


async def redeliver_one(
    connection: Connection, tenant_id: UUID, endpoint_id: UUID, sequence: int, *, author: Author
) -> Endpoint:
    """Ask for one attempt to send an entry, before the next in turn, whatever its type.

    Raises `InvalidField`, `NotFound`, `WebhookDisabled` and `Conflict` where too many are asked for.
    """
    key = {"tenant_id": tenant_id, "endpoint_id": endpoint_id}
    async with tenant_scope(connection, tenant_id):
        endpoint = await _ask(connection, key, sequence)
        details = {"sequence": sequence}
        await audit.record(connection, tenant_id, Act.WEBHOOK_REDELIVERED, author, endpoint.subject, details)
        return await read(connection, key)


async def ping(connection: Connection, tenant_id: UUID, endpoint_id: UUID) -> Endpoint:
    """Ask for one attempt to send an event that stands for nothing.

    Raises `NotFound`, `WebhookDisabled` and `Conflict` where too many are asked for.
    """
    key = {"tenant_id": tenant_id, "endpoint_id": endpoint_id}
    async with tenant_scope(connection, tenant_id):
        await _ask(connection, key, PING)
        return await read(connection, key)


async def read_deliveries(
    connection: Connection,
    tenant_id: UUID,
    endpoint_id: UUID,
    *,
    before: UUID,
    limit: int,
    outcome: Outcome | None = None,
) -> list[Delivery]:
    """At most `limit` attempts, newest first, from the newest before the attempt `before`. Raises `NotFound`."""
    key = {"tenant_id": tenant_id, "endpoint_id": endpoint_id}
    query = _queries.deliveries_page if outcome is None else _queries.deliveries_page_by_outcome
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(query, {**key, "before": before, "limit": limit, "outcome": outcome})
        await read(connection, key)
    return [
        Delivery(
            id=delivery_id,
            attempted_at=attempted_at,
            cause=Cause(cause),
            sequence=seq,
            event_type=event_type,
            attempt=attempt,
            outcome=Outcome(found),
            status_code=status_code,
            error=error,
            duration_ms=duration_ms,
        )
        for delivery_id, attempted_at, cause, seq, event_type, attempt, found, status_code, error, duration_ms in (
            await cursor.fetchall()
        )
    ]


async def _ask(connection: Connection, key: dict[str, UUID], seq: int) -> Endpoint:
    endpoint = await _lock_enabled(connection, key)
    head = await read_head(connection, key["tenant_id"])
    if seq > head:
        raise InvalidField(f"the journal has {head} entries, and so none with the number {seq}")
    if endpoint.asked >= MAX_ASKED:
        raise Conflict(f"{MAX_ASKED} deliveries out of turn wait already")
    await connection.execute(_queries.ask, {**key, "seq": seq})
    return endpoint


async def _lock_enabled(connection: Connection, key: dict[str, UUID]) -> Endpoint:
    endpoint = await lock(connection, key, None)
    if endpoint.target.status is not Status.ENABLED:
        raise WebhookDisabled("nothing is sent to this webhook until it is enabled")
    return endpoint
