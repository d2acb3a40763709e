"""A worker of the streams as a process of its own."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer

from ledgerx.events import TOPIC_JOURNAL
from ledgerx.logins import Database
from tests.integration.journals import Journal, ends, heads

_COMMAND = (sys.executable, "-c", "from ledgerx_streams.app import main; raise SystemExit(main())")

StartWorker = Callable[..., "Worker"]


class Worker:
    """A running worker."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(_COMMAND, env={**os.environ, **environment}, stderr=output)

    def partitions(self) -> list[int]:
        """The partitions that it consumes."""
        lines = [msgspec.json.decode(line) for line in self.log.read_bytes().splitlines()]
        assignments: list[list[int]] = [line["partitions"] for line in lines if line["message"] == "consuming"]
        return assignments[-1] if assignments else []

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - no event crosses processes
        await asyncio.sleep(0.05)


def projected(database: Database, *journals: Journal) -> Callable[[], bool]:
    expected = ends(*journals).items()
    return lambda: expected <= heads(database).items()


async def deliver(producer: AIOKafkaProducer, journal: Journal, payloads: Iterable[bytes]) -> None:
    for payload in payloads:
        await producer.send(TOPIC_JOURNAL, payload, key=str(journal.tenant_id).encode())
    await producer.flush()
