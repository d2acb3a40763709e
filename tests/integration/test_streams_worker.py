"""Workers as processes, on a real Kafka and a real database, killed at bad moments."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from ledgerx.engine import Engine
from ledgerx.events import TOPIC_JOURNAL
from ledgerx.keys import write_new_keyset
from ledgerx_cli.embedded.kafka import Kafka
from ledgerx_cli.roles import Database
from ledgerx_streams.app import PROJECTIONS
from ledgerx_streams.topics import TOPIC_DEAD_LETTERS
from tests.integration.journals import Journal, assert_projected, ends, heads, new_journal, open_engine

_COMMAND = (sys.executable, "-c", "from ledgerx_streams.app import main; raise SystemExit(main())")
_WAITING_WRITES = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'ledgerx-streams' AND wait_event_type = 'Lock'
"""


class Worker:
    """A running worker."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(_COMMAND, env={**os.environ, **environment}, stderr=output)

    def partitions(self) -> list[int]:
        """The partitions that it consumes."""
        lines = [msgspec.json.decode(line) for line in self.log.read_bytes().splitlines()]
        assignments: list[list[int]] = [line["partitions"] for line in lines if line["message"] == "consuming"]
        return assignments[-1] if assignments else []

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait()


@pytest.fixture
def start_worker(database: Database, kafka_server: Kafka, tmp_path: Path) -> Iterator[Callable[[], Worker]]:
    workers: list[Worker] = []
    environment = {
        "LEDGERX_DATABASE_URL": database.streams_url,
        "LEDGERX_ENGINE_DATABASE_URL": database.api_url,
        "LEDGERX_KAFKA": kafka_server.bootstrap,
        "LEDGERX_CHECKPOINT_KEYS": str(tmp_path / "checkpoint-keys.json"),
        "LEDGERX_CHECKPOINT_INTERVAL_S": "1",
    }
    write_new_keyset(tmp_path / "checkpoint-keys.json")

    def start() -> Worker:
        workers.append(Worker(environment, tmp_path / f"{len(workers)}.log"))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine]:
    async with open_engine(database) as engine:
        yield engine


@pytest.fixture
async def producer(kafka_server: Kafka) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(bootstrap_servers=kafka_server.bootstrap) as producer:
        yield producer


async def deliver(producer: AIOKafkaProducer, journal: Journal, payloads: Iterable[bytes]) -> None:
    for payload in payloads:
        await producer.send(TOPIC_JOURNAL, payload, key=str(journal.tenant_id).encode())
    await producer.flush()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - no event crosses processes
        await asyncio.sleep(0.05)


def projected(database: Database, *journals: Journal) -> Callable[[], bool]:
    expected = ends(*journals).items()
    return lambda: expected <= heads(database).items()


async def test_a_worker_killed_within_a_transaction_repeats_and_misses_nothing(
    database: Database,
    engine: Engine,
    producer: AIOKafkaProducer,
    start_worker: Callable[[], Worker],
) -> None:
    journal = await new_journal(database, engine)
    worker = start_worker()
    for _ in range(5):
        await journal.post(20)
    await deliver(producer, journal, journal.payloads())
    await until(projected(database, journal))
    for _ in range(5):
        await journal.post(20)

    with psycopg.connect(database.admin_url, autocommit=True) as connection, connection.transaction():
        connection.execute("SELECT FROM ledgerx.projections FOR UPDATE")
        await deliver(producer, journal, journal.payloads()[6:])
        await until(lambda: connection.execute(_WAITING_WRITES).fetchall() != [(0,)])
        worker.kill()
    worker = start_worker()
    await until(projected(database, journal))

    assert_projected(database, journal)
    assert worker.terminate() == 0


async def test_another_worker_takes_over_from_one_that_is_killed(
    database: Database,
    engine: Engine,
    producer: AIOKafkaProducer,
    start_worker: Callable[[], Worker],
) -> None:
    journals = [await new_journal(database, engine) for _ in range(6)]
    workers = [start_worker(), start_worker()]
    await until(lambda: [len(worker.partitions()) for worker in workers] == [2, 2])
    for journal in journals:
        for _ in range(10):
            await journal.post(5)
        await deliver(producer, journal, journal.payloads())

    await until(lambda: len(heads(database)) > 0)
    workers[0].kill()
    for journal in journals:
        await journal.post(5)
        await deliver(producer, journal, journal.payloads()[-1:])
    await until(projected(database, *journals))

    assert_projected(database, *journals)
    assert workers[1].terminate() == 0


async def test_poison_goes_to_the_dead_letters_and_stops_nobody(
    database: Database,
    engine: Engine,
    kafka_server: Kafka,
    producer: AIOKafkaProducer,
    start_worker: Callable[[], Worker],
) -> None:
    journal, other = await new_journal(database, engine), await new_journal(database, engine)
    await journal.post(2)
    await journal.post(3)
    intact = journal.payloads()
    unusable_amount = intact[1].replace(b'"amount":"', b'"amount":"poison', 1)
    wrong_range = intact[1].replace(b'"last":', b'"last":1', 1)
    poison = [b"not JSON", unusable_amount, wrong_range, intact[1][: len(intact[1]) // 2]]
    start_worker()

    await deliver(producer, journal, [intact[0], *poison, intact[2]])
    await deliver(producer, other, other.payloads())
    await until(projected(database, journal, other))

    assert_projected(database, journal, other)
    async with AIOKafkaConsumer(
        TOPIC_DEAD_LETTERS, bootstrap_servers=kafka_server.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        letters: list[tuple[bytes, str]] = []
        async for record in consumer:
            if record.key == str(journal.tenant_id).encode():
                headers = dict(record.headers)
                assert headers["reason"]
                assert headers["topic"] == TOPIC_JOURNAL.encode()
                letters.append((record.value, headers["projection"].decode()))
            if len(letters) == len(poison) * len(PROJECTIONS):
                break
    assert sorted(letters) == sorted((value, one.name) for value in poison for one in PROJECTIONS)


async def test_a_worker_expires_due_holds(
    database: Database, engine: Engine, start_worker: Callable[[], Worker]
) -> None:
    journal = await new_journal(database, engine)
    await journal.hold(expires_in_s=0.5)
    worker = start_worker()
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        kinds = "SELECT kind FROM ledgerx.entries WHERE tenant_id = %s ORDER BY seq DESC LIMIT 2"
        await until(lambda: connection.execute(kinds, (journal.tenant_id,)).fetchall() == [("expire",), ("hold",)])
    assert worker.terminate() == 0


async def test_a_worker_signs_checkpoints_takes_snapshots_and_tells_what_is_wrong_with_stored_entries(
    database: Database, engine: Engine, producer: AIOKafkaProducer, start_worker: Callable[[], Worker]
) -> None:
    journal = await new_journal(database, engine)
    worker = start_worker()
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE ledgerx.snapshot_schedules SET boundary = clock_timestamp()")
        await journal.post(5)
        connection.execute("UPDATE ledgerx.entries SET actor = 'you' WHERE seq = 8")
        await deliver(producer, journal, journal.payloads())
        told = """
            SELECT (SELECT max(size) FROM ledgerx.checkpoints), (SELECT max(seq) FROM ledgerx.snapshots),
                (SELECT min(seq) FROM ledgerx.findings)
        """
        await until(lambda: connection.execute(told).fetchall() == [(journal.last, 6, 8)])
    assert worker.terminate() == 0
