"""The relay as a process of its own between a real PostgreSQL and a real Kafka."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import aiohttp
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql

from ledgerx_cli.embedded.kafka import Kafka
from ledgerx_cli.ports import free_port
from ledgerx_cli.roles import Database
from ledgerx_cli.supervisor import Supervisor

JOURNAL = "ledgerx.events.journal"
RECORDING = Path(__file__).parents[1] / "data" / "debezium_outbox.json"
PROGRAM = "import sys; from ledgerx_streams.relay import main; sys.exit(main())"

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until `holds`; the test's own time limit ends a wait in vain."""
    while not await holds():  # noqa: ASYNC110 - other processes set no event
        await asyncio.sleep(0.05)


class RelayProcess:
    """A relay that a test starts, watches through its management endpoint, and ends or kills."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self.log = log
        self._environment = environment | {"LEDGERX_MANAGEMENT_PORT": str(self.port)}
        self.process: Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROGRAM, env=os.environ | self._environment, stderr=output
            )

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        process, self.process = self.process, None
        assert process is not None
        process.send_signal(number)
        return await process.wait()

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of an endpoint; 0 while nobody listens."""
        assert self.process is not None
        assert self.process.returncode is None, self.log.read_text()
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port}{path}") as response,
            ):
                return response.status, await response.text()
        except aiohttp.ClientConnectionError:
            return 0, ""

    async def metric(self, name: str, **labels: str) -> float:
        _, text = await self.get("/metrics")
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == f"ledgerx_relay_{name}" and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return 0

    async def enters(self, state: str) -> None:
        async def entered() -> bool:
            return await self.metric("state", ledgerx_relay_state=state) == 1

        await eventually(entered)

    async def above(self, name: str, value: float) -> None:
        async def is_above() -> bool:
            return await self.metric(name) > value

        await eventually(is_above)


@pytest.fixture
async def relays(database: Database, kafka_server: Kafka, tmp_path: Path) -> AsyncIterator[Callable[..., RelayProcess]]:
    """Makes relays of this test's database; settings are given as keywords (`max_records=1`)."""
    made: list[RelayProcess] = []

    def make(**settings: float) -> RelayProcess:
        environment = {
            "LEDGERX_DATABASE_URL": database.relay_url,
            "LEDGERX_KAFKA": kafka_server.bootstrap,
            "LEDGERX_RELAY_HEARTBEAT_S": "0.2",
        }
        environment |= {f"LEDGERX_RELAY_{name.upper()}": str(value) for name, value in settings.items()}
        made.append(RelayProcess(environment, tmp_path / f"relay{len(made)}.log"))
        return made[-1]

    yield make
    for relay in made:
        if relay.process is not None and relay.process.returncode is None:
            await relay.end(signal.SIGKILL)


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database.admin_url, autocommit=True) as connection:
        yield connection


async def value(admin: Connection, query: LiteralString) -> Any:
    cursor = await admin.execute(query)
    [(found,)] = await cursor.fetchall()
    return found


async def has_confirmed(admin: Connection, position: str) -> bool:
    cursor = await admin.execute(
        "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = 'ledgerx'", (position,)
    )
    return await cursor.fetchall() == [(True,)]


async def confirms(admin: Connection, position: str) -> None:
    """Wait until the slot has confirmed `position`."""
    await eventually(lambda: has_confirmed(admin, position))


async def record_entries(admin: Connection, tenant: UUID, seqs: Iterable[int], *, payload: str = "{}") -> str:
    """Put rows of the journal into the outbox, each in a transaction of its own; returns the log's position after."""
    async with admin.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO ledgerx.outbox (id, tenant_id, aggregatetype, aggregateid, type, payload, first_seq, last_seq)"
            " VALUES (%s, %s, 'journal', %s, 'entries.recorded', %s, %s, %s)",
            [(uuid4(), tenant, str(tenant), payload, seq, seq) for seq in seqs],
        )
    return str(await value(admin, "SELECT pg_current_wal_lsn()"))


async def consume(kafka: Kafka, topics: list[str], keys: set[bytes], enough: Callable[[list[Any]], bool]) -> list[Any]:
    """Read `topics` from the beginning until the records with one of `keys` are `enough`."""
    records: list[ConsumerRecord] = []
    async with AIOKafkaConsumer(
        *topics, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", group_id=None
    ) as consumer:
        while not enough(records):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                records += [record for record in batch if record.key in keys]
    return records


async def delivered(kafka: Kafka, tenant: UUID, last: int) -> list[int]:
    """The sequence numbers of a tenant's records in the order of the topic, read until `last` has come."""

    def seqs(records: list[Any]) -> list[int]:
        return [int(dict(record.headers)["firstSeq"]) for record in records]

    return seqs(await consume(kafka, [JOURNAL], {str(tenant).encode()}, lambda records: last in seqs(records)))


def first_deliveries(seqs: list[int]) -> list[int]:
    return list(dict.fromkeys(seqs))


async def test_recorded_rows_give_the_recorded_messages(
    relays: Callable[..., RelayProcess], admin: Connection, kafka_server: Kafka
) -> None:
    messages = json.loads(RECORDING.read_text())["messages"]
    topics = list(dict.fromkeys(message["topic"] for message in messages))
    kafka_admin = AIOKafkaAdminClient(bootstrap_servers=kafka_server.bootstrap)
    await kafka_admin.start()
    await kafka_admin.create_topics([NewTopic(topic, 1, 1) for topic in topics if topic != JOURNAL])
    await kafka_admin.close()

    async def insert(message: Any) -> None:
        headers = dict(message["headers"])
        await admin.execute(
            "INSERT INTO ledgerx.outbox (id, tenant_id, aggregatetype, aggregateid, type, payload, traceparent,"
            " first_seq, last_seq) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                headers["id"],
                headers["tenant"],
                message["topic"].removeprefix("ledgerx.events."),
                message["key"],
                headers["eventType"],
                message["value"],
                headers["traceparent"],
                headers["firstSeq"],
                headers["lastSeq"],
            ),
        )

    first, second, last, exported = messages
    await insert(first)
    relay = relays()
    await relay.start()
    await relay.enters("streaming")
    async with admin.transaction():
        await insert(second)
        await insert(exported)
    await insert(last)

    records = await consume(
        kafka_server, topics, {message["key"].encode() for message in messages}, lambda records: len(records) == 4
    )

    def parts(topic: str) -> list[Any]:
        return [(record.key, record.value, list(record.headers)) for record in records if record.topic == topic]

    for topic in topics:
        assert parts(topic) == [
            (
                message["key"].encode(),
                message["value"].encode(),
                [
                    (name, None if text is None else text.encode())
                    for name, text in message["headers"]
                    if not name.startswith("__debezium.context.")
                ],
            )
            for message in messages
            if message["topic"] == topic
        ]


async def test_snapshot_first_in_order_of_recording_then_the_stream(
    relays: Callable[..., RelayProcess], admin: Connection, kafka_server: Kafka
) -> None:
    tenant, other = uuid4(), uuid4()
    await record_entries(admin, tenant, [3, 1, 2])
    await record_entries(admin, other, [2, 1])
    relay = relays()
    await relay.start()
    await relay.enters("streaming")
    await record_entries(admin, tenant, [4, 5])
    await record_entries(admin, other, [3])

    assert await delivered(kafka_server, tenant, last=5) == [1, 2, 3, 4, 5]
    assert await delivered(kafka_server, other, last=3) == [1, 2, 3]
    assert await relay.metric("snapshots_total") == 1
    assert await relay.get("/readyz") == (200, "ok\n")


async def test_a_clean_stop_leaves_nothing_to_repeat(
    relays: Callable[..., RelayProcess], admin: Connection, kafka_server: Kafka
) -> None:
    tenant = uuid4()
    relay = relays()
    await relay.start()
    await relay.enters("streaming")
    await record_entries(admin, tenant, range(1, 11))
    await delivered(kafka_server, tenant, last=10)
    assert await relay.end(signal.SIGTERM) == 0

    await record_entries(admin, tenant, [11])
    await relay.start()
    assert await delivered(kafka_server, tenant, last=11) == list(range(1, 12))


async def test_kill_in_the_middle_of_the_snapshot_loses_nothing(
    relays: Callable[..., RelayProcess], admin: Connection, kafka_server: Kafka
) -> None:
    tenant, rows = uuid4(), 3_000
    await admin.execute(
        "INSERT INTO ledgerx.outbox (id, tenant_id, aggregatetype, aggregateid, type, payload, first_seq, last_seq)"
        " SELECT uuidv7(), %(tenant)s, 'journal', %(tenant)s::text, 'entries.recorded', '{}', seq, seq"
        " FROM generate_series(1, %(rows)s) AS seq",
        {"tenant": tenant, "rows": rows},
    )
    slow = relays(max_records=1)
    await slow.start()
    await slow.above("rows_total", 100)
    await slow.end(signal.SIGKILL)
    assert await value(admin, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'ledgerx'") == 0
    await record_entries(admin, tenant, [rows + 1])

    relay = relays()
    await relay.start()
    seqs = await delivered(kafka_server, tenant, last=rows + 1)
    assert first_deliveries(seqs) == list(range(1, rows + 2))
    assert len(seqs) > rows + 1


async def test_kills_in_the_middle_of_the_stream_lose_nothing(
    relays: Callable[..., RelayProcess], admin: Connection, database: Database, kafka_server: Kafka
) -> None:
    tenants, rows = [uuid4(), uuid4()], 1_500

    async def write(tenant: UUID) -> None:
        async with await psycopg.AsyncConnection.connect(database.admin_url, autocommit=True) as connection:
            await record_entries(connection, tenant, range(1, rows + 1), payload="x" * 2_000)

    relay = relays(max_records=20)
    await relay.start()
    await relay.enters("streaming")
    async with asyncio.TaskGroup() as writers:
        for tenant in tenants:
            writers.create_task(write(tenant))
        for _ in range(3):
            await relay.above("rows_total", 50)
            await relay.end(signal.SIGKILL)
            await relay.start()
    for tenant in tenants:
        assert first_deliveries(await delivered(kafka_server, tenant, last=rows)) == list(range(1, rows + 1))


async def test_cut_connections_lose_nothing(
    relays: Callable[..., RelayProcess], admin: Connection, kafka_server: Kafka
) -> None:
    tenant = uuid4()
    relay = relays()
    await relay.start()
    await relay.enters("streaming")
    await record_entries(admin, tenant, range(1, 101))
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ledgerx_relay'")
    await record_entries(admin, tenant, range(101, 201))

    assert first_deliveries(await delivered(kafka_server, tenant, last=200)) == list(range(1, 201))
    assert await relay.metric("reconnects_total") >= 1
    assert await relay.metric("snapshots_total") == 1


async def test_a_standby_waits_and_takes_over(
    relays: Callable[..., RelayProcess], admin: Connection, kafka_server: Kafka
) -> None:
    tenant = uuid4()
    active, standby = relays(), relays()
    await active.start()
    await active.enters("streaming")
    await standby.start()
    await standby.enters("standby")
    assert await standby.get("/readyz") == (200, "ok\n")
    await record_entries(admin, tenant, [1])
    await delivered(kafka_server, tenant, last=1)

    await active.end(signal.SIGKILL)
    await record_entries(admin, tenant, [2])
    await standby.enters("streaming")
    assert first_deliveries(await delivered(kafka_server, tenant, last=2)) == [1, 2]
    assert await standby.metric("snapshots_total") == 0


async def test_of_two_that_start_at_once_one_takes_the_snapshot(
    relays: Callable[..., RelayProcess], admin: Connection, kafka_server: Kafka
) -> None:
    tenant = uuid4()
    await record_entries(admin, tenant, range(1, 501))
    pair = [relays(max_records=1), relays(max_records=1)]
    await asyncio.gather(*(relay.start() for relay in pair))
    assert await delivered(kafka_server, tenant, last=500) == list(range(1, 501))

    async def settled() -> bool:
        return [await relay.get("/readyz") for relay in pair] == [(200, "ok\n")] * 2

    await eventually(settled)
    assert sum([await relay.metric("snapshots_total") for relay in pair]) == 1


async def test_nothing_is_confirmed_that_the_broker_has_not_acknowledged(
    relays: Callable[..., RelayProcess],
    admin: Connection,
    kafka_server: Kafka,
    supervisor: tuple[Supervisor, asyncio.Runner],
) -> None:
    tenant = uuid4()
    broker = supervisor[0].pids["kafka"]
    relay = relays()
    await relay.start()
    await relay.enters("streaming")
    await confirms(admin, await record_entries(admin, tenant, [1]))

    os.kill(broker, signal.SIGSTOP)
    try:
        after = await record_entries(admin, tenant, [2])
        # Several rounds of confirmation have gone by then.
        await relay.above("lag_seconds", 4)
        assert await relay.metric("in_flight_records") == 1
        assert not await has_confirmed(admin, after)
    finally:
        os.kill(broker, signal.SIGCONT)
    await confirms(admin, after)
    assert await delivered(kafka_server, tenant, last=2) == [1, 2]


async def test_an_idle_database_moves_the_slot(relays: Callable[..., RelayProcess], admin: Connection) -> None:
    relay = relays()
    await relay.start()
    await relay.enters("streaming")
    await admin.execute("CREATE TABLE unrelated AS SELECT generate_series(1, 1000)")
    await confirms(admin, await value(admin, "SELECT pg_current_wal_lsn()"))
    assert await relay.metric("rows_total") == 0


async def test_a_lost_slot_is_made_anew_with_a_snapshot(
    relays: Callable[..., RelayProcess], admin: Connection, kafka_server: Kafka
) -> None:
    tenant = uuid4()
    relay = relays()
    await relay.start()
    await relay.enters("streaming")
    await relay.end(signal.SIGTERM)
    await record_entries(admin, tenant, range(1, 6))

    async def lost() -> bool:
        await admin.execute("CHECKPOINT")
        return bool(
            await value(admin, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'ledgerx'") == "lost"
        )

    await admin.execute("ALTER SYSTEM SET idle_replication_slot_timeout = '1s'")
    try:
        await admin.execute("SELECT pg_reload_conf()")
        await eventually(lost)
    finally:
        await admin.execute("ALTER SYSTEM RESET idle_replication_slot_timeout")
        await admin.execute("SELECT pg_reload_conf()")

    await relay.start()
    assert await delivered(kafka_server, tenant, last=5) == [1, 2, 3, 4, 5]
    await relay.enters("streaming")
    assert await relay.metric("lost_slots_total") == 1
    assert await relay.metric("snapshots_total") == 1
    assert "slot lost" in relay.log.read_text()


async def test_partitions_are_made_ahead(relays: Callable[..., RelayProcess], admin: Connection) -> None:
    async def partitions() -> list[str]:
        cursor = await admin.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            " WHERE inhparent = 'ledgerx.outbox'::regclass ORDER BY relname"
        )
        return [name for (name,) in await cursor.fetchall()]

    made = await partitions()
    await admin.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("ledgerx", made[-1])))
    relay = relays()
    await relay.start()

    async def complete() -> bool:
        return await partitions() == made

    await eventually(complete)
