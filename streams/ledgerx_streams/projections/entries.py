"""Every entry as an event of its own on a topic, keyed by its tenant, and news of it to the tenant's webhooks.

Events are acknowledged before the head commits, so none is missing; after a crash some come twice, under the same id.
The head's row is locked meanwhile: no other worker publishes entries of the tenant in between.
"""

import asyncio
from collections.abc import Callable, Sequence
from uuid import UUID

from aiokafka.errors import KafkaError
from prometheus_client import Counter

from ledgerx.cloud_events import MEDIA_TYPE, encode_event
from ledgerx.database import IDLE_IN_TRANSACTION_TIMEOUT_MS, Connection, Queries
from ledgerx.events import EntryRecord, entry
from ledgerx_streams.kafka_access import KafkaAccess
from ledgerx_streams.projections import Projection, RefusedError
from ledgerx_streams.publisher import Publisher
from ledgerx_streams.topics import TOPIC_ENTRIES

NAME = "entries"
# The server ends a transaction that does nothing for longer.
PATIENCE_S = IDLE_IN_TRANSACTION_TIMEOUT_MS / 2_000
# Structured mode of the Kafka binding for CloudEvents 1.0.2.
_HEADERS = [("content-type", MEDIA_TYPE.encode())]
_REFUSALS = Counter("ledgerx_entries_refusals", "Times that Kafka did not take entries of a tenant.")
_heads = Queries("ledgerx_streams", "sql/heads.sql")
_queries = Queries("ledgerx_streams", "sql/entries.sql")


def entries_publisher(kafka: KafkaAccess) -> Publisher:
    """What `entries_projection` publishes by."""
    return Publisher(kafka, TOPIC_ENTRIES, _HEADERS)


def entries_projection(publisher: Publisher, committed: Callable[[], None] | None = None) -> Projection:
    """The projection that publishes by `publisher`, and calls `committed` when entries and head are there."""

    async def write(connection: Connection, tenant_id: UUID, entries: Sequence[EntryRecord]) -> None:
        head = await connection.execute(_heads.find, {"tenant_id": tenant_id, "projection": NAME})
        row = await head.fetchone()
        if row is None or row[0] != entries[-1].seq:
            # Another worker has moved on, and the projector is about to find that out.
            return
        await _publish(publisher, tenant_id, entries)
        await connection.execute(_queries.wake, {"tenant_id": tenant_id, "seq": entries[-1].seq})

    return Projection(name=NAME, write=write, clear=_keep, committed=committed, outside=True)


async def _keep(_connection: Connection, _tenant_id: UUID) -> None:
    """What was published stays."""


async def _publish(publisher: Publisher, tenant_id: UUID, entries: Sequence[EntryRecord]) -> None:
    """Publish entries in order and wait until all are kept. Raises `RefusedError`."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            await publisher.publish(str(tenant_id).encode(), (encode_event(tenant_id, entry(one)) for one in entries))
    except (KafkaError, TimeoutError) as error:
        _REFUSALS.inc()
        raise RefusedError(f"events were not published: {error!r}") from error
