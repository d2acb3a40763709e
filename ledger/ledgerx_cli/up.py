"""`ledgerx up`: the whole platform on one machine."""

import asyncio
import logging
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from time import monotonic
from typing import Annotated

import msgspec
from cyclopts import Parameter
from cyclopts.types import Port

from ledgerx import settings
from ledgerx.errors import ConfigurationError
from ledgerx.keys import write_new_keyset
from ledgerx.logins import ROLES, Database, set_passwords
from ledgerx.migrate import migrate
from ledgerx.sealing import write_new_sealing_keys
from ledgerx.search_terms import fill_search_terms
from ledgerx.settings import Secret
from ledgerx_cli import demo, display
from ledgerx_cli.data_directory import DataDirectory, read_json, write_private_json
from ledgerx_cli.embedded import kafka
from ledgerx_cli.embedded.postgres import Postgres
from ledgerx_cli.options import DEFAULT_DATA, AsJson, Data
from ledgerx_cli.platform import Platform
from ledgerx_cli.ports import LOOPBACK, free_ports, is_free
from ledgerx_cli.progress import DatabaseReady, Downloading, Event, LeftoversStopped, PartReady, Ready, Report
from ledgerx_cli.supervisor import Part, Supervisor, stop_leftovers
from ledgerx_streams.kafka_access import KafkaAccess, KafkaSettings

DATABASE = "ledgerx"
_READY_TIMEOUT_S = 2
# Longer than a part takes to finish the work in hand.
_STOP_TIMEOUT_S = 30


class Servers(msgspec.Struct, frozen=True):
    """Real servers that take the place of the embedded ones.

    `LEDGERX_DATABASE_URL` is the libpq URL of an administrator, `LEDGERX_KAFKA` the bootstrap servers. How to reach
    those is said by the settings of every part that uses Kafka. With `LEDGERX_WEBHOOKS_ALLOW_PRIVATE` webhooks may be
    on this machine.
    """

    database_url: Secret | None = None
    kafka: str | None = None
    webhooks_allow_private: bool = False


class Passwords(msgspec.Struct, frozen=True):
    """The passwords of the embedded database's administrator and of the platform's roles."""

    admin: str
    roles: dict[str, str]


def up(
    *,
    port: Annotated[Port, Parameter(help="The API's port on 127.0.0.1.")] = 8080,
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Run the whole platform on this machine until Ctrl-C; a second start goes on with the same data."""
    directory = DataDirectory(data)
    servers = _servers()
    # Its complaints about a broker that is not there yet are not for the user.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with directory.locked(), display.json_lines() if json else display.human() as report:
        asyncio.run(_Up(directory, servers, port, report).run())


def _servers() -> Servers:
    servers = settings.load(Servers)
    # The parts have URLs of their own.
    os.environ.pop(f"{settings.PREFIX}DATABASE_URL{settings.FILE_SUFFIX}", None)
    unused = [name for name in os.environ if name.startswith(f"{settings.PREFIX}KAFKA_")]
    if unused and servers.kafka is None:
        raise ConfigurationError(f"{unused[0]} has no use without {settings.PREFIX}KAFKA")
    return servers


class _Up:
    def __init__(self, directory: DataDirectory, servers: Servers, port: int, report: Report) -> None:
        self._directory = directory
        self._servers = servers
        self._port = port
        self._base_url = f"http://{LOOPBACK}:{port}"
        self._show = report
        self._supervisor = Supervisor(run=directory.run, logs=directory.logs, report=self._report)
        self._platform: Platform | None = None
        self._stopping = False

    async def run(self) -> None:
        """Start everything, wait for a signal, stop everything."""
        loop = asyncio.get_running_loop()
        running = asyncio.create_task(self._start_and_stay())
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._interrupt, running)
        try:
            await running
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        finally:
            self._stopping = True
            self._directory.platform.unlink(missing_ok=True)
            await self._supervisor.stop()

    def _interrupt(self, running: asyncio.Task[None]) -> None:
        # A second signal must not cut the orderly stop short; every step of that has a time-out.
        if not self._stopping:
            self._stopping = True
            running.cancel()

    def _report(self, event: Event) -> None:
        # A part that was started again has a new process id.
        if isinstance(event, PartReady) and self._platform is not None:
            self._publish(self._platform)
        # A closed terminal or pipe must not keep the parts from being stopped; rich turns it into an exit.
        with suppress(OSError, SystemExit):
            self._show(event)

    async def _start_and_stay(self) -> None:
        began = monotonic()
        if leftovers := await asyncio.to_thread(stop_leftovers, self._directory.run):
            self._report(LeftoversStopped(tuple(leftovers)))
        if not is_free(self._port):
            raise ConfigurationError(f"port {self._port} is in use: choose another one with --port")
        async with _first_failure(), asyncio.TaskGroup() as group:
            starting_database = group.create_task(self._start_database())
            starting_kafka = group.create_task(self._start_kafka())
        database, bootstrap = starting_database.result(), starting_kafka.result()
        management = dict(zip(("relay", "streams"), free_ports(0, 0), strict=True)) | {"api": self._port}
        async with _first_failure(), asyncio.TaskGroup() as group:
            for part in self._parts(database, bootstrap, management):
                group.create_task(self._supervisor.start(part))
        self._publish(
            Platform(
                base_url=self._base_url,
                database=database,
                kafka=bootstrap,
                management={part: f"http://{LOOPBACK}:{port}" for part, port in management.items()},
                pids=self._supervisor.pids,
            )
        )
        self._report(
            Ready(
                base_url=self._base_url,
                docs_url=f"{self._base_url}/docs",
                logs=str(self._directory.logs),
                demo=str(self._directory.demo),
                demo_netrc=str(self._directory.demo_netrc),
                after_s=round(monotonic() - began, 2),
            )
        )
        await asyncio.Event().wait()

    async def _start_database(self) -> Database:
        admin_url = await self._admin_url()
        began = monotonic()
        await asyncio.to_thread(migrate, admin_url)
        await fill_search_terms(admin_url)
        database = await asyncio.to_thread(set_passwords, admin_url, self._passwords().roles)
        for keys in (self._directory.keys, self._directory.checkpoint_keys):
            if not keys.exists():
                write_new_keyset(keys)
        if not self._directory.sealing_keys.exists():
            write_new_sealing_keys(self._directory.sealing_keys)
        await demo.provide(self._directory, owner_url=database.owner_url, base_url=self._base_url, host=LOOPBACK)
        self._report(DatabaseReady(after_s=round(monotonic() - began, 2)))
        return database

    async def _admin_url(self) -> str:
        if self._servers.database_url is not None:
            return self._servers.database_url.reveal()
        server = Postgres(directory=self._directory.postgres, password=self._passwords().admin)
        await asyncio.to_thread(server.initialise)
        await self._supervisor.start(server.part())
        await asyncio.to_thread(server.create_database, DATABASE)
        return server.url(DATABASE)

    async def _start_kafka(self) -> str:
        if self._servers.kafka is not None:
            await kafka.create_topics(KafkaAccess(settings.load(KafkaSettings)))
            return self._servers.kafka
        broker = await asyncio.to_thread(kafka.prepare, self._directory.kafka, progress=self._downloaded)
        await self._supervisor.start(broker.part())
        await kafka.create_topics(broker.access)
        return broker.bootstrap

    def _downloaded(self, done_bytes: int, total_bytes: int) -> None:
        # Runs in the thread of the download, which nothing else can end.
        if self._stopping:
            raise InterruptedError
        self._report(Downloading(done_bytes, total_bytes))

    def _passwords(self) -> Passwords:
        try:
            return read_json(self._directory.secrets, Passwords)
        except FileNotFoundError:
            passwords = Passwords(
                admin=secrets.token_urlsafe(24), roles={role: secrets.token_urlsafe(24) for role in ROLES}
            )
            write_private_json(self._directory.secrets, passwords)
            return passwords

    def _parts(self, database: Database, bootstrap: str, management: Mapping[str, int]) -> Iterator[Part]:
        """The platform's own parts; the last one is stopped first."""
        urls = {"relay": database.relay_url, "streams": database.streams_url, "api": database.api_url}
        for name, port in management.items():
            environment = {"LEDGERX_DATABASE_URL": urls[name]}
            if name != "relay":
                environment["LEDGERX_EXPORTS_URL"] = self._directory.exports.as_uri()
            if name == "api":
                environment |= {
                    "LEDGERX_HOST": LOOPBACK,
                    "LEDGERX_PORT": str(port),
                    "LEDGERX_KEYS": str(self._directory.keys),
                    "LEDGERX_SEALING_KEYS": str(self._directory.sealing_keys),
                    "LEDGERX_WEBHOOKS_ALLOW_PRIVATE": str(self._servers.webhooks_allow_private),
                    "LEDGERX_ISSUER": self._base_url,
                    "LEDGERX_DEFAULT_TENANT": demo.TENANT,
                }
            else:
                environment |= {"LEDGERX_KAFKA": bootstrap, "LEDGERX_MANAGEMENT_PORT": str(port)}
            if name == "streams":
                environment |= {
                    "LEDGERX_ENGINE_DATABASE_URL": database.api_url,
                    "LEDGERX_CHECKPOINT_KEYS": str(self._directory.checkpoint_keys),
                    "LEDGERX_SEALING_KEYS": str(self._directory.sealing_keys),
                    "LEDGERX_WEBHOOKS_ALLOW_PRIVATE": str(self._servers.webhooks_allow_private),
                }
            yield Part(
                name=name,
                # -P: a directory below the current one must not be taken for a package.
                command=(sys.executable, "-P", "-m", "ledgerx_cli", name),
                environment=environment,
                ready=partial(asyncio.to_thread, _is_ready, port),
                stop_timeout_s=_STOP_TIMEOUT_S,
            )

    def _publish(self, platform: Platform) -> None:
        self._platform = msgspec.structs.replace(platform, pids=self._supervisor.pids)
        write_private_json(self._directory.platform, self._platform)


@asynccontextmanager
async def _first_failure() -> AsyncIterator[None]:
    """Of failures side by side, raise the first alone: the others follow from it."""
    try:
        yield
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _is_ready(port: int) -> bool:
    connection = HTTPConnection(LOOPBACK, port, timeout=_READY_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
