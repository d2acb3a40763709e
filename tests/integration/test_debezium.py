"""Debezium in the relay's place: the same messages, and so the same of everything behind them."""

from pathlib import Path
from typing import Any

import pytest

from ledgerx.logins import Database
from ledgerx_cli.embedded.kafka import Kafka
from tests.integration import recording
from tests.integration.debezium_process import HEARTBEATS, debezium
from tests.integration.journals import assert_projected, new_journal, open_engine
from tests.integration.relaying import JOURNAL, Connection, MakeRelay, consume
from tests.integration.worker_process import StartWorker, projected, until


# The first run fetches Kafka Connect and writes the class archive of its JVM.
@pytest.mark.timeout(400)
async def test_debezium_takes_the_relays_place(
    database: Database,
    superuser: Connection,
    kafka_server: Kafka,
    relays: MakeRelay,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    await recording.make_topics(kafka_server, HEARTBEATS)
    async with open_engine(database) as engine:
        journals = [await new_journal(database, engine) for _ in range(3)]

        async def write() -> None:
            for journal in journals:
                await journal.post(7)
                await journal.hold(expires_in_s=3600)
                await journal.amend(7, "moved")

        await write()
        worker = start_worker()
        async with debezium(database.relay_url, kafka_server, tmp_path):
            # Of the snapshot and of the stream.
            await until(projected(database, *journals))
            await write()
            await until(projected(database, *journals))
            assert_projected(database, *journals)

            relay = relays(slot="relay")
            await relay.stream()
            await write()
            keys = {str(journal.tenant_id).encode() for journal in journals}
            rows = sum(len(journal.payloads()) for journal in journals)
            records = await consume(kafka_server, [JOURNAL], keys, lambda records: len(records) == 2 * rows)
            for key in keys:
                theirs, ours = _by_origin([record for record in records if record.key == key])
                assert theirs == ours
            await until(projected(database, *journals))
            assert_projected(database, *journals)
            await relay.end()

            for message in recording.MESSAGES:
                await recording.insert_row(superuser, message)

            records = await consume(
                kafka_server,
                recording.TOPICS,
                recording.KEYS,
                lambda records: len(_by_origin(records)[0]) == len(recording.MESSAGES),
            )
            for topic in recording.TOPICS:
                theirs, _ = _by_origin([record for record in records if record.topic == topic])
                assert theirs == recording.recorded(topic)
    assert worker.terminate() == 0


def _by_origin(records: list[Any]) -> tuple[list[recording.Parts], list[recording.Parts]]:
    """Debezium's and the relay's messages."""
    origins: dict[bool, list[recording.Parts]] = {True: [], False: []}
    for record in records:
        origins[recording.is_of_debezium(record)].append(recording.parts(record))
    return origins[True], origins[False]
