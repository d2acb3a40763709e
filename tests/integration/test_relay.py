"""The relay between a real PostgreSQL and a real Kafka, while all goes well."""

import signal
from typing import Any
from uuid import uuid4

from psycopg import sql

from ledgerx_cli.embedded.kafka import Kafka
from tests.integration import recording
from tests.integration.relaying import (
    Connection,
    MakeRelay,
    confirms,
    consume,
    delivered,
    eventually,
    record_entries,
    value,
)


async def test_recorded_rows_give_the_recorded_messages(
    relays: MakeRelay, superuser: Connection, kafka_server: Kafka
) -> None:
    await recording.make_topics(kafka_server)
    first, second, last, exported = recording.MESSAGES
    await recording.insert_row(superuser, first)
    relay = relays()
    await relay.stream()
    async with superuser.transaction():
        await recording.insert_row(superuser, second)
        await recording.insert_row(superuser, exported)
    await recording.insert_row(superuser, last)

    def ours(records: list[Any]) -> list[Any]:
        return [record for record in records if not recording.is_of_debezium(record)]

    records = await consume(
        kafka_server, recording.TOPICS, recording.KEYS, lambda records: len(ours(records)) == len(recording.MESSAGES)
    )
    for topic in recording.TOPICS:
        assert [recording.parts(record) for record in ours(records) if record.topic == topic] == recording.recorded(
            topic
        )


async def test_snapshot_first_in_order_of_recording_then_the_stream(
    relays: MakeRelay, superuser: Connection, kafka_server: Kafka
) -> None:
    tenant, other = uuid4(), uuid4()
    await record_entries(superuser, tenant, [3, 1, 2])
    await record_entries(superuser, other, [2, 1])
    relay = relays()
    await relay.stream()
    await record_entries(superuser, tenant, [4, 5])
    await record_entries(superuser, other, [3])

    assert await delivered(kafka_server, tenant, last=5) == [1, 2, 3, 4, 5]
    assert await delivered(kafka_server, other, last=3) == [1, 2, 3]
    assert await relay.metric("snapshots_total") == 1
    assert await relay.get("/readyz") == (200, "ok\n")


async def test_a_clean_stop_leaves_nothing_to_repeat(
    relays: MakeRelay, superuser: Connection, kafka_server: Kafka
) -> None:
    tenant = uuid4()
    relay = relays()
    await relay.stream()
    await record_entries(superuser, tenant, range(1, 11))
    await delivered(kafka_server, tenant, last=10)
    assert await relay.end(signal.SIGTERM) == 0

    await record_entries(superuser, tenant, [11])
    await relay.start()
    assert await delivered(kafka_server, tenant, last=11) == list(range(1, 12))


async def test_an_idle_database_moves_the_slot(relays: MakeRelay, superuser: Connection) -> None:
    relay = relays()
    await relay.stream()
    await superuser.execute("CREATE TABLE unrelated AS SELECT generate_series(1, 1000)")
    await confirms(superuser, await value(superuser, "SELECT pg_current_wal_lsn()"))
    assert await relay.metric("rows_total") == 0


async def test_partitions_are_made_ahead(relays: MakeRelay, superuser: Connection) -> None:
    async def partitions() -> list[str]:
        cursor = await superuser.execute(
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid"
            " WHERE inhparent = 'ledgerx.outbox'::regclass ORDER BY relname"
        )
        return [name for (name,) in await cursor.fetchall()]

    made = await partitions()
    await superuser.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("ledgerx", made[-1])))
    relay = relays()
    await relay.start()

    async def complete() -> bool:
        return await partitions() == made

    await eventually(complete)
