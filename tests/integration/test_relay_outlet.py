"""The relay's outlet on a real broker that refuses an event, or is away for longer than a producer waits."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from prometheus_client import REGISTRY

from ledgerx import database as db
from ledgerx.databases import ALONE
from ledgerx.logins import Database
from ledgerx.settings import Secret
from ledgerx_cli.embedded.kafka import Kafka
from ledgerx_cli.supervisor import Supervisor
from ledgerx_streams.relay.metrics import RelayMetrics
from ledgerx_streams.relay.outbox_event import OutboxEvent
from ledgerx_streams.relay.outlet import open_outlet
from ledgerx_streams.relay.session import Session
from ledgerx_streams.relay.settings import Settings
from ledgerx_streams.slots import DEFAULT_SLOT, Source
from tests.integration.relaying import (
    Connection,
    consume,
    delivered,
    eventually,
    first_deliveries,
    record_entries,
    stopped,
)

LIMITED = "ledgerx.events.limited"
PATIENCE_MS = 1_000


def metric(name: str) -> float:
    labels = {} if name.startswith("kafka") else {"database": ALONE}
    return REGISTRY.get_sample_value(f"ledgerx_relay_{name}", labels) or 0


async def above(name: str, value: float) -> None:
    async def is_above() -> bool:
        return metric(name) > value

    await eventually(is_above)


@pytest.fixture
async def kafka_admin(kafka_server: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_server.bootstrap)
    await admin.start()
    yield admin
    await admin.close()


async def test_what_follows_a_refused_event_waits_until_that_is_taken(
    kafka_server: Kafka, kafka_admin: AIOKafkaAdminClient
) -> None:
    limit = {"max.message.bytes": "500000"}
    await kafka_admin.create_topics([NewTopic(LIMITED, 1, 1, topic_configs=limit)])
    key = uuid4().bytes
    failures = metric("kafka_failures_total")
    async with open_outlet(kafka_server.access.aiokafka()) as outlet:
        # More than two batches, so that some could go without the second, and the last has no room in the producer.
        sizes = [1, 900_000, 200_000, 450_000, 460_000]
        arrivals = [outlet.put(OutboxEvent(LIMITED, key, b"x" * size, ())) for size in sizes]
        await above("kafka_failures_total", failures + 1)
        assert not any(arrival.done() for arrival in arrivals[1:])
        more = ConfigResource(ConfigResourceType.TOPIC, LIMITED, configs={"max.message.bytes": "1000000"})
        await kafka_admin.alter_configs([more])
        await asyncio.gather(*arrivals)
    records = await consume(kafka_server, [LIMITED], {key}, lambda records: len(records) >= len(sizes))
    assert first_deliveries([len(record.value) for record in records]) == sizes


async def test_a_snapshot_outlasts_a_broker_that_is_away_for_longer_than_a_producer_waits(
    database: Database,
    superuser: Connection,
    kafka_server: Kafka,
    supervisor: tuple[Supervisor, asyncio.Runner],
) -> None:
    tenant = uuid4()
    # More than a batch, and so more than the producer holds.
    await record_entries(superuser, tenant, range(1, 21), payload="x" * 300_000)
    source = Source(database=ALONE, url=Secret(database.relay_url), slot=DEFAULT_SLOT)
    settings = Settings(kafka=kafka_server.bootstrap)
    snapshots, failures = metric("snapshots_total"), metric("kafka_failures_total")
    states: list[str] = []
    async with (
        open_outlet(kafka_server.access.aiokafka(), request_timeout_ms=PATIENCE_MS) as outlet,
        await db.connect(database.relay_url, application_name="test") as connection,
    ):
        with stopped(supervisor[0].pids["kafka"]):
            running = asyncio.create_task(
                Session(source, settings, RelayMetrics(ALONE), outlet, connection, states.append).run()
            )
            await above("kafka_failures_total", failures + 2)
        assert first_deliveries(await delivered(kafka_server, tenant, last=20)) == list(range(1, 21))
        await above("snapshots_total", snapshots)
        await record_entries(superuser, tenant, [21])
        assert first_deliveries(await delivered(kafka_server, tenant, last=21)) == list(range(1, 22))
        running.cancel()
        await asyncio.wait({running})
    assert states == ["snapshot", "streaming"]
    assert metric("snapshots_total") == snapshots + 1
