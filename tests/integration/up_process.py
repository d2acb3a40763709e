"""The platform as a process that tests start and end."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from http.client import HTTPConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import aiohttp
import msgspec

from ledgerx.logins import Database
from ledgerx.tenancy import ClientCredentials
from ledgerx_cli import platform
from ledgerx_cli.display import describe
from ledgerx_cli.ports import free_port
from ledgerx_cli.progress import Event, PartStarting, PartStopped, Ready
from tests.integration.ledger_client import LedgerClient

COMMAND = (sys.executable, "-m", "ledgerx_cli")


class Up:
    """A running `ledgerx up --json`, of all parts unless `parts` says which."""

    def __init__(self, data: Path, *, parts: Sequence[str] = (), **environment: str) -> None:
        self.base_url = f"http://127.0.0.1:{(port := free_port())}"
        chosen = ("--parts", *parts) if parts else ()
        self.process = subprocess.Popen(
            [*COMMAND, "up", "--json", "--data", data, "--port", str(port), *chosen],
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        self.events: list[Event] = []

    def __enter__(self) -> Self:
        self.ready = self.wait_for(lambda event: isinstance(event, Ready))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.returncode is None:
            self.stop()

    def wait_for(self, wanted: Callable[[Event], bool]) -> Event:
        """Read events until one is wanted."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.append(msgspec.json.decode(line, type=Event))
            if wanted(self.events[-1]):
                return self.events[-1]
        raise AssertionError(f"ended with code {self.process.wait()} after {self.events}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and return the exit code."""
        self.process.send_signal(number)
        output, _ = self.process.communicate()
        self.events += [msgspec.json.decode(line, type=Event) for line in output.splitlines()]
        return self.process.returncode

    def started_parts(self) -> set[str]:
        return {event.part for event in self.events if isinstance(event, PartStarting)}

    def stopped_parts(self) -> list[str]:
        return [event.part for event in self.events if isinstance(event, PartStopped)]

    def post(self, path: str, bearer: str = "", **body: Any) -> tuple[int, Any]:
        """Post members of a JSON body and return the status and the answer; `bearer` is an access token."""
        connection = HTTPConnection(self.base_url.removeprefix("http://"))
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {bearer}"}
        connection.request("POST", path, msgspec.json.encode(body), headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, msgspec.json.decode(content) if content else None

    def follow_the_welcome(self) -> list[Any]:
        """Run the commands that a person copies from the terminal and return the answers."""
        text = describe(self.ready)
        commands = ["sh", "-ec", text[text.index("TOKEN=") :]]
        answers = subprocess.run(commands, stdout=subprocess.PIPE, check=True).stdout
        return [msgspec.json.decode(line) for line in answers.splitlines()]


def run_ledgerx(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a subcommand and return how it ended."""
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, check=False, env=os.environ | environment
    )


@asynccontextmanager
async def clients_of_the_demo(data: Path) -> AsyncIterator[tuple[aiohttp.ClientSession, LedgerClient, LedgerClient]]:
    """A session, and clients in it that speak for the demo tenant's API client and for its owner."""
    demo = platform.demo(data)
    async with aiohttp.ClientSession(demo.base_url, timeout=aiohttp.ClientTimeout(total=30)) as session:
        ledger, owner = LedgerClient(session), LedgerClient(session)
        await ledger.log_in(
            ClientCredentials(tenant_id=tenant_of(demo), client_id=demo.client_id, client_secret=demo.client_secret)
        )
        person = {"email": demo.email, "password": demo.password}
        owner.token = (await owner.request("POST", "/v1/auth/login", body=person)).body["access_token"]
        yield session, ledger, owner


def tenant_of(demo: platform.Demo) -> UUID:
    """The id of the demo tenant, which its client's begins with."""
    return UUID(demo.client_id.partition(".")[0])


async def ledgerx(database: Database | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a subcommand that wants no platform but a database, if that."""
    environment = {} if database is None else {"LEDGERX_DATABASE_URL": database.owner_url}
    return await asyncio.to_thread(run_ledgerx, *arguments, **environment)
