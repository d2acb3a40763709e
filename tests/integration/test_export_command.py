"""`ledgerx export`, against a running API and worker, over connections that break."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ledgerx.logins import Database
from ledgerx.tenancy import ClientCredentials, Scope
from tests.integration.api_process import ApiProcess
from tests.integration.large_journal import fill_journal
from tests.integration.ledger_client import new_tenant
from tests.integration.up_process import COMMAND
from tests.integration.worker_process import StartWorker, until

TRANSACTIONS = 3_000
CUT_AT = 150_000


@pytest.fixture
def exporting_api(database: Database, servers_directory: Path) -> Iterator[ApiProcess]:
    api = ApiProcess(database, servers_directory)
    api.start()
    yield api
    api.end()


@pytest.fixture
async def exporter(database: Database) -> ClientCredentials:
    """A client that may export, of a tenant with a journal of some size."""
    credentials = await new_tenant(database, frozenset({Scope.EXPORTS_WRITE}))
    fill_journal(database, credentials.tenant_id, transactions=TRANSACTIONS, dated=5)
    return credentials


class Command:
    """Runs `ledgerx export` as `exporter`, by a URL of the API, in a folder of its own."""

    def __init__(self, url: str, client: ClientCredentials, folder: Path) -> None:
        self.folder = folder / "out"
        self.folder.mkdir()
        secret = folder / "secret"
        secret.write_text(f"{client.client_secret}\n")
        self.environment = os.environ | {
            "LEDGERX_API_URL": url,
            "LEDGERX_CLIENT_ID": client.client_id,
            "LEDGERX_CLIENT_SECRET_FILE": str(secret),
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, "export", *arguments],
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        output, errors = await asyncio.to_thread(process.communicate)
        return process.returncode, output, errors


class Breaking:
    """Stands between a client and the API, and cuts the first answer with a file off, or changes each a little."""

    def __init__(self, port: int, *, corrupt: bool) -> None:
        self._port = port
        self._corrupt = corrupt
        self.cuts = 0
        # The heads of all requests.
        self.requests: list[bytes] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            while True:
                head, body = await _message(reader)
                self.requests.append(head)
                downstream.write(head + body)
                is_file = head.startswith(b"GET /v1/downloads/")
                head, body = await _message(upstream)
                if is_file and self._corrupt:
                    body = body[:-1] + b"?"
                elif is_file and not self.cuts:
                    self.cuts += 1
                    writer.write(head + body[:CUT_AT])
                    await writer.drain()
                    break
                writer.write(head + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            downstream.close()


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head, await reader.readexactly(sum(lengths))


@asynccontextmanager
async def breaking(api: ApiProcess, *, corrupt: bool) -> AsyncIterator[tuple[Breaking, str]]:
    between = Breaking(api.port, corrupt=corrupt)
    server = await asyncio.start_server(between.handle, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield between, f"http://{host}:{port}"
    server.close()


def exports(database: Database) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.admin_url) as connection:
        return connection.execute("SELECT dataset, format, status FROM ledgerx.exports ORDER BY export_id").fetchall()


async def test_the_file_is_whole_though_the_connection_breaks(
    exporting_api: ApiProcess, exporter: ClientCredentials, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker(LEDGERX_EXPORTS_URL=exporting_api.exports.as_uri())
    async with breaking(exporting_api, corrupt=False) as (between, url):
        command = Command(url, exporter, tmp_path)
        code, output, errors = await command.run("postings", "--filter", "account=bank", "--json")
    assert (code, errors) == (0, "")
    told = json.loads(output)
    file = command.folder / told["file"]
    assert file.name == f"postings-{told['sequence']}.csv"
    assert told["rows"] == TRANSACTIONS
    assert len(file.read_bytes()) == told["bytes"] > CUT_AT
    assert hashlib.sha256(file.read_bytes()).hexdigest() == told["sha256"]
    assert between.cuts == 1
    files = [head.lower() for head in between.requests if head.startswith(b"GET /v1/downloads/")]
    assert [b"\r\nrange: bytes=" in head for head in files] == [False, True]
    assert list(command.folder.iterdir()) == [file]
    assert file.stat().st_mode & 0o777 == 0o600


async def test_a_file_that_is_not_what_was_written_is_none(
    exporting_api: ApiProcess, exporter: ClientCredentials, start_worker: StartWorker, tmp_path: Path
) -> None:
    start_worker(LEDGERX_EXPORTS_URL=exporting_api.exports.as_uri())
    async with breaking(exporting_api, corrupt=True) as (_, url):
        command = Command(url, exporter, tmp_path)
        code, output, errors = await command.run(
            "transactions", "--format", "beancount", "--output", "ledger.beancount"
        )
    assert (code, output) == (1, "")
    assert errors == "ledgerx: what was downloaded is not what was exported\n"
    assert list(command.folder.iterdir()) == []


async def test_what_the_api_refuses_is_told(
    exporting_api: ApiProcess, exporter: ClientCredentials, tmp_path: Path, database: Database
) -> None:
    command = Command(exporting_api.base_url, exporter, tmp_path)
    assert await command.run("snapshots", "--format", "beancount") == (
        1,
        "",
        "ledgerx: a Beancount file has transactions; its balances are in it (invalid_field)\n",
    )
    for arguments, said in (
        (["balances", "--filter", "colour=red"], "colour"),
        (["balances", "--filter", "red"], 'the filter "red" is not <name>=<value>'),
        (["balances", "--filter", "metadata=red"], "is not JSON"),
    ):
        code, _, errors = await command.run(*arguments)
        assert code == 1
        assert said in errors
    wrong = dict(command.environment, LEDGERX_CLIENT_SECRET="guess")
    del wrong["LEDGERX_CLIENT_SECRET_FILE"]
    command.environment = wrong
    code, _, errors = await command.run("balances")
    assert (code, errors.count("\n")) == (1, 1)
    assert "(invalid_client)" in errors
    del command.environment["LEDGERX_CLIENT_SECRET"]
    assert "go together" in (await command.run("balances"))[2]
    assert exports(database) == []


async def test_who_waits_no_longer_cancels_the_export(
    exporting_api: ApiProcess, exporter: ClientCredentials, tmp_path: Path, database: Database
) -> None:
    async with breaking(exporting_api, corrupt=False) as (between, url):
        command = Command(url, exporter, tmp_path)
        process = command.start("balances", "--filter", 'metadata={"a":"b"}', "--format", "jsonl")
        await until(lambda: any(head.startswith(b"GET /v1/exports/") for head in between.requests))
        assert exports(database) == [("balances", "jsonl", "queued")]
        process.send_signal(signal.SIGINT)
        output, errors = await asyncio.to_thread(process.communicate)
    assert (process.returncode, output, errors) == (130, "", "")
    assert exports(database) == [("balances", "jsonl", "cancelled")]
    assert list(command.folder.iterdir()) == []
