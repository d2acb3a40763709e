"""What was published on the topic of entries."""

from typing import Any
from uuid import UUID

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from ledgerx_streams.kafka_access import KafkaAccess
from ledgerx_streams.topics import TOPIC_ENTRIES
from tests.integration.journals import Journal


async def entries_of(kafka: KafkaAccess, journals: list[Journal]) -> dict[UUID, list[tuple[bytes, Any]]]:
    """The messages of tenants on the topic of entries, with their headers."""
    found: dict[UUID, list[tuple[bytes, Any]]] = {journal.tenant_id: [] for journal in journals}
    async with AIOKafkaConsumer(TOPIC_ENTRIES, **kafka.aiokafka(), auto_offset_reset="earliest") as consumer:
        by_key = {str(tenant_id).encode(): messages for tenant_id, messages in found.items()}
        left = await consumer.end_offsets(consumer.assignment())
        for partition in [partition for partition, end in left.items() if end == 0]:
            del left[partition]
        async for record in consumer:
            by_key.get(record.key, []).append((record.value, dict(record.headers)))
            partition = TopicPartition(record.topic, record.partition)
            if record.offset + 1 == left.get(partition):
                del left[partition]
            if not left:
                break
    return found


async def published_seqs(kafka: KafkaAccess, journal: Journal) -> list[int]:
    """The numbers of a tenant's entries in the order of the topic."""
    [messages] = (await entries_of(kafka, [journal])).values()
    ids = [msgspec.json.decode(body)["id"].split("/") for body, _ in messages]
    assert {tenant for tenant, _ in ids} <= {str(journal.tenant_id)}
    return [int(seq) for _, seq in ids]
