"""Workers as processes, on a real Kafka and a real database, killed at bad moments."""

import asyncio
import os
import secrets
import signal
from pathlib import Path

import aiohttp
import psycopg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from ledgerx.engine import Engine
from ledgerx.events import TOPIC_JOURNAL
from ledgerx.keys import write_new_keyset
from ledgerx.logins import ROLES, Database, set_passwords
from ledgerx.migrate import migrate
from ledgerx_cli.embedded.kafka import Kafka
from ledgerx_cli.embedded.postgres import Postgres, accepts_connections
from ledgerx_cli.ports import free_port
from ledgerx_cli.supervisor import Supervisor
from ledgerx_streams.catalog import NAMES
from ledgerx_streams.kafka_access import KafkaAccess, KafkaSettings
from ledgerx_streams.status import read_partitions
from ledgerx_streams.topics import TOPIC_DEAD_LETTERS
from tests.integration.journals import assert_projected, heads, new_journal, open_engine
from tests.integration.relaying import eventually
from tests.integration.worker_process import StartWorker, deliver, projected, until

_WAITING_WRITES = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'ledgerx-streams' AND wait_event_type = 'Lock'
"""


async def test_a_worker_killed_within_a_transaction_repeats_and_misses_nothing(
    database: Database,
    engine: Engine,
    producer: AIOKafkaProducer,
    start_worker: StartWorker,
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
    start_worker: StartWorker,
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


async def test_what_is_acknowledged_to_kafka_survives_a_crash_of_the_database(
    servers_directory: Path, kafka_server: Kafka, producer: AIOKafkaProducer, start_worker: StartWorker
) -> None:
    """A tenant that records nothing more gets no message that shows a gap."""
    directory = servers_directory / "crashing"
    directory.mkdir()
    server = Postgres(directory=directory / "postgres", password=secrets.token_urlsafe(16))
    server.initialise()
    supervisor = Supervisor(run=directory, logs=directory, report=lambda _event: None)
    await supervisor.start(server.part())
    database = await asyncio.to_thread(migrated, server)
    async with open_engine(database) as engine:
        journal = await new_journal(database, engine)
        await journal.post(5)
    urls = {"LEDGERX_DATABASE_URL": database.streams_url, "LEDGERX_ENGINE_DATABASE_URL": database.api_url}
    worker = start_worker(**urls)
    await deliver(producer, journal, journal.payloads())
    await until(projected(database, journal))
    access = KafkaAccess(KafkaSettings(kafka=kafka_server.bootstrap))

    async def acknowledged() -> bool:
        return not any(partition.lag for partition in await read_partitions(access))

    await eventually(acknowledged)
    worker.kill()
    os.kill(supervisor.pids["postgres"], signal.SIGKILL)
    await eventually(lambda: accepts_connections(server.url()))

    assert_projected(database, journal)
    await supervisor.stop()


def migrated(server: Postgres) -> Database:
    """A database on a server that brings its log to the disk late, but for whoever waits for that."""
    server.create_database("ledgerx")
    migrate(server.url("ledgerx"))
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
        connection.execute("SELECT pg_reload_conf()")
    return set_passwords(server.url("ledgerx"), {role: secrets.token_urlsafe(16) for role in ROLES})


async def test_poison_goes_to_the_dead_letters_and_stops_nobody(
    database: Database,
    engine: Engine,
    kafka_server: Kafka,
    producer: AIOKafkaProducer,
    start_worker: StartWorker,
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
            if len(letters) == len(poison) * len(NAMES):
                break
    assert sorted(letters) == sorted((value, name) for value in poison for name in NAMES)


async def test_a_worker_expires_due_holds(database: Database, engine: Engine, start_worker: StartWorker) -> None:
    journal = await new_journal(database, engine)
    await journal.hold(expires_in_s=0.5)
    worker = start_worker()
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        kinds = "SELECT kind FROM ledgerx.entries WHERE tenant_id = %s ORDER BY seq DESC LIMIT 2"
        await until(lambda: connection.execute(kinds, (journal.tenant_id,)).fetchall() == [("expire",), ("hold",)])
    assert worker.terminate() == 0


async def test_what_is_not_applied_yet_is_lag(
    database: Database,
    engine: Engine,
    producer: AIOKafkaProducer,
    start_worker: StartWorker,
) -> None:
    port = free_port()
    worker = start_worker(LEDGERX_MANAGEMENT_PORT=str(port))
    journal = await new_journal(database, engine)
    await journal.post(1)
    await deliver(producer, journal, journal.payloads())
    await until(projected(database, journal))
    for _ in range(3):
        await journal.post(1)

    async def lag() -> float:
        """The messages that no projection has; -1 while that is not known."""
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            text = await answer.text()
        found = [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "ledgerx_streams_lag_messages"
        ]
        assert "ledgerx_projection_freshness_seconds_bucket" in text
        return sum(found) if found else -1

    async def becomes(expected: float) -> None:
        async def is_expected() -> bool:
            return await lag() == expected

        await eventually(is_expected)

    with psycopg.connect(database.admin_url, autocommit=True) as connection, connection.transaction():
        connection.execute("SELECT FROM ledgerx.projections FOR UPDATE")
        await deliver(producer, journal, journal.payloads()[2:])
        await becomes(3)
    await becomes(0)
    assert worker.terminate() == 0


async def test_a_worker_signs_checkpoints_takes_snapshots_and_tells_what_is_wrong_with_stored_entries(
    database: Database, engine: Engine, producer: AIOKafkaProducer, start_worker: StartWorker, tmp_path: Path
) -> None:
    journal = await new_journal(database, engine)
    keys = tmp_path / "checkpoint-keys.json"
    write_new_keyset(keys)
    worker = start_worker(LEDGERX_CHECKPOINT_KEYS=str(keys), LEDGERX_CHECKPOINT_INTERVAL_S="1")
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
