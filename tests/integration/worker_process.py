"""Workers of the streams as processes that tests start and kill, and what they are given to do."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer

from ledgerx.events import TOPIC_JOURNAL
from tests.integration.journals import Journal

_COMMAND = (sys.executable, "-c", "from ledgerx_streams.app import main; raise SystemExit(main())")


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


@contextmanager
def workers_with(environment: dict[str, str], directory: Path) -> Iterator[Callable[[], Worker]]:
    """Starts workers with their logs in a directory, and kills those that are left in the end."""
    workers: list[Worker] = []

    def start() -> Worker:
        workers.append(Worker(environment, directory / f"{len(workers)}.log"))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()


async def deliver(producer: AIOKafkaProducer, journal: Journal, payloads: Iterable[bytes]) -> None:
    for payload in payloads:
        await producer.send(TOPIC_JOURNAL, payload, key=str(journal.tenant_id).encode())
    await producer.flush()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - no event crosses processes
        await asyncio.sleep(0.05)
