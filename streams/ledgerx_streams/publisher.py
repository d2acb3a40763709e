"""Publishes events on a topic, in order, by a producer that is replaced once Kafka refused something.

An idempotent producer numbers what it sends: after a batch that was refused the broker takes no other one from it. And
what it still holds must not come after what is sent again.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from ledgerx_streams.kafka_access import KafkaAccess
from ledgerx_streams.relay.outlet import abandon
from ledgerx_streams.topics import MESSAGE_MAX_BYTES

_BATCH_BYTES = 256 * 1024
# Where the key of a message sends it, in every client of Kafka.
_partition_of = DefaultPartitioner()


class Publisher:
    """Publishes on `topic`, every message with the same `headers`; all replicas keep what it sends."""

    def __init__(self, kafka: KafkaAccess, topic: str, headers: Sequence[tuple[str, bytes]]) -> None:
        self._kafka = kafka
        self._topic = topic
        self._headers = headers
        self._producer: AIOKafkaProducer | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def publish(self, key: bytes, events: Iterable[bytes]) -> None:
        """Publish events one after the other, and wait until all are kept. Raises `KafkaError`.

        Where it fails, or is cancelled, the first ones may be there; what others publish meanwhile may fail too.
        """
        producer = await self._started()
        try:
            partitions = sorted(await producer.partitions_for(self._topic))
            partition = _partition_of(key, partitions, partitions)
            for batch in self._batches(producer, key, events):
                # One that is refused must not be followed by the next.
                await (await producer.send_batch(batch, self._topic, partition=partition))
        except BaseException:
            if self._producer is producer:
                self._producer = None
                await abandon(producer)
            raise

    async def _started(self) -> AIOKafkaProducer:
        while self._producer is None:
            producer = AIOKafkaProducer(
                **self._kafka.aiokafka(),
                acks="all",
                enable_idempotence=True,
                max_batch_size=_BATCH_BYTES,
                max_request_size=MESSAGE_MAX_BYTES,
            )
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            if self._producer is None:
                self._producer = producer
            else:
                await producer.stop()
        return self._producer

    def _batches(self, producer: AIOKafkaProducer, key: bytes, events: Iterable[bytes]) -> Iterator[BatchBuilder]:
        """Events in as few batches as hold them: to send them one by one takes five times as long."""
        batch = producer.create_batch()
        for event in events:
            if batch.append(key=key, value=event, timestamp=None, headers=self._headers) is not None:
                continue
            yield batch
            batch = producer.create_batch()
            if batch.append(key=key, value=event, timestamp=None, headers=self._headers) is None:
                raise ValueError(f"an event of {len(event)} bytes is too large")
        yield batch
