"""Every entry as an event of its own on a topic, keyed by its tenant, and news of it to the tenant's webhooks.

Events are acknowledged before the head commits, so none is missing; after a crash some come twice, under the same id.
The head's row is locked meanwhile: no other worker publishes entries of the tenant in between.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from uuid import UUID

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from ledgerx.cloud_events import MEDIA_TYPE, encode_event
from ledgerx.database import IDLE_IN_TRANSACTION_TIMEOUT_MS, Connection, Queries
from ledgerx.events import EntryRecord, entry
from ledgerx_streams.kafka_access import KafkaAccess
from ledgerx_streams.projections import Projection, TemporaryError
from ledgerx_streams.topics import MESSAGE_MAX_BYTES, TOPIC_ENTRIES

NAME = "entries"
# The server ends a transaction that does nothing for longer.
PATIENCE_S = IDLE_IN_TRANSACTION_TIMEOUT_MS / 2_000
# Structured mode of the Kafka binding for CloudEvents 1.0.2.
_HEADERS = [("content-type", MEDIA_TYPE.encode())]
_BATCH_BYTES = 256 * 1024
# Where the key of a message sends it, in every client of Kafka.
_partition_of = DefaultPartitioner()
_heads = Queries("ledgerx_streams", "sql/heads.sql")
_queries = Queries("ledgerx_streams", "sql/entries.sql")


def entries_producer(kafka: KafkaAccess) -> AIOKafkaProducer:
    """A producer for `entries_projection`, which is to be started: all replicas keep what it sends, in order."""
    return AIOKafkaProducer(
        **kafka.aiokafka(),
        acks="all",
        enable_idempotence=True,
        max_batch_size=_BATCH_BYTES,
        max_request_size=MESSAGE_MAX_BYTES,
    )


def entries_projection(producer: AIOKafkaProducer, committed: Callable[[], None] | None = None) -> Projection:
    """The projection that publishes by `producer`, and calls `committed` when entries and head are there."""

    async def write(connection: Connection, tenant_id: UUID, entries: Sequence[EntryRecord]) -> None:
        head = await connection.execute(_heads.find, {"tenant_id": tenant_id, "projection": NAME})
        row = await head.fetchone()
        if row is None or row[0] != entries[-1].seq:
            # Another worker has moved on, and the projector is about to find that out.
            return
        await _publish(producer, tenant_id, entries)
        await connection.execute(_queries.wake, {"tenant_id": tenant_id, "seq": entries[-1].seq})

    return Projection(name=NAME, write=write, clear=_keep, committed=committed)


async def _keep(_connection: Connection, _tenant_id: UUID) -> None:
    """What was published stays."""


async def _publish(producer: AIOKafkaProducer, tenant_id: UUID, entries: Sequence[EntryRecord]) -> None:
    """Publish entries in order and wait until all are kept. Raises `TemporaryError`; `ValueError` for one too large."""
    key = str(tenant_id).encode()
    try:
        async with asyncio.timeout(PATIENCE_S):
            partitions = sorted(await producer.partitions_for(TOPIC_ENTRIES))
            partition = _partition_of(key, partitions, partitions)
            kept = [
                await producer.send_batch(batch, TOPIC_ENTRIES, partition=partition)
                for batch in _batches(producer, key, (encode_event(tenant_id, entry(one)) for one in entries))
            ]
            await asyncio.gather(*kept)
    except MessageSizeTooLargeError as error:
        raise ValueError(f"an event is too large: {error}") from None
    except (KafkaError, TimeoutError) as error:
        raise TemporaryError(f"events were not published: {error!r}") from error


def _batches(producer: AIOKafkaProducer, key: bytes, events: Iterable[bytes]) -> Iterator[BatchBuilder]:
    """Events in as few batches as hold them: to send them one by one takes five times as long."""
    batch = producer.create_batch()
    for event in events:
        if batch.append(key=key, value=event, timestamp=None, headers=_HEADERS) is not None:
            continue
        yield batch
        batch = producer.create_batch()
        if batch.append(key=key, value=event, timestamp=None, headers=_HEADERS) is None:
            raise ValueError(f"an event of {len(event)} bytes is too large")
    yield batch
