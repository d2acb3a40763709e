"""The topics that the Faust app needs before it starts: the journal's is waited for, the dead letters' is made."""

import asyncio

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, NoError, TopicAlreadyExistsError, for_code

from ledgerx.events import TOPIC_JOURNAL
from ledgerx_streams.kafka_access import KafkaAccess

# The Faust app's name and the consumer group of its workers.
GROUP = "ledgerx-streams"
TOPIC_DEAD_LETTERS = "ledgerx.dead_letters"
# The largest message that Kafka takes by default has to find room with the reason in its headers.
DEAD_LETTER_MAX_BYTES = 2 * 1024 * 1024

_POLL_S = 0.5

_log = structlog.get_logger()


async def prepare(kafka: KafkaAccess) -> None:
    """Wait for the broker and the journal topic, and make the topic of the dead letters. Raises `KafkaError`."""
    admin = await _connect(kafka)
    try:
        while (replicas := await _journal_replicas(admin)) == 0:
            _log.warning("waiting for topic", topic=TOPIC_JOURNAL)
            await asyncio.sleep(_POLL_S)
        limit = {"max.message.bytes": str(DEAD_LETTER_MAX_BYTES)}
        response = await admin.create_topics([NewTopic(TOPIC_DEAD_LETTERS, 1, replicas, topic_configs=limit)])
    finally:
        await admin.close()
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


async def _journal_replicas(admin: AIOKafkaAdminClient) -> int:
    """How many replicas the journal topic has; 0 while it is not there."""
    [topic] = await admin.describe_topics([TOPIC_JOURNAL])
    return max((len(partition["replicas"]) for partition in topic["partitions"]), default=0)
