"""Several relays for one database: one is active."""

import asyncio
import signal
from uuid import uuid4

import psycopg
import pytest

from ledgerx.logins import Database
from ledgerx_cli.embedded.kafka import Kafka
from tests.integration.relaying import Connection, MakeRelay, delivered, eventually, first_deliveries, record_entries


# A process that is killed lets its connections go. One that hangs, or whose machine is gone, keeps them.
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "gone silent"])
async def test_a_standby_takes_over_within_ten_seconds_and_nothing_is_lost(
    end: signal.Signals, relays: MakeRelay, superuser: Connection, database: Database, kafka_server: Kafka
) -> None:
    tenant, rows = uuid4(), 1_000
    active, standby = relays(max_records=20), relays(max_records=20)
    await active.stream()
    await standby.start()
    await standby.enters("standby")
    assert await standby.get("/readyz") == (200, "ok\n")

    async def write() -> None:
        async with await psycopg.AsyncConnection.connect(database.admin_url, autocommit=True) as connection:
            await record_entries(connection, tenant, range(1, rows + 1))

    writing = asyncio.create_task(write())
    await active.above("rows_total", 100)
    async with asyncio.timeout(10):
        active.send(end)
        await standby.enters("streaming")
    await writing
    assert first_deliveries(await delivered(kafka_server, tenant, last=rows)) == list(range(1, rows + 1))
    assert await standby.metric("snapshots_total") == 0
    if end == signal.SIGSTOP:
        active.send(signal.SIGCONT)
        await active.enters("standby")
        await record_entries(superuser, tenant, [rows + 1])
        assert first_deliveries(await delivered(kafka_server, tenant, last=rows + 1)) == list(range(1, rows + 2))


async def test_of_two_that_start_at_once_one_takes_the_snapshot(
    relays: MakeRelay, superuser: Connection, kafka_server: Kafka
) -> None:
    tenant = uuid4()
    await record_entries(superuser, tenant, range(1, 61))
    pair = [relays(max_records=1), relays(max_records=1)]
    await asyncio.gather(*(relay.start() for relay in pair))
    assert await delivered(kafka_server, tenant, last=60) == list(range(1, 61))

    async def settled() -> bool:
        return [await relay.get("/readyz") for relay in pair] == [(200, "ok\n")] * 2

    await eventually(settled)
    assert sum([await relay.metric("snapshots_total") for relay in pair]) == 1
