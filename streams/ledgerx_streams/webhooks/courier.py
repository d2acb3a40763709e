"""One turn of one endpoint: events in order, one at a time, until there are no more, one fails, or time is up."""

import asyncio
import random
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import structlog
import uuid_utils.compat as uuid_utils
from prometheus_client import Histogram

from ledgerx.cloud_events import encode_event, event_id
from ledgerx.feed import EVENT_TYPES
from ledgerx.journal import Entry
from ledgerx.outbound import Outbound, OutboundError
from ledgerx.sealing import SealBroken, SealingKeys
from ledgerx.webhook_deliveries import PING, PING_TYPE, Cause, Outcome
from ledgerx.webhooks import seal_context
from ledgerx_streams.webhooks.progress import Policy, Reply, after, after_asked
from ledgerx_streams.webhooks.signing import signed_headers
from ledgerx_streams.webhooks.store import Attempt, Lease, State, Store

MAX_ANSWER_BYTES = 64 * 1024
# Then others have their turn, when the event in hand is through.
TURN_S = 2.0
_MEDIA_TYPE = "application/json"
_SECONDS = re.compile(r"[0-9]{1,9}")

_DELIVERED_AFTER = Histogram(
    "ledgerx_webhook_delivery_seconds",
    "From the recording of an entry to its delivery to a webhook in turn.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3_600, 86_400, 259_200),
)

_log = structlog.get_logger()


class Ping(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvent that stands for no entry."""

    specversion: str = "1.0"
    id: str
    source: str
    type: str = PING_TYPE
    time: datetime
    datacontenttype: str = "application/json"
    data: Mapping[str, UUID]


class Courier:
    """Sends the events of endpoints, signed by the secrets that `keys` open, each within `timeout_s`."""

    def __init__(
        self,
        store: Store,
        outbound: Outbound,
        keys: SealingKeys,
        *,
        timeout_s: float,
        policy: Policy,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._outbound = outbound
        self._keys = keys
        # Longer than a turn may take. Who is killed holds an endpoint up for as long.
        self._lease_s = TURN_S + 2 * timeout_s
        self._policy = policy
        self._jitter = jitter

    async def turn(self, tenant_id: UUID, endpoint_id: UUID) -> None:
        """Give an endpoint its turn, unless somebody else does. Raises `psycopg.Error`."""
        lease = Lease(tenant_id, endpoint_id, uuid_utils.uuid7(), self._lease_s)
        began = time.monotonic()
        try:
            state = await self._store.claim(lease)
            if state is None:
                return
            while state is not None and time.monotonic() - began < TURN_S:
                state = await self._step(lease, state)
            await self._store.release(lease)
        except asyncio.CancelledError:
            # After any other error the lease runs out first: what went wrong may do so again.
            await self._store.release(lease)
            raise

    async def _step(self, lease: Lease, state: State) -> State | None:
        """One event, or a stretch of the journal without any; None when there is nothing to do for now."""
        if state.asked is not None:
            return await self._send_asked(lease, state, state.asked)
        if not state.may_try or state.progress.next_seq > state.known_seq:
            return None
        found = await self._store.next_entry(lease, state)
        if isinstance(found, int):
            return await self._store.move(lease, state, found)
        return await self._send_next(lease, state, found)

    async def _send_next(self, lease: Lease, state: State, entry: Entry) -> State | None:
        reply = await self._send_entry(lease, state, entry)
        now, outcome = after(state.progress, entry.seq, reply, policy=self._policy, jitter=self._jitter())
        attempt = Attempt(
            cause=Cause.EVENT,
            seq=entry.seq,
            event_type=EVENT_TYPES[entry.kind],
            number=state.progress.attempts + 1,
            outcome=outcome,
            reply=reply,
        )
        if outcome is Outcome.DELIVERED:
            _DELIVERED_AFTER.observe((datetime.now(UTC) - entry.recorded_at).total_seconds())
        self._tell(lease, attempt)
        return await self._store.record(lease, state, attempt, now)

    async def _send_asked(self, lease: Lease, state: State, seq: int) -> State | None:
        if seq == PING:
            event_type, cause = PING_TYPE, Cause.PING
            reply = await self._send_ping(lease, state)
        else:
            entry = await self._store.entry(lease, seq)
            event_type, cause = EVENT_TYPES[entry.kind], Cause.REDELIVERY
            reply = await self._send_entry(lease, state, entry)
        now, outcome = after_asked(state.progress, reply)
        attempt = Attempt(cause=cause, seq=seq or None, event_type=event_type, number=1, outcome=outcome, reply=reply)
        self._tell(lease, attempt)
        return await self._store.record_asked(lease, state, attempt, now)

    async def _send_entry(self, lease: Lease, state: State, entry: Entry) -> Reply:
        body = encode_event(lease.tenant_id, entry)
        return await self._send(lease, state, event_id(lease.tenant_id, entry.seq), body)

    async def _send_ping(self, lease: Lease, state: State) -> Reply:
        ping = Ping(
            id=f"{lease.tenant_id}/ping/{uuid_utils.uuid7()}",
            source=f"urn:ledgerx:tenant:{lease.tenant_id}",
            time=datetime.now(UTC),
            data={"webhook": lease.endpoint_id},
        )
        return await self._send(lease, state, ping.id, msgspec.json.encode(ping))

    async def _send(self, lease: Lease, state: State, message_id: str, body: bytes) -> Reply:
        began = time.monotonic()
        try:
            context = seal_context(lease.tenant_id, lease.endpoint_id)
            secrets = [self._keys.open(sealed, of=context) for sealed in state.sealed_secrets]
            headers = signed_headers(message_id, int(time.time()), body, secrets)
            answer = await self._outbound.send(
                "POST",
                state.url,
                max_bytes=MAX_ANSWER_BYTES,
                headers={**headers, "Content-Type": _MEDIA_TYPE},
                body=body,
            )
        except SealBroken as error:
            _log.error("webhook secret cannot be opened", webhook=str(lease.endpoint_id), reason=str(error))
            return Reply(error="the secret cannot be opened", duration_s=0)
        except OutboundError as error:
            return Reply(error=str(error), duration_s=time.monotonic() - began)
        return Reply(
            status_code=answer.status,
            duration_s=time.monotonic() - began,
            retry_after_s=_seconds(answer.headers.get("Retry-After", "")),
        )

    def _tell(self, lease: Lease, attempt: Attempt) -> None:
        if attempt.outcome is Outcome.DELIVERED:
            return
        _log.warning(
            "webhook not delivered",
            tenant=str(lease.tenant_id),
            webhook=str(lease.endpoint_id),
            entry=attempt.seq,
            attempt=attempt.number,
            outcome=attempt.outcome,
            status=attempt.reply.status_code,
            reason=attempt.reply.error,
        )


def _seconds(retry_after: str) -> float:
    """What `Retry-After` asks for, where it says seconds; dates are passed over."""
    return float(retry_after) if _SECONDS.fullmatch(retry_after) else 0
