"""A relay as a process of its own, and what the tests of it ask of the database and of Kafka."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import aiohttp
import psycopg
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from prometheus_client.parser import text_string_to_metric_families

from ledgerx_cli.embedded.kafka import Kafka
from ledgerx_cli.ports import free_port

JOURNAL = "ledgerx.events.journal"
PROGRAM = "import sys; from ledgerx_streams.relay import main; sys.exit(main())"

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
MakeRelay = Callable[..., "RelayProcess"]


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until `holds`; the test's own time limit ends a wait in vain."""
    while not await holds():  # noqa: ASYNC110 - other processes set no event
        await asyncio.sleep(0.05)


class RelayProcess:
    """A relay that a test starts, watches through its management endpoint, and ends or kills."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.port = free_port()
        self.log = log
        self._environment = environment | {"LEDGERX_MANAGEMENT_PORT": str(self.port)}
        self.process: Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROGRAM, env=os.environ | self._environment, stderr=output
            )

    async def stream(self) -> None:
        """Start it, and wait until it streams."""
        await self.start()
        await self.enters("streaming")

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        process, self.process = self.process, None
        assert process is not None
        process.send_signal(number)
        return await process.wait()

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of an endpoint; 0 while nobody listens."""
        assert self.process is not None
        assert self.process.returncode is None, self.log.read_text()
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port}{path}") as response,
            ):
                return response.status, await response.text()
        except aiohttp.ClientConnectionError:
            return 0, ""

    async def metric(self, name: str, **labels: str) -> float:
        _, text = await self.get("/metrics")
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == f"ledgerx_relay_{name}" and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return 0

    async def enters(self, state: str) -> None:
        async def entered() -> bool:
            return await self.metric("state", ledgerx_relay_state=state) == 1

        await eventually(entered)

    async def above(self, name: str, value: float) -> None:
        async def is_above() -> bool:
            return await self.metric(name) > value

        await eventually(is_above)


async def value(admin: Connection, query: LiteralString) -> Any:
    cursor = await admin.execute(query)
    [(found,)] = await cursor.fetchall()
    return found


async def has_confirmed(admin: Connection, position: str) -> bool:
    cursor = await admin.execute(
        "SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = 'ledgerx'", (position,)
    )
    return await cursor.fetchall() == [(True,)]


async def confirms(admin: Connection, position: str) -> None:
    """Wait until the slot has confirmed `position`."""
    await eventually(lambda: has_confirmed(admin, position))


async def record_entries(admin: Connection, tenant: UUID, seqs: Iterable[int], *, payload: str = "{}") -> str:
    """Put rows of the journal into the outbox, each in a transaction of its own; returns the log's position after."""
    async with admin.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO ledgerx.outbox (id, tenant_id, aggregatetype, aggregateid, type, payload, first_seq, last_seq)"
            " VALUES (%s, %s, 'journal', %s, 'entries.recorded', %s, %s, %s)",
            [(uuid4(), tenant, str(tenant), payload, seq, seq) for seq in seqs],
        )
    return str(await value(admin, "SELECT pg_current_wal_lsn()"))


async def consume(kafka: Kafka, topics: list[str], keys: set[bytes], enough: Callable[[list[Any]], bool]) -> list[Any]:
    """Read `topics` from the beginning until the records with one of `keys` are `enough`."""
    records: list[ConsumerRecord] = []
    async with AIOKafkaConsumer(
        *topics, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", group_id=None
    ) as consumer:
        while not enough(records):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                records += [record for record in batch if record.key in keys]
    return records


async def delivered(kafka: Kafka, tenant: UUID, last: int) -> list[int]:
    """The sequence numbers of a tenant's records in the order of the topic, read until `last` has come."""

    def seqs(records: list[Any]) -> list[int]:
        return [int(dict(record.headers)["firstSeq"]) for record in records]

    return seqs(await consume(kafka, [JOURNAL], {str(tenant).encode()}, lambda records: last in seqs(records)))


def first_deliveries(seqs: list[int]) -> list[int]:
    return list(dict.fromkeys(seqs))


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Let a process stand still for the time of the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
