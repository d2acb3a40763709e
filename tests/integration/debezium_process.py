"""The real Debezium on Kafka Connect, with the connector settings of the recording."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from functools import partial
from http import HTTPStatus
from pathlib import Path

import aiohttp
import msgspec
from psycopg.conninfo import conninfo_to_dict

from ledgerx_cli.embedded import jars, java
from ledgerx_cli.embedded.kafka import Kafka
from ledgerx_cli.ports import LOOPBACK, free_port
from ledgerx_cli.supervisor import Part, Supervisor
from tests.integration.recording import CONNECTOR

DOCS = Path(__file__).parents[2] / "docs"
DATA = Path(__file__).parents[1] / "data"
VERSION = "3.7.0"
HEARTBEATS = "__debezium-heartbeat.ledgerx"
_NAME = "outbox"
_JVM_OPTIONS = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def documented_settings() -> dict[str, str]:
    """The settings that the documentation gives, which are those of the recording and one more.

    A relay's heartbeats, which Debezium would carry to a topic of their own, are left out.
    """
    [settings] = re.findall(r"^```json\n(.*?)^```$", (DOCS / "configuration.md").read_text(), re.MULTILINE | re.DOTALL)
    found: dict[str, str] = json.loads(settings)
    assert found == {**CONNECTOR, "message.prefix.exclude.list": "ledgerx.heartbeat"}
    return found


@asynccontextmanager
async def debezium(database_url: str, kafka: Kafka, directory: Path) -> AsyncIterator[None]:
    """Run the connector against a database behind a Unix socket, which Java cannot reach by itself."""
    database = conninfo_to_dict(database_url)
    async with _bridge(f"{database['host']}/.s.PGSQL.{database.get('port', 5432)}") as port:
        settings = {
            **documented_settings(),
            "database.hostname": LOOPBACK,
            "database.port": str(port),
            "database.user": str(database["user"]),
            "database.password": str(database["password"]),
            "database.dbname": str(database["dbname"]),
        }
        part = await asyncio.to_thread(_part, settings, kafka, directory)
        supervisor = Supervisor(run=directory, logs=directory, report=lambda _event: None)
        try:
            await supervisor.start(part)
            yield
        finally:
            await supervisor.stop()


def _part(settings: dict[str, str], kafka: Kafka, directory: Path) -> Part:
    lock = jars.parse_lock((DATA / f"debezium-{VERSION}-jars.lock").read_text(encoding="ascii"))
    cache = jars.cache_directory()
    class_path = jars.fetch(lock, cache / f"debezium-{VERSION}", progress=lambda _done, _due: None)
    runtime = java.find()
    build = hashlib.sha256(f"{runtime.build}{class_path}{_JVM_OPTIONS}".encode()).hexdigest()[:16]
    archive = cache / f"debezium-{VERSION}-{build}.jsa"
    port = free_port()
    (directory / "connector.json").write_text(json.dumps({"name": _NAME, "config": settings}))
    (directory / "worker.properties").write_text(
        f"""\
bootstrap.servers={kafka.bootstrap}
listeners=http://{LOOPBACK}:{port}
plugin.discovery=service_load
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
header.converter=org.apache.kafka.connect.storage.StringConverter
offset.storage.file.filename=offsets
"""
    )
    return Part(
        name="debezium",
        command=(
            *(str(runtime.path), *_JVM_OPTIONS),
            f"-XX:{'SharedArchiveFile' if archive.exists() else 'ArchiveClassesAtExit'}={archive}",
            *("-cp", ":".join(map(str, class_path)), "org.apache.kafka.connect.cli.ConnectStandalone"),
            *("worker.properties", "connector.json"),
        ),
        directory=directory,
        ready=partial(_runs, f"http://{LOOPBACK}:{port}/connectors/{_NAME}/status"),
        start_timeout_s=150,
        # The first run writes its class archive when it stops.
        stop_timeout_s=60,
    )


async def _runs(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            if answer.status != HTTPStatus.OK:
                return False
            tasks = msgspec.json.decode(await answer.read())["tasks"]
    except aiohttp.ClientConnectionError:
        return False
    assert not any(task["state"] == "FAILED" for task in tasks), tasks
    return [task["state"] for task in tasks] == ["RUNNING"]


@asynccontextmanager
async def _bridge(socket: str) -> AsyncIterator[int]:
    """A port of loopback that leads to a Unix socket."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(socket)
        await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(connect, LOOPBACK, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
