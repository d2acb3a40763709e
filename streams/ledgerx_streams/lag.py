"""How far this worker is behind the partitions that it reads, as the broker knows their ends."""

import asyncio
from collections.abc import Set as AbstractSet
from typing import NoReturn

import structlog
from aiokafka.errors import KafkaError
from faust.types import TP, ConsumerT
from prometheus_client import Gauge

_EVERY_S = 5.0

_LAG = Gauge(
    "ledgerx_streams_lag_messages",
    "Messages of a partition that are not applied yet; of those partitions that this worker reads.",
    ["topic", "partition"],
)

_log = structlog.get_logger(__name__)


class Lag:
    """Compares what is done with what there is."""

    def __init__(self) -> None:
        # The offset of the next message to be done, of partitions that something came from.
        self._positions: dict[TP, int] = {}
        self._shown: set[TP] = set()

    def received(self, partition: TP, offset: int) -> None:
        """A message has come and is not done yet."""
        self._positions.setdefault(partition, offset)

    def done(self, partition: TP, offset: int) -> None:
        """A message, and all before it in its partition, is done."""
        self._positions[partition] = offset + 1

    def assigned(self, partitions: AbstractSet[TP]) -> None:
        """From now on this worker reads `partitions` and no others."""
        for gone in self._positions.keys() - partitions:
            del self._positions[gone]
        for gone in self._shown - partitions:
            self._shown.remove(gone)
            _LAG.remove(gone.topic, str(gone.partition))

    async def measure(self, consumer: ConsumerT) -> NoReturn:
        """Ask for the ends of the partitions again and again, until cancelled."""
        while True:
            try:
                await self._measure(consumer)
            except KafkaError as error:
                _log.info("lag not measured", error=repr(error))
            await asyncio.sleep(_EVERY_S)

    async def _measure(self, consumer: ConsumerT) -> None:
        for partition, end in (await consumer.highwaters(*consumer.assignment())).items():
            here = TP(*partition)
            position = self._positions.get(here)
            if position is None:
                position = await consumer.position(here)
            if position is not None and here in consumer.assignment():
                self._shown.add(here)
                _LAG.labels(here.topic, str(here.partition)).set(max(0, end - position))
