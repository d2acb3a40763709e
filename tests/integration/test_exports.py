"""Exports from the request to the file: API, PostgreSQL, relay, Kafka, worker, storage and download, all real."""

import asyncio
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from aiokafka import AIOKafkaConsumer

from ledgerx.exports import MAX_WAITING, TOPIC_EXPORTS
from ledgerx.logins import Database
from ledgerx.tenancy import ClientCredentials, Scope
from ledgerx_cli.embedded.kafka import Kafka
from ledgerx_cli.embedded.postgres import Postgres
from tests.integration.api_process import ApiProcess
from tests.integration.conftest import fresh_database
from tests.integration.large_journal import fill_journal
from tests.integration.ledger_client import LedgerClient, client_of, new_tenant
from tests.integration.s3_server import run_s3_server

SCOPES = frozenset({Scope.LEDGER_READ, Scope.LEDGER_WRITE, Scope.EXPORTS_WRITE})
ENDS = ("done", "failed", "cancelled", "expired")


class Platform:
    """API and relay on a database of their own, with exports to `url`; workers are started by the tests."""

    def __init__(self, database: Database, api: ApiProcess, environment: Mapping[str, str], logs: Path) -> None:
        self.database = database
        self.api = api
        self._environment = environment
        self._logs = logs
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self, part: str, url: str) -> subprocess.Popen[bytes]:
        """A part as a process, as the role of `url`."""
        environment = os.environ | self._environment | {"LEDGERX_DATABASE_URL": url}
        with (self._logs / f"exports-{part}.log").open("ab") as output:
            return subprocess.Popen([sys.executable, "-m", "ledgerx_cli", part], env=environment, stderr=output)

    def start_worker(self) -> subprocess.Popen[bytes]:
        """A worker of the streams."""
        self.workers.append(self.start("streams", self.database.streams_url))
        return self.workers[-1]

    def end_workers(self) -> None:
        """Kill the workers that are left."""
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.workers.clear()

    @asynccontextmanager
    async def new_client(self) -> AsyncIterator[tuple[LedgerClient, ClientCredentials]]:
        """A client of a new tenant that may export."""
        credentials = await new_tenant(self.database, SCOPES)
        async with client_of(self.api.base_url, credentials) as client:
            yield client, credentials


@contextmanager
def run_platform(
    server: Postgres, kafka: Kafka, directory: Path, url: str, slot: str, **environment: str
) -> Iterator[Platform]:
    settings = {
        "LEDGERX_KAFKA": kafka.bootstrap,
        "LEDGERX_EXPORTS_URL": url,
        "LEDGERX_RELAY_SLOT": slot,
        **environment,
    }
    with pytest.MonkeyPatch.context() as patch, fresh_database(server) as database:
        for name, value in environment.items():
            patch.setenv(name, value)
        api = ApiProcess(database, directory, EXPORTS_URL=url, EXPORTS_TENANT_BYTES="100000000")
        platform = Platform(database, api, settings, directory)
        api.start()
        relay = platform.start("relay", database.relay_url)
        yield platform
        platform.end_workers()
        relay.kill()
        relay.wait()
        api.end()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ledgerx-exports-") as directory:
        yield Path(directory)


@pytest.fixture(scope="module")
def shared_platform(
    postgres_server: Postgres, kafka_server: Kafka, servers_directory: Path, folder: Path
) -> Iterator[Platform]:
    with run_platform(postgres_server, kafka_server, servers_directory, folder.as_uri(), "exports") as platform:
        yield platform


@pytest.fixture
def platform(shared_platform: Platform) -> Iterator[Platform]:
    yield shared_platform
    shared_platform.end_workers()


@pytest.fixture
async def client(platform: Platform) -> AsyncIterator[LedgerClient]:
    async with platform.new_client() as (client, _):
        yield client


async def ask(client: LedgerClient, **wanted: Any) -> str:
    """Ask for an export, of postings as JSON unless said, and return its path."""
    body = {"format": "jsonl", "dataset": "postings"} | wanted
    answer = await client.request("POST", "/v1/exports", body=body)
    assert (answer.status, answer.body["status"]) == (202, "queued"), answer
    assert answer.headers["Location"] == f"/v1/exports/{answer.body['id']}"
    return answer.headers["Location"]


async def holds(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    while not condition():  # noqa: ASYNC110 - no event crosses processes
        await asyncio.sleep(0.05)


async def until(client: LedgerClient, path: str, *statuses: str) -> dict[str, Any]:
    """Wait until the export stands at one of these."""
    while True:
        shown: dict[str, Any] = (await client.get(path)).body
        if shown["status"] in statuses:
            return shown
        assert shown["status"] not in ENDS, shown
        await asyncio.sleep(0.05)


def id_of(path: str) -> str:
    """The id of an export by its path."""
    return path.rsplit("/", maxsplit=1)[-1]


def make_due(platform: Platform, path: str) -> None:
    """Let the lease of an export run out, or its time."""
    with psycopg.connect(platform.database.admin_url) as connection:
        connection.execute("UPDATE ledgerx.exports SET due_at = now() WHERE export_id = %s", (id_of(path),))


def row(platform: Platform, path: str, columns: str) -> tuple[Any, ...]:
    with psycopg.connect(platform.database.admin_url) as connection:
        query = f"SELECT {columns} FROM ledgerx.exports WHERE export_id = %s"  # noqa: S608 - our own words
        found = connection.execute(query.encode(), (id_of(path),)).fetchone()
    assert found is not None
    return found


def files(folder: Path, path: str) -> list[Path]:
    """All files of an export, whole or not."""
    [tenant] = [one for one in folder.iterdir() if (one / id_of(path)).is_dir()] or [folder]
    return sorted(one for one in (tenant / id_of(path)).rglob("*") if one.is_file())


async def test_an_export_goes_from_the_request_to_the_file(platform: Platform, client: LedgerClient) -> None:
    for number in range(3):
        await client.transfer(f"{number}", reference=f"r{number}")
    platform.start_worker()

    path = await ask(client, filters={"account": "user"})
    await client.transfer("later")
    shown = await until(client, path, "done")

    assert (shown["sequence"], shown["rows"], shown["progress"], shown["error"]) == (5, 3, 1, None)
    assert shown["filters"] == {"account": "user"}
    assert shown["filename"] == "postings-5.jsonl"
    answer = await client.request("GET", shown["download"]["url"], headers={"Authorization": ""})
    content = answer.body.encode()
    assert (answer.status, len(content)) == (200, shown["bytes"])
    assert hashlib.sha256(content).hexdigest() == shown["sha256"]
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="postings-5.jsonl"'
    listed = (await client.get("/v1/exports")).body["items"]
    assert [one["id"] for one in listed] == [shown["id"]]


async def test_the_event_of_an_export_goes_over_kafka(platform: Platform, kafka_server: Kafka) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with platform.new_client() as (client, credentials):
        body = {"format": "csv", "dataset": "balances"}
        asked = await client.request("POST", "/v1/exports", body=body, headers={"traceparent": traceparent})
        async with AIOKafkaConsumer(
            TOPIC_EXPORTS, bootstrap_servers=kafka_server.bootstrap, auto_offset_reset="earliest"
        ) as consumer:
            async for record in consumer:
                if record.key == str(credentials.tenant_id).encode():
                    break
    headers = dict(record.headers)
    assert headers["eventType"] == b"export.requested"
    assert headers["traceparent"] == traceparent.encode()
    assert asked.body["id"].encode() in record.value
    assert row(platform, asked.headers["Location"], "traceparent") == (traceparent,)


async def test_a_download_takes_ranges_and_its_link_cannot_be_forged(platform: Platform, client: LedgerClient) -> None:
    await client.transfer("1")
    platform.start_worker()
    path = await ask(client, format="csv")
    shown = await until(client, path, "done")
    url, size = shown["download"]["url"], shown["bytes"]

    async with aiohttp.ClientSession(platform.api.base_url) as session:

        async def get(url: str, **headers: str) -> tuple[int, bytes, Mapping[str, str]]:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            async with session.get(url, headers=names, allow_redirects=False) as answer:
                return answer.status, await answer.read(), answer.headers

        status, whole, headers = await get(url)
        etag = headers["ETag"]
        assert (status, len(whole), headers["Content-Length"]) == (200, size, str(size))
        assert headers["Accept-Ranges"] == "bytes"
        status, part, headers = await get(url, Range="bytes=5-9")
        assert (status, part, headers["Content-Range"]) == (206, whole[5:10], f"bytes 5-9/{size}")
        assert (await get(url, Range="bytes=-3"))[:2] == (206, whole[-3:])
        assert (await get(url, Range="bytes=7-", If_Range=etag))[:2] == (206, whole[7:])
        assert (await get(url, Range="bytes=7-", If_Range='"another"'))[:2] == (200, whole)
        status, _, headers = await get(url, Range=f"bytes={size}-")
        assert (status, headers["Content-Range"]) == (416, f"bytes */{size}")
        for forged in (url[:-2] + ("AA" if url[-2:] != "AA" else "BB"), url[:-10], url + "A", "/v1/downloads/x"):
            assert (await get(forged))[0] in (400, 404, 422), forged
        assert (await get(f"{path}/download"))[0] == 401

    async with aiohttp.ClientSession(
        platform.api.base_url, headers={"Authorization": f"Bearer {client.token}"}
    ) as session:
        async with session.get(f"{path}/download", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Cache-Control"]) == (307, "no-store")
        async with session.get(f"{path}/download") as answer:
            assert await answer.read() == whole


async def test_an_export_can_be_cancelled_while_it_waits(platform: Platform, client: LedgerClient) -> None:
    path = await ask(client)
    assert (await client.request("DELETE", path)).status == 204
    assert (await client.request("DELETE", path)).status == 204
    platform.start_worker()
    other = await ask(client)
    await until(client, other, "done")
    shown = (await client.get(path)).body
    assert (shown["status"], shown["started_at"], shown["rows"]) == ("cancelled", None, 0)
    answer = await client.get(f"{path}/download")
    assert answer.told == (409, "export_not_done")
    assert answer.body["export_status"] == "cancelled"


@asynccontextmanager
async def stopped_halfway(platform: Platform, folder: Path) -> AsyncIterator[tuple[LedgerClient, str]]:
    """An export that is being written, with a part of its file on the disk, and that gets no further in the block."""
    tenant = await new_tenant(platform.database, SCOPES)
    fill_journal(platform.database, tenant.tenant_id, transactions=60_000, dated=7)
    async with aiohttp.ClientSession(platform.api.base_url) as session:
        client = LedgerClient(session)
        await client.log_in(tenant)
        path = await ask(client)
        while not files(folder, path):  # noqa: ASYNC110 - no event crosses processes
            await asyncio.sleep(0.002)
        with psycopg.connect(platform.database.admin_url) as connection:
            connection.execute("LOCK TABLE ledgerx.postings IN ACCESS EXCLUSIVE MODE")
            shown = (await client.get(path)).body
            assert (shown["status"], shown["finished_at"]) == ("running", None)
            yield client, path
            connection.rollback()


async def test_an_export_can_be_cancelled_while_it_is_written(platform: Platform, folder: Path) -> None:
    platform.start_worker()
    async with stopped_halfway(platform, folder) as (client, path):
        assert files(folder, path)
        assert (await client.request("DELETE", path)).status == 204
        assert (await client.get(path)).body["status"] == "cancelled"
        await holds(lambda: not files(folder, path))
    make_due(platform, path)
    await holds(lambda: row(platform, path, "keeps_file") == (False,))
    assert row(platform, path, "status") == ("cancelled",)


async def test_the_export_of_a_worker_that_is_killed_is_whole(platform: Platform, folder: Path) -> None:
    worker = platform.start_worker()
    async with stopped_halfway(platform, folder) as (_client, path):
        worker.kill()
        worker.wait()
        [half] = files(folder, path)
        assert half.name != "postings-61001.jsonl"
        platform.start_worker()
        # Nobody takes it as long as the worker may be alive.
        (due,) = row(platform, path, "due_at > now()")
        assert due
        make_due(platform, path)
    await holds(lambda: row(platform, path, "status") == ("done",))
    attempt, rows, size, sha256 = row(platform, path, "attempt, rows, bytes, sha256")
    assert (attempt, rows) == (2, 120_000)
    [file] = files(folder, path)
    content = file.read_bytes()
    assert file.name == "postings-61001.jsonl"
    assert (len(content), hashlib.sha256(content).digest()) == (size, sha256)
    assert content.count(b"\n") == rows


async def test_a_worker_that_is_stopped_gives_its_export_back(platform: Platform, folder: Path) -> None:
    worker = platform.start_worker()
    async with stopped_halfway(platform, folder) as (_, path):
        worker.terminate()
        assert await asyncio.to_thread(worker.wait) == 0
        assert row(platform, path, "status, worker") == ("queued", None)
        assert files(folder, path) == []


async def test_a_file_is_kept_for_its_time(platform: Platform, client: LedgerClient, folder: Path) -> None:
    platform.start_worker()
    path = await ask(client)
    shown = await until(client, path, "done")
    assert len(files(folder, path)) == 1
    assert shown["expires_at"] > shown["finished_at"]

    make_due(platform, path)

    await holds(lambda: row(platform, path, "status, keeps_file") == ("expired", False))
    assert (await client.get(path)).body["status"] == "expired"
    assert files(folder, path) == []
    assert (await client.get(f"{path}/download")).told == (410, "export_expired")
    assert (await client.get(shown["download"]["url"])).told == (410, "export_expired")


async def test_a_file_can_be_given_up(platform: Platform, client: LedgerClient, folder: Path) -> None:
    platform.start_worker()
    path = await ask(client)
    shown = await until(client, path, "done")

    assert (await client.request("DELETE", path)).status == 204

    assert (await client.get(shown["download"]["url"])).told == (410, "export_expired")
    await holds(lambda: not files(folder, path))


async def test_who_asked_and_who_downloaded_is_in_the_audit_log(platform: Platform) -> None:
    platform.start_worker()
    async with platform.new_client() as (client, credentials):
        path = await ask(client)
        await until(client, path, "done")
        await client.request("GET", f"{path}/download")
        await client.request("DELETE", path)
    with psycopg.connect(platform.database.admin_url) as connection:
        found = connection.execute(
            "SELECT act, actor, subject FROM ledgerx.audit_log WHERE tenant_id = %s AND subject LIKE 'export:%%' "
            "ORDER BY audit_id",
            (credentials.tenant_id,),
        ).fetchall()
    subject, actor = f"export:{path.split('/')[-1]}", f"client:{credentials.client_id}"
    assert found == [(f"export_{act}", actor, subject) for act in ("requested", "downloaded", "ended")]


async def test_a_tenant_has_so_many_exports_waiting_and_no_more(platform: Platform, client: LedgerClient) -> None:
    for _ in range(MAX_WAITING):
        path = await ask(client)
    body = {"format": "csv", "dataset": "postings"}
    assert (await client.request("POST", "/v1/exports", body=body)).told == (409, "too_many_exports")
    await client.request("DELETE", path)
    await ask(client)
    with psycopg.connect(platform.database.admin_url) as connection:
        connection.execute(
            "UPDATE ledgerx.exports SET bytes = 100000000, keeps_file = true WHERE export_id = %s",
            (id_of(path),),
        )
    assert (await client.request("POST", "/v1/exports", body=body)).told == (409, "too_many_exports")


@pytest.mark.parametrize(
    "wanted",
    [
        {"format": "xml", "dataset": "postings"},
        {"format": "csv", "dataset": "marks"},
        {"format": "csv"},
        {"format": "beancount", "dataset": "balances"},
        {"format": "beancount", "dataset": "snapshots"},
        {"format": "csv", "dataset": "postings", "filters": {"owner": "x"}},
        {"format": "csv", "dataset": "balances", "filters": {"category": "x"}},
        {"format": "csv", "dataset": "balances", "filters": {"taken_to": "2026-01-01T00:00:00Z"}},
        {"format": "csv", "dataset": "snapshots", "filters": {"effective_at": "2026-01-01T00:00:00Z"}},
        {"format": "csv", "dataset": "postings", "filters": {"account": "a", "prefix": "b"}},
        {"format": "csv", "dataset": "postings", "filters": {"metadata": {"a": [1]}}},
        {"format": "csv", "dataset": "postings", "filters": {"metadata": 7}},
        {"format": "csv", "dataset": "postings", "filters": {"recorded_from": "2026-01-01T00:00:00"}},
        {"format": "csv", "dataset": "postings", "filters": {"amount_from": "-1"}},
        {"format": "csv", "dataset": "postings", "filters": {"unknown": 1}},
        {"format": "csv", "dataset": "postings", "filters": {"reference": "a\0"}},
    ],
    ids=str,
)
async def test_what_makes_no_export_is_refused(client: LedgerClient, wanted: Any) -> None:
    assert (await client.request("POST", "/v1/exports", body=wanted)).told == (422, "invalid_field")


async def test_an_export_can_be_as_of_an_earlier_time(platform: Platform, client: LedgerClient) -> None:
    first = (await client.transfer("1")).body
    await client.transfer("2")
    platform.start_worker()
    path = await ask(client, filters={"as_of": first["recorded_at"], "metadata": {"none": "x"}})
    shown = await until(client, path, "done")
    assert (shown["sequence"], shown["recorded_at"]) == (first["id"], first["recorded_at"])
    assert shown["filters"] == {"as_of": first["recorded_at"], "metadata": {"none": "x"}}
    assert shown["rows"] == 0


async def test_a_bucket_is_a_storage_and_gives_its_own_links(
    postgres_server: Postgres, kafka_server: Kafka, servers_directory: Path, tmp_path: Path
) -> None:
    with (
        run_s3_server(tmp_path) as server,
        run_platform(
            postgres_server, kafka_server, servers_directory, server.url, "exports_s3", **server.environment
        ) as platform,
    ):
        platform.start_worker()
        async with platform.new_client() as (client, _):
            await client.transfer("1")
            path = await ask(client, dataset="transactions")
            shown = await until(client, path, "done")
            assert len(server.paths()) == 1
            async with aiohttp.ClientSession() as session:
                async with session.get(shown["download"]["url"], headers={"Range": "bytes=0-1"}) as answer:
                    assert (answer.status, await answer.read()) == (206, b'{"')
                headers = {"Authorization": f"Bearer {client.token}"}
                url = f"{platform.api.base_url}{path}/download"
                async with session.get(url, headers=headers) as answer:
                    content = await answer.read()
                assert hashlib.sha256(content).hexdigest() == shown["sha256"]
            await client.request("DELETE", path)
            await holds(lambda: not server.paths())
