"""What operators see of the streams and mend: `ledgerx dlq` and `ledgerx streams status`."""

import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from ledgerx.engine import Engine
from ledgerx.events import TOPIC_JOURNAL
from ledgerx.logins import Database
from ledgerx_cli.embedded.kafka import Kafka
from ledgerx_streams import dead_letters
from ledgerx_streams.catalog import NAMES
from ledgerx_streams.kafka_access import KafkaAccess, KafkaSettings
from tests.integration.journals import heads, new_journal
from tests.integration.relaying import eventually
from tests.integration.worker_process import StartWorker, deliver, projected, until

HEADERS = [("id", b"1"), ("eventType", b"ledgerx.entries")]


@pytest.fixture
def kafka(kafka_server: Kafka) -> KafkaAccess:
    return KafkaAccess(KafkaSettings(kafka=kafka_server.bootstrap))


def ledgerx(database: Database, kafka_server: Kafka, *arguments: str) -> tuple[int, list[Any]]:
    """The exit code of a command, and the lines of JSON that it prints."""
    environment = {"LEDGERX_KAFKA": kafka_server.bootstrap, "LEDGERX_DATABASE_URL": database.owner_url}
    command = [sys.executable, "-P", "-m", "ledgerx_cli", *arguments, "--json"]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=60)
    assert not done.stderr
    return done.returncode, [msgspec.json.decode(line) for line in done.stdout.splitlines()]


async def test_dead_letters_are_listed_and_sent_again(
    database: Database, engine: Engine, kafka: KafkaAccess, kafka_server: Kafka, start_worker: StartWorker
) -> None:
    journal = await new_journal(database, engine)
    key = str(journal.tenant_id)

    async def mine(*, since_start: bool = False) -> list[dead_letters.DeadLetter]:
        return [one for one in await dead_letters.read(kafka, since_start=since_start) if one.key == key]

    async def waiting(number: int) -> bool:
        return len(await mine()) == number

    start_worker()
    async with AIOKafkaProducer(bootstrap_servers=kafka_server.bootstrap) as producer:
        other = await new_journal(database, engine)
        await deliver(producer, other, other.payloads())
        await until(projected(database, other))
        # What other tests left is not to be sent again: it would come back for each projection.
        assert ledgerx(database, kafka_server, "dlq", "discard")[0] == 0
        assert await dead_letters.read(kafka) == []
        sent = await producer.send_and_wait(TOPIC_JOURNAL, b"not JSON", key=key.encode(), headers=HEADERS)
    await eventually(lambda: waiting(len(NAMES)))

    letters = await mine()
    assert {one.projection for one in letters} == set(NAMES)
    assert {(one.topic, one.partition, one.offset) for one in letters} == {(TOPIC_JOURNAL, sent.partition, sent.offset)}
    assert all(one.size_bytes == len(b"not JSON") and "JSON" in one.reason for one in letters)
    code, listed = ledgerx(database, kafka_server, "dlq", "list")
    assert code == 0
    assert [one for one in listed if one["key"] == key] == msgspec.to_builtins(letters)

    code, replayed = ledgerx(database, kafka_server, "dlq", "replay")
    assert code == 0
    assert [one for one in replayed if one["key"] == key] == msgspec.to_builtins(letters)
    # They are what they were, and so is what the projections find wrong with them.
    await eventually(lambda: waiting(len(NAMES) ** 2))
    assert [one.number for one in await mine(since_start=True)][: len(letters)] == [one.number for one in letters]
    async with AIOKafkaConsumer(
        TOPIC_JOURNAL, bootstrap_servers=kafka_server.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        again = [record async for record in _keyed(consumer, key, 1 + len(letters))]
    assert {(record.value, record.partition, tuple(record.headers)) for record in again} == {
        (b"not JSON", sent.partition, tuple(HEADERS))
    }


async def _keyed(consumer: AIOKafkaConsumer, key: str, number: int) -> AsyncIterator[Any]:
    async for record in consumer:
        if record.key == key.encode():
            yield record
            number -= 1
        if not number:
            return


async def test_the_status_tells_lags_and_forks(
    database: Database, engine: Engine, kafka_server: Kafka, start_worker: StartWorker
) -> None:
    journal = await new_journal(database, engine)
    await journal.post(3)
    worker = start_worker()
    async with AIOKafkaProducer(bootstrap_servers=kafka_server.bootstrap) as producer:
        for payload in journal.payloads():
            last = await producer.send_and_wait(TOPIC_JOURNAL, payload, key=str(journal.tenant_id).encode())
    everywhere = {(journal.tenant_id, name): journal.last for name in NAMES}.items()
    await until(lambda: everywhere <= heads(database).items())
    # Offsets are committed when it ends.
    assert worker.terminate() == 0
    await journal.post(2)

    code, [status] = ledgerx(database, kafka_server, "streams", "status")
    assert code == 0
    assert all(part["lag"] == part["end"] - part["done"] for part in status["partitions"])
    [part] = [part for part in status["partitions"] if part["partition"] == last.partition]
    assert part["done"] > last.offset
    [tenant] = [one for one in status["tenants"] if one["tenant_id"] == str(journal.tenant_id)]
    assert {one["name"]: tenant["seq"] - one["seq"] for one in tenant["projections"]} == dict.fromkeys(NAMES, 2)
    assert all(one["behind_s"] > 0 for one in tenant["projections"])

    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE ledgerx.projections SET hash = sha256('x') WHERE tenant_id = %s AND projection = 'balances'",
            (journal.tenant_id,),
        )
    code, [status] = ledgerx(database, kafka_server, "streams", "status", "--tenant", tenant["tenant"])
    assert code == 1
    assert [one["name"] for one in status["tenants"][0]["projections"] if not one["consistent"]] == ["balances"]
