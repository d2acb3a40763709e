"""Messages that a projection could not take: what they are and why, and sending them again where they came from.

A message is done with once it was sent again or discarded: the offset that the group `GROUP` has committed says how far
that is. To send one again does no harm: projections pass over what they hold, and what still cannot be taken comes
back.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from ledgerx_streams.kafka_access import KafkaAccess
from ledgerx_streams.topics import MESSAGE_MAX_BYTES, TOPIC_DEAD_LETTERS

if TYPE_CHECKING:
    from faust.types.tuples import Message

GROUP = "ledgerx-dlq"
# What is added to the headers that the message came with.
_REASONS = ("projection", "reason", "topic", "partition", "offset")

_PARTITION = TopicPartition(TOPIC_DEAD_LETTERS, 0)
_POLL_MS = 1_000


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message that `projection` could not take. `offset` is its place in the journal's topic, `number` among these.

    `size_bytes` is that of its value.
    """

    number: int
    at: datetime
    projection: str
    reason: str
    topic: str
    partition: int
    offset: int
    key: str
    size_bytes: int


def explained(message: "Message", projection: str, error: Exception) -> list[tuple[str, bytes]]:
    """The headers of a dead letter: those of `message`, and what `projection` found wrong with it."""
    found = (projection, f"{type(error).__name__}: {error}", message.topic, message.partition, message.offset)
    reasons = ((name, str(value).encode()) for name, value in zip(_REASONS, found, strict=True))
    return [*dict(message.headers or ()).items(), *reasons]


async def read(kafka: KafkaAccess, *, since_start: bool = False) -> list[DeadLetter]:
    """Those not sent again yet, or all that Kafka keeps. Raises `KafkaError`."""
    async with _consumer(kafka) as consumer:
        return [_letter(record) async for record in _records(consumer, since_start=since_start)]


async def replay(kafka: KafkaAccess) -> AsyncIterator[DeadLetter]:
    """Send each that was not sent again yet, in order, and yield it once the broker has it. Raises `KafkaError`."""
    producer = AIOKafkaProducer(**kafka.aiokafka(), acks="all", max_request_size=MESSAGE_MAX_BYTES)
    async with _consumer(kafka) as consumer, producer:
        async for record in _records(consumer, since_start=False):
            letter = _letter(record)
            await producer.send_and_wait(
                letter.topic,
                record.value,
                key=record.key,
                partition=letter.partition,
                headers=list(record.headers[: -len(_REASONS)]),
            )
            await consumer.commit({_PARTITION: record.offset + 1})
            yield letter


async def discard(kafka: KafkaAccess) -> list[DeadLetter]:
    """Have done with all that were not sent again yet, and return them. Raises `KafkaError`."""
    async with _consumer(kafka) as consumer:
        letters = [_letter(record) async for record in _records(consumer, since_start=False)]
        if letters:
            await consumer.commit({_PARTITION: letters[-1].number + 1})
    return letters


@asynccontextmanager
async def _consumer(kafka: KafkaAccess) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        **kafka.aiokafka(), group_id=GROUP, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    # Assigned and not subscribed to: nobody waits for a group to form.
    consumer.assign([_PARTITION])
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def _records(consumer: AIOKafkaConsumer, *, since_start: bool) -> AsyncIterator[ConsumerRecord]:
    if since_start:
        await consumer.seek_to_beginning(_PARTITION)
    ends = await consumer.end_offsets([_PARTITION])
    while await consumer.position(_PARTITION) < ends[_PARTITION]:
        for record in (await consumer.getmany(timeout_ms=_POLL_MS)).get(_PARTITION, []):
            if record.offset < ends[_PARTITION]:
                yield record


def _letter(record: ConsumerRecord) -> DeadLetter:
    why = {name: value.decode() for name, value in record.headers[-len(_REASONS) :]}
    if tuple(why) != _REASONS:
        raise KafkaError(f"message {record.offset} of {record.topic} does not say where it comes from")
    return DeadLetter(
        number=record.offset,
        at=datetime.fromtimestamp(record.timestamp / 1_000, UTC),
        projection=why["projection"],
        reason=why["reason"],
        topic=why["topic"],
        partition=int(why["partition"]),
        offset=int(why["offset"]),
        key=(record.key or b"").decode(errors="replace"),
        size_bytes=len(record.value or b""),
    )
