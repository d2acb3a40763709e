"""The topics that the Faust app needs before it starts: the journal's is waited for, the others are made."""

import asyncio
from collections.abc import Sequence

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, NoError, TopicAlreadyExistsError, for_code

from ledgerx.events import TOPIC_JOURNAL
from ledgerx.exports import TOPIC_EXPORTS
from ledgerx_streams.kafka_access import KafkaAccess

# The Faust app's name and the consumer group of its workers.
GROUP = "ledgerx-streams"
TOPIC_DEAD_LETTERS = "ledgerx.dead_letters"
TOPIC_ENTRIES = "ledgerx.entries"
# What Kafka takes by default has to find room as an event, or with the reason of its death in the headers.
MESSAGE_MAX_BYTES = 2 * 1024 * 1024

_POLL_S = 0.5

_log = structlog.get_logger()


async def prepare(kafka: KafkaAccess) -> None:
    """Wait for the broker and the journal topic, and make those of entries, exports and dead letters.

    Raises `KafkaError`.
    """
    admin = await _connect(kafka)
    try:
        while not (partitions := await _journal_partitions(admin)):
            _log.warning("waiting for topic", topic=TOPIC_JOURNAL)
            await asyncio.sleep(_POLL_S)
        replicas = max(partitions)
        limit = {"max.message.bytes": str(MESSAGE_MAX_BYTES)}
        await make_missing(
            admin,
            [
                NewTopic(TOPIC_DEAD_LETTERS, 1, replicas, topic_configs=limit),
                NewTopic(TOPIC_EXPORTS, 1, replicas),
                NewTopic(TOPIC_ENTRIES, len(partitions), replicas, topic_configs=limit),
            ],
        )
    finally:
        await admin.close()


async def make_missing(admin: AIOKafkaAdminClient, wanted: Sequence[NewTopic]) -> None:
    """Make those topics that are not there; who may make none needs to find them all. Raises `KafkaError`."""
    known = set(await admin.list_topics())
    missing = [topic for topic in wanted if topic.name not in known]
    if not missing:
        return
    response = await admin.create_topics(missing)
    for topic, code, message in response.topic_errors:
        error = for_code(code)
        if error not in {NoError, TopicAlreadyExistsError}:
            raise error(f"{topic}: {message}")


async def _connect(kafka: KafkaAccess) -> AIOKafkaAdminClient:
    while True:
        admin = AIOKafkaAdminClient(**kafka.aiokafka())
        try:
            await admin.start()
        except KafkaConnectionError as error:
            _log.warning("waiting for Kafka", reason=str(error))
            await asyncio.sleep(_POLL_S)
        else:
            return admin


async def _journal_partitions(admin: AIOKafkaAdminClient) -> list[int]:
    """How many replicas each partition of the journal topic has; none while it is not there."""
    [topic] = await admin.describe_topics([TOPIC_JOURNAL])
    return [len(partition["replicas"]) for partition in topic["partitions"]]
