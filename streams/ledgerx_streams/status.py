"""Where the streams stand: how far their workers are behind the topics, and their projections behind the journals."""

from collections.abc import AsyncIterator
from uuid import UUID

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from ledgerx.database import Pool
from ledgerx.events import TOPIC_JOURNAL
from ledgerx.integrity import ProjectionState, read_integrity
from ledgerx.tenancy import read_tenants
from ledgerx_streams.kafka_access import KafkaAccess
from ledgerx_streams.topics import GROUP


class PartitionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A partition of the journal's topic. `done` is the offset before which all is applied; `lag` are the messages."""

    topic: str
    partition: int
    end: int
    done: int
    lag: int


class TenantStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant's journal, whose last entry is `seq`, and the projections of it."""

    tenant: str
    tenant_id: UUID
    seq: int
    projections: list[ProjectionState]

    @property
    def well(self) -> bool:
        """Whether all projections stem from this journal."""
        return all(projection.consistent for projection in self.projections)


async def read_partitions(kafka: KafkaAccess) -> list[PartitionStatus]:
    """Every partition of the journal's topic; none while there is no such topic. Raises `KafkaError`."""
    partitions = [TopicPartition(TOPIC_JOURNAL, number) for number in await _partitions(kafka)]
    async with AIOKafkaConsumer(**kafka.aiokafka(), group_id=GROUP, enable_auto_commit=False) as consumer:
        beginnings = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        done = {one: await consumer.committed(one) or beginnings[one] for one in partitions}
    return [
        PartitionStatus(
            topic=one.topic, partition=one.partition, end=ends[one], done=done[one], lag=max(0, ends[one] - done[one])
        )
        for one in partitions
    ]


async def _partitions(kafka: KafkaAccess) -> list[int]:
    admin = AIOKafkaAdminClient(**kafka.aiokafka())
    await admin.start()
    try:
        [topic] = await admin.describe_topics([TOPIC_JOURNAL])
    finally:
        await admin.close()
    return sorted(partition["partition"] for partition in topic["partitions"])


async def read_tenants_status(pool: Pool, name: str | None = None) -> AsyncIterator[TenantStatus]:
    """Every tenant in the order of names, or the one with this `name`. `pool` connects as the schema's owner."""
    async with pool.connection() as connection:
        tenants = [one for one in await read_tenants(connection) if name in (None, one.name)]
    for tenant in tenants:
        state = await read_integrity(pool, tenant.tenant_id)
        yield TenantStatus(
            tenant=tenant.name, tenant_id=tenant.tenant_id, seq=state.seq, projections=list(state.projections)
        )
