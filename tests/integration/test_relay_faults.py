"""The relay when servers and processes fail."""

import asyncio
import signal
from uuid import UUID, uuid4

import psutil
import psycopg

from ledgerx.logins import Database
from ledgerx_cli.embedded.kafka import Kafka
from ledgerx_cli.supervisor import Supervisor
from tests.integration.relaying import (
    Connection,
    MakeRelay,
    confirms,
    delivered,
    eventually,
    first_deliveries,
    has_confirmed,
    record_entries,
    stopped,
    value,
)


async def test_kill_in_the_middle_of_the_snapshot_loses_nothing(
    relays: MakeRelay, superuser: Connection, kafka_server: Kafka
) -> None:
    tenant, rows = uuid4(), 1_000
    await superuser.execute(
        "INSERT INTO ledgerx.outbox (id, tenant_id, aggregatetype, aggregateid, type, payload, first_seq, last_seq)"
        " SELECT uuidv7(), %(tenant)s, 'journal', %(tenant)s::text, 'entries.recorded', '{}', seq, seq"
        " FROM generate_series(1, %(rows)s) AS seq",
        {"tenant": tenant, "rows": rows},
    )
    slow = relays(max_records=1)
    await slow.start()
    await slow.above("rows_total", 50)
    await slow.end(signal.SIGKILL)
    assert await value(superuser, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'ledgerx'") == 0
    await record_entries(superuser, tenant, [rows + 1])

    relay = relays()
    await relay.start()
    seqs = await delivered(kafka_server, tenant, last=rows + 1)
    assert first_deliveries(seqs) == list(range(1, rows + 2))
    assert len(seqs) > rows + 1


async def test_kills_in_the_middle_of_the_stream_lose_nothing(
    relays: MakeRelay, superuser: Connection, database: Database, kafka_server: Kafka
) -> None:
    tenants, rows = [uuid4(), uuid4()], 600

    async def write(tenant: UUID) -> None:
        async with await psycopg.AsyncConnection.connect(database.admin_url, autocommit=True) as connection:
            await record_entries(connection, tenant, range(1, rows + 1), payload="x" * 2_000)

    relay = relays(max_records=20)
    await relay.stream()
    async with asyncio.TaskGroup() as writers:
        for tenant in tenants:
            writers.create_task(write(tenant))
        for _ in range(3):
            await relay.above("rows_total", 50)
            await relay.end(signal.SIGKILL)
            await relay.start()
    for tenant in tenants:
        assert first_deliveries(await delivered(kafka_server, tenant, last=rows)) == list(range(1, rows + 1))


async def test_cut_connections_lose_nothing(relays: MakeRelay, superuser: Connection, kafka_server: Kafka) -> None:
    tenant = uuid4()
    relay = relays()
    await relay.stream()
    await record_entries(superuser, tenant, range(1, 101))
    await superuser.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ledgerx_relay'")
    await record_entries(superuser, tenant, range(101, 201))

    assert first_deliveries(await delivered(kafka_server, tenant, last=200)) == list(range(1, 201))
    assert await relay.metric("reconnects_total") >= 1
    assert await relay.metric("snapshots_total") == 1


async def test_a_slot_that_vanished_is_a_loss_too(
    relays: MakeRelay, superuser: Connection, kafka_server: Kafka
) -> None:
    tenant = uuid4()
    relay = relays()
    await relay.stream()
    await confirms(superuser, await record_entries(superuser, tenant, [1]))
    # As after a failover to a standby that has no such slot.
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(relay.above("lost_slots_total", 0))
        while not await dropped(superuser):
            await superuser.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
    await record_entries(superuser, tenant, [2])
    seqs = await delivered(kafka_server, tenant, last=2)
    assert first_deliveries(seqs) == [1, 2]
    assert "slot lost" in relay.log.read_text()
    assert await relay.metric("lost_slot_timestamp_seconds") > 0


async def dropped(superuser: Connection) -> bool:
    """Drop the slot, unless a relay holds it."""
    try:
        await superuser.execute("SELECT pg_drop_replication_slot('ledgerx')")
    except psycopg.errors.ObjectInUse:
        return False
    return True


async def test_a_lost_slot_is_made_anew_with_a_snapshot(
    relays: MakeRelay, superuser: Connection, kafka_server: Kafka
) -> None:
    tenant = uuid4()
    relay = relays()
    await relay.stream()
    await relay.end(signal.SIGTERM)
    await record_entries(superuser, tenant, range(1, 6))

    async def lost() -> bool:
        await superuser.execute("CHECKPOINT")
        return bool(
            await value(superuser, "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'ledgerx'") == "lost"
        )

    await superuser.execute("ALTER SYSTEM SET idle_replication_slot_timeout = '1s'")
    try:
        await superuser.execute("SELECT pg_reload_conf()")
        await eventually(lost)
    finally:
        await superuser.execute("ALTER SYSTEM RESET idle_replication_slot_timeout")
        await superuser.execute("SELECT pg_reload_conf()")

    await relay.start()
    assert await delivered(kafka_server, tenant, last=5) == [1, 2, 3, 4, 5]
    await relay.enters("streaming")
    assert await relay.metric("lost_slots_total") == 1
    assert await relay.metric("snapshots_total") == 1
    assert "slot lost" in relay.log.read_text()


async def test_nothing_is_confirmed_that_the_broker_has_not_acknowledged(
    relays: MakeRelay,
    superuser: Connection,
    kafka_server: Kafka,
    supervisor: tuple[Supervisor, asyncio.Runner],
) -> None:
    tenant = uuid4()
    broker = supervisor[0].pids["kafka"]
    relay = relays()
    await relay.stream()
    await confirms(superuser, await record_entries(superuser, tenant, [1]))

    with stopped(broker):
        after = await record_entries(superuser, tenant, [2])
        # Several rounds of confirmation have gone by then.
        await relay.above("lag_seconds", 4)
        assert await relay.metric("in_flight_records") == 1
        assert not await has_confirmed(superuser, after)
    await confirms(superuser, after)
    assert await delivered(kafka_server, tenant, last=2) == [1, 2]


async def test_memory_is_bounded_while_the_broker_is_away_and_rows_pour_in(
    relays: MakeRelay,
    superuser: Connection,
    kafka_server: Kafka,
    supervisor: tuple[Supervisor, asyncio.Runner],
) -> None:
    tenant, rows, row_bytes, window_bytes = uuid4(), 600, 300_000, 2_000_000
    broker = supervisor[0].pids["kafka"]
    relay = relays(max_bytes=window_bytes)
    await relay.stream()
    await confirms(superuser, await record_entries(superuser, tenant, [1]))
    assert relay.process is not None
    memory = psutil.Process(relay.process.pid).memory_info
    before = memory().rss

    with stopped(broker):
        await superuser.execute(
            "INSERT INTO ledgerx.outbox (id, tenant_id, aggregatetype, aggregateid, type, payload, first_seq, last_seq)"
            " SELECT uuidv7(), %(tenant)s, 'journal', %(tenant)s::text, 'entries.recorded', repeat('x', %(bytes)s),"
            " seq, seq FROM generate_series(2, %(rows)s) AS seq",
            {"tenant": tenant, "bytes": row_bytes, "rows": rows},
        )
        await relay.above("in_flight_bytes", window_bytes - 1)
        await relay.above("lag_seconds", 4)
        assert await relay.metric("in_flight_bytes") < window_bytes + row_bytes + 100
        assert await relay.metric("lag_bytes") > 0
        # A sixth of what waits in the database.
        assert memory().rss - before < rows * row_bytes / 6
    assert first_deliveries(await delivered(kafka_server, tenant, last=rows)) == list(range(1, rows + 1))
    assert memory().rss - before < rows * row_bytes / 6
