"""Several relays for one database: one is active."""

import asyncio
import signal
from uuid import uuid4

from ledgerx_cli.embedded.kafka import Kafka
from tests.integration.relaying import Connection, MakeRelay, delivered, eventually, first_deliveries, record_entries


async def test_a_standby_waits_and_takes_over(relays: MakeRelay, admin: Connection, kafka_server: Kafka) -> None:
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
    relays: MakeRelay, admin: Connection, kafka_server: Kafka
) -> None:
    tenant = uuid4()
    await record_entries(admin, tenant, range(1, 61))
    pair = [relays(max_records=1), relays(max_records=1)]
    await asyncio.gather(*(relay.start() for relay in pair))
    assert await delivered(kafka_server, tenant, last=60) == list(range(1, 61))

    async def settled() -> bool:
        return [await relay.get("/readyz") for relay in pair] == [(200, "ok\n")] * 2

    await eventually(settled)
    assert sum([await relay.metric("snapshots_total") for relay in pair]) == 1
