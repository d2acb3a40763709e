"""A broker that refuses the topic of entries: all else goes on, and what it lacks is made up for in order."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from prometheus_client.parser import text_string_to_metric_families

from ledgerx.engine import Engine
from ledgerx.logins import Database
from ledgerx_cli.embedded.kafka import Kafka
from ledgerx_cli.ports import free_port
from ledgerx_streams.projections.entries import NAME
from ledgerx_streams.topics import MESSAGE_MAX_BYTES, TOPIC_ENTRIES, prepare
from tests.integration.entries_topic import published_seqs
from tests.integration.journals import Journal, assert_projected, heads, new_journal
from tests.integration.relaying import eventually
from tests.integration.worker_process import StartWorker, Worker, deliver, projected, until

_REFUSALS = "ledgerx_entries_refusals_total"


@pytest.fixture
async def admin(kafka_server: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    await prepare(kafka_server.access)
    admin = AIOKafkaAdminClient(**kafka_server.access.aiokafka())
    await admin.start()
    try:
        yield admin
    finally:
        await limit(admin, MESSAGE_MAX_BYTES)
        await admin.close()


async def limit(admin: AIOKafkaAdminClient, message_bytes: int) -> None:
    """Have the topic take no larger batches than that."""
    configs = {"max.message.bytes": str(message_bytes)}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, TOPIC_ENTRIES, configs)])


def complaints(worker: Worker) -> list[str]:
    lines = [msgspec.json.decode(line) for line in worker.log.read_bytes().splitlines()]
    return [line["error"] for line in lines if line["message"] == "projection refused, others go on"]


def published(database: Database, journal: Journal) -> bool:
    return heads(database).get((journal.tenant_id, NAME)) == journal.last


async def test_what_the_topic_finds_too_large_holds_nothing_else_up_and_comes_when_it_fits(
    database: Database,
    engine: Engine,
    kafka_server: Kafka,
    producer: AIOKafkaProducer,
    admin: AIOKafkaAdminClient,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    port = free_port()
    worker = start_worker(LEDGERX_MANAGEMENT_PORT=str(port))
    journal, other = await new_journal(database, engine), await new_journal(database, engine)
    await deliver(producer, journal, journal.payloads())
    await until(lambda: published(database, journal))

    await limit(admin, 400)
    for one in (journal, other):
        await one.post(20)
        await deliver(producer, one, one.payloads())
    await until(projected(database, journal, other))
    assert_projected(database, journal, other)
    await until(lambda: len(complaints(worker)) > 0)
    assert "MessageSizeTooLargeError" in complaints(worker)[-1]
    assert not published(database, other)
    await eventually(lambda: is_refused(port))

    await limit(admin, MESSAGE_MAX_BYTES)
    # Nobody has to say anything.
    await until(lambda: published(database, journal) and published(database, other))
    for one in (journal, other):
        seqs = await published_seqs(kafka_server.access, one)
        assert list(dict.fromkeys(seqs)) == list(range(1, one.last + 1))
    await journal.post(1)
    await deliver(producer, journal, journal.payloads()[-1:])
    await until(lambda: published(database, journal))
    assert worker.terminate() == 0


async def is_refused(port: int) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        text = await answer.text()
    return any(
        sample.name == _REFUSALS and sample.value > 0
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    )


async def test_what_one_worker_left_behind_another_one_makes_up_for(
    database: Database,
    engine: Engine,
    kafka_server: Kafka,
    producer: AIOKafkaProducer,
    admin: AIOKafkaAdminClient,
    start_worker: StartWorker,
) -> None:
    journal = await new_journal(database, engine)
    await limit(admin, 1)
    worker = start_worker()
    await deliver(producer, journal, journal.payloads())
    await until(projected(database, journal))
    await until(lambda: complaints(worker) != [])
    worker.kill()

    await limit(admin, MESSAGE_MAX_BYTES)
    # All that it had is acknowledged, and nothing new comes.
    worker = start_worker()
    await until(lambda: published(database, journal))
    assert list(dict.fromkeys(await published_seqs(kafka_server.access, journal))) == list(range(1, journal.last + 1))
    assert worker.terminate() == 0
