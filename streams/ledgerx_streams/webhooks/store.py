"""The rows of webhook endpoints and of their log, as the workers read and write them."""

from collections.abc import Sequence
from typing import Any, LiteralString
from uuid import UUID

import msgspec
import uuid_utils.compat as uuid_utils
from prometheus_client import Counter

from ledgerx import audit
from ledgerx.audit import Act, Author
from ledgerx.database import Connection, Pool, Queries, tenant_scope
from ledgerx.feed import EVENT_TYPES
from ledgerx.journal import Entry
from ledgerx.rows import read_entries
from ledgerx.webhook_deliveries import Cause, Outcome
from ledgerx.webhooks import subject
from ledgerx_streams.webhooks.progress import Progress, Reply

# Entries that are looked at in one go for the next one that an endpoint wants.
WINDOW = 1_000
MAX_ERROR_CHARACTERS = 255
_KINDS = {event_type: kind for kind, event_type in EVENT_TYPES.items()}
_DELETED_AT_ONCE = 1_000
_ACTOR = Author("system:webhooks")

_ATTEMPTS = Counter("ledgerx_webhook_attempts", "Attempts to send an event to a webhook.", ["cause", "outcome"])
_queries = Queries("ledgerx_streams", "sql/webhooks.sql")


class Lease(msgspec.Struct, frozen=True):
    """The right to send to an endpoint, until it runs out. Who is late sends what was sent already."""

    tenant_id: UUID
    endpoint_id: UUID
    lease_id: UUID
    lease_s: float


class State(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that one has a lease of: `asked` is a number of an entry, 0 a ping, None nothing."""

    url: str
    event_types: Sequence[str] | None
    sealed_secrets: Sequence[bytes]
    version: int
    known_seq: int
    asked: int | None
    may_try: bool
    progress: Progress


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be kept of an attempt; `seq` is None for a ping."""

    cause: Cause
    seq: int | None
    event_type: str
    number: int
    outcome: Outcome
    reply: Reply


class Store:
    """Reads and writes them as the streams' role, in short transactions each."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def due(self, *, slow: bool, most: int) -> list[tuple[UUID, UUID]]:
        """Tenants and endpoints that are due, fairly in order."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_queries.due, {"slow": slow, "most": most})
            return [(tenant_id, endpoint_id) for tenant_id, endpoint_id in await cursor.fetchall()]

    async def claim(self, lease: Lease) -> State | None:
        """Take an endpoint; None where it is not due any more, or somebody else has it."""
        return await self._write(lease, _queries.claim, {})

    async def release(self, lease: Lease) -> None:
        """End the turn."""
        await self._write(lease, _queries.release, {})

    async def next_entry(self, lease: Lease, state: State) -> Entry | int:
        """The next entry that the endpoint wants, or the number behind those looked at, none of which it does."""
        seq, last = state.progress.next_seq, min(state.known_seq, state.progress.next_seq + WINDOW - 1)
        if state.event_types is not None:
            # What another version of the platform knows and this one does not is never recorded by it either.
            kinds = [_KINDS[name] for name in state.event_types if name in _KINDS]
            parameters = {"tenant_id": lease.tenant_id, "first": seq, "last": last, "kinds": kinds}
            async with self._pool.connection() as connection:
                async with tenant_scope(connection, lease.tenant_id, read_only=True):
                    cursor = await connection.execute(_queries.wanted, parameters)
                row = await cursor.fetchone()
            if row is None:
                return last + 1
            seq = row[0]
        return await self.entry(lease, seq)

    async def entry(self, lease: Lease, seq: int) -> Entry:
        """The entry with this number, which is there."""
        async with self._pool.connection() as connection, tenant_scope(connection, lease.tenant_id, read_only=True):
            [entry] = await read_entries(connection, lease.tenant_id, [seq])
        return entry

    async def move(self, lease: Lease, state: State, next_seq: int) -> State | None:
        """Pass over entries."""
        return await self._write(
            lease,
            _queries.move,
            {"next_seq": next_seq, "expected_seq": state.progress.next_seq, "version": state.version},
        )

    async def record(self, lease: Lease, state: State, attempt: Attempt, now: Progress) -> State | None:
        """Keep what became of the event in turn."""
        parameters = {
            **msgspec.structs.asdict(now),
            "expected_seq": state.progress.next_seq,
            "version": state.version,
        }
        return await self._write(lease, _queries.progress, parameters, attempt, now)

    async def record_asked(self, lease: Lease, state: State, attempt: Attempt, now: Progress) -> State | None:
        """Keep what became of what somebody asked for."""
        parameters = {
            "seq": state.asked,
            "version": state.version,
            "delivered": attempt.outcome is Outcome.DELIVERED,
            "disabled_reason": now.disabled_reason,
        }
        return await self._write(lease, _queries.answered, parameters, attempt, now)

    async def drop_old(self, *, keep_days: int) -> int:
        """Forget attempts that were kept long enough, some at a time; how many tenants had any."""
        parameters = {"keep_days": keep_days, "most": _DELETED_AT_ONCE}
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_queries.tenants_with_old, parameters)
            tenant_ids = [tenant_id for (tenant_id,) in await cursor.fetchall()]
            for tenant_id in tenant_ids:
                async with tenant_scope(connection, tenant_id):
                    await connection.execute(_queries.drop_old, {**parameters, "tenant_id": tenant_id})
        return len(tenant_ids)

    async def behind(self, *, failures_open: int) -> tuple[int, int, float]:
        """Open circuits, entries to look at, and seconds that the endpoint which has failed for longest has."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(_queries.behind, {"failures_open": failures_open})
            [(open_circuits, entries, failing_s)] = await cursor.fetchall()
        return open_circuits, entries, failing_s

    async def _write(
        self,
        lease: Lease,
        query: LiteralString,
        values: dict[str, Any],
        attempt: Attempt | None = None,
        now: Progress | None = None,
    ) -> State | None:
        """Write one row in one's own lease, with the attempt that led to it, and read what it is by then."""
        parameters: dict[str, Any] = {**msgspec.structs.asdict(lease), **values}
        async with self._pool.connection() as connection, tenant_scope(connection, lease.tenant_id):
            await connection.execute(query, parameters)
            if attempt is not None:
                await connection.execute(_queries.log, {**parameters, **_log_columns(attempt)})
            if now is not None and now.disabled_reason is not None:
                await _disable(connection, lease, {**parameters, "reason": now.disabled_reason})
            cursor = await connection.execute(_queries.state, parameters)
        if attempt is not None:
            _ATTEMPTS.labels(attempt.cause, attempt.outcome).inc()
        row = await cursor.fetchone()
        return None if row is None else _state_of(row)


async def _disable(connection: Connection, lease: Lease, parameters: dict[str, Any]) -> None:
    cursor = await connection.execute(_queries.disable, parameters)
    if await cursor.fetchone() is not None:
        details = {"reason": parameters["reason"]}
        await audit.record(
            connection, lease.tenant_id, Act.WEBHOOK_DISABLED, _ACTOR, subject(lease.endpoint_id), details
        )


def _log_columns(attempt: Attempt) -> dict[str, Any]:
    error = attempt.reply.error
    return {
        "delivery_id": uuid_utils.uuid7(),
        "cause": attempt.cause,
        "seq": attempt.seq,
        "event_type": attempt.event_type,
        "attempt": attempt.number,
        "outcome": attempt.outcome,
        "status_code": attempt.reply.status_code,
        "error": None if error is None else error.replace("\0", "")[:MAX_ERROR_CHARACTERS],
        "duration_ms": round(attempt.reply.duration_s * 1_000),
    }


def _state_of(row: Any) -> State:
    url, event_types, secret, previous_secret, version, known_seq, asked, may_try, *progress = row
    next_seq, attempts, tried_s, failures, dead_in_a_row, is_slow = progress
    return State(
        url=url,
        event_types=event_types,
        sealed_secrets=[sealed for sealed in (secret, previous_secret) if sealed is not None],
        version=version,
        known_seq=known_seq,
        asked=asked,
        may_try=may_try,
        progress=Progress(
            next_seq=next_seq,
            attempts=attempts,
            tried_s=tried_s,
            failures=failures,
            dead_in_a_row=dead_in_a_row,
            is_slow=is_slow,
        ),
    )
