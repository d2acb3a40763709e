"""The messages that were recorded from a real Debezium, and the rows that they stand for."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiokafka import ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ledgerx_cli.embedded.kafka import Kafka
from tests.integration.relaying import JOURNAL, Connection

_RECORDING = json.loads((Path(__file__).parents[1] / "data" / "debezium_outbox.json").read_text())
CONNECTOR: dict[str, str] = _RECORDING["connector"]
MESSAGES: list[dict[str, Any]] = _RECORDING["messages"]
TOPICS: list[str] = list(dict.fromkeys(message["topic"] for message in MESSAGES))
KEYS: set[bytes] = {message["key"].encode() for message in MESSAGES}

Parts = tuple[bytes, bytes, list[tuple[str, bytes | None]]]
_OF_DEBEZIUM = "__debezium.context."


async def make_topics(kafka: Kafka, *further: str) -> None:
    """Make the topics of the recording, and `further` ones."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1) for topic in (*TOPICS, *further) if topic != JOURNAL])
    await admin.close()


async def insert_row(admin: Connection, message: dict[str, Any]) -> None:
    """Put the row of a recorded message into the outbox."""
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


def is_of_debezium(record: ConsumerRecord) -> bool:
    """Whether a message is Debezium's and not the relay's."""
    return any(name.startswith(_OF_DEBEZIUM) for name, _ in record.headers)


def parts(record: ConsumerRecord) -> Parts:
    """Key, value and headers, but for those that only Debezium writes."""
    return record.key, record.value, [header for header in record.headers if not header[0].startswith(_OF_DEBEZIUM)]


def recorded(topic: str) -> Sequence[Parts]:
    """What was recorded of `topic`."""
    return [
        (
            message["key"].encode(),
            message["value"].encode(),
            [
                (name, None if text is None else text.encode())
                for name, text in message["headers"]
                if not name.startswith(_OF_DEBEZIUM)
            ],
        )
        for message in MESSAGES
        if message["topic"] == topic
    ]
