"""`ledgerx up`: the whole platform on one machine, or parts of it."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address
from pathlib import Path
from time import monotonic
from typing import Annotated

import msgspec
from cyclopts import Parameter
from cyclopts.types import Port

from ledgerx import management
from ledgerx.errors import ConfigurationError
from ledgerx.keys import write_new_keyset
from ledgerx.logins import Database
from ledgerx.sealing import write_new_sealing_keys
from ledgerx_cli import display, up_settings
from ledgerx_cli.data_directory import DataDirectory, write_private_json
from ledgerx_cli.options import DEFAULT_DATA, AsJson, Data
from ledgerx_cli.parts import Surroundings, management_urls, own_part
from ledgerx_cli.platform import Platform
from ledgerx_cli.ports import LOOPBACK, is_free
from ledgerx_cli.progress import Downloading, Event, LeftoversStopped, PartCrashed, PartReady, Ready, Report
from ledgerx_cli.servers import Servers
from ledgerx_cli.supervisor import Supervisor, stop_leftovers
from ledgerx_cli.up_settings import PARTS, PartName, Plan

_LOOPBACK = IPv4Address(LOOPBACK)


def up(
    *,
    parts: Annotated[tuple[PartName, ...], Parameter(consume_multiple=True, help="The parts to run.")] = PARTS,
    host: Annotated[IPv4Address, Parameter(env_var="LEDGERX_HOST", help="The address to listen on.")] = _LOOPBACK,
    port: Annotated[Port, Parameter(help="The API's port there.")] = 8080,
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> None:
    """Run the whole platform on this machine until Ctrl-C; a second start goes on with the same data."""
    directory = DataDirectory(data)
    plan = up_settings.load_plan(frozenset(parts), host=str(host), port=port)
    # Its complaints about a broker that is not there yet are not for the user.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with directory.locked(), display.json_lines() if json else display.human() as report:
        asyncio.run(_Up(directory, plan, report).run())


class _Up:
    def __init__(self, directory: DataDirectory, plan: Plan, report: Report) -> None:
        self._directory = directory
        self._plan = plan
        self._show = report
        self._supervisor = Supervisor(run=directory.run, logs=directory.logs, report=self._report)
        self._platform: Platform | None = None
        self._started = False
        self._crashed: set[str] = set()
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

    def _is_ready(self) -> bool:
        return self._started and not self._crashed

    def _interrupt(self, running: asyncio.Task[None]) -> None:
        # A second signal must not cut the orderly stop short; every step of that has a time-out.
        if not self._stopping:
            self._stopping = True
            running.cancel()

    def _report(self, event: Event) -> None:
        match event:
            case PartCrashed():
                self._crashed.add(event.part)
            case PartReady():
                self._crashed.discard(event.part)
                # A part that was started again has a new process id.
                if self._platform is not None:
                    self._publish(self._platform)
        # A closed terminal or pipe must not keep the parts from being stopped; rich turns it into an exit.
        with suppress(OSError, SystemExit):
            self._show(event)

    async def _start_and_stay(self) -> None:
        given = self._plan.settings
        async with management.serve(given.management_host, given.management_port, self._is_ready):
            await self._start()
            await asyncio.Event().wait()

    async def _start(self) -> None:
        began = monotonic()
        if leftovers := await asyncio.to_thread(stop_leftovers, self._directory.run):
            self._report(LeftoversStopped(tuple(leftovers)))
        if "api" in self._plan.parts and not is_free(self._plan.port, self._plan.host):
            raise ConfigurationError(f"port {self._plan.port} is in use: choose another one with --port")
        servers = Servers(self._directory, self._plan, self._supervisor, self._report)
        async with _first_failure(), asyncio.TaskGroup() as group:
            starting_database = group.create_task(self._start_database(servers))
            starting_kafka = group.create_task(servers.start_kafka(self._downloaded))
        databases, bootstrap = starting_database.result(), starting_kafka.result()
        if databases is not None:
            await self._start_own_parts(databases, bootstrap)
        self._started = True
        has_api = "api" in self._plan.parts
        has_demo = has_api and isinstance(databases, Database)
        self._report(
            Ready(
                base_url=self._plan.base_url if has_api else None,
                docs_url=f"{self._plan.base_url}/docs" if has_api else None,
                logs=str(self._directory.logs),
                demo=str(self._directory.demo) if has_demo else None,
                demo_netrc=str(self._directory.demo_netrc) if has_demo else None,
                after_s=round(monotonic() - began, 2),
            )
        )

    async def _start_database(self, servers: Servers) -> Database | Path | None:
        """What the platform's own parts log in with, if there are any."""
        admin_url = await servers.start_postgres()
        if not self._plan.own_parts:
            return None
        if admin_url is None or self._plan.settings.databases is not None:
            return self._plan.settings.databases
        return await servers.prepare_database(admin_url)

    async def _start_own_parts(self, databases: Database | Path, bootstrap: str | None) -> None:
        given, directory = self._plan.settings, self._directory
        around = Surroundings(
            plan=self._plan,
            databases=databases,
            kafka=bootstrap,
            exports=directory.exports,
            keys=_keys(given.keys, directory.keys, write_new_keyset),
            sealing_keys=_keys(given.sealing_keys, directory.sealing_keys, write_new_sealing_keys),
            checkpoint_keys=_keys(given.checkpoint_keys, directory.checkpoint_keys, write_new_keyset),
        )
        endpoints = management_urls(self._plan)
        async with _first_failure(), asyncio.TaskGroup() as group:
            for name, endpoint in endpoints.items():
                group.create_task(self._supervisor.start(own_part(name, around, endpoint)))
        # What the other commands need to work with it.
        if isinstance(databases, Database) and bootstrap is not None and "api" in endpoints:
            self._publish(
                Platform(
                    base_url=self._plan.base_url,
                    database=databases,
                    kafka=bootstrap,
                    management={str(name): url for name, url in endpoints.items()},
                    pids=self._supervisor.pids,
                )
            )

    def _downloaded(self, done_bytes: int, total_bytes: int) -> None:
        # Runs in the thread of the download, which nothing else can end.
        if self._stopping:
            raise InterruptedError
        self._report(Downloading(done_bytes, total_bytes))

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


def _keys(given: Path | None, own: Path, make: Callable[[Path], object]) -> Path:
    """The file of keys that is given, else our own, which is made on the first start."""
    if given is not None:
        return given
    if not own.exists():
        make(own)
    return own
