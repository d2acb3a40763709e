"""The API ended, killed and cut off from its database in the middle of a load."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psycopg
import pytest
from psycopg import sql

from ledgerx import database as db
from ledgerx.logins import Database
from ledgerx.verify import verify
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import LedgerClient, client_of, new_tenant

KEYS = [f"{number}" for number in range(2_000)]
CLIENTS = 32


@pytest.fixture
def own_api(database: Database, tmp_path: Path) -> Iterator[ApiProcess]:
    """An API that the test may end, on a database of the test's own."""
    process = ApiProcess(database, tmp_path)
    process.start()
    yield process
    process.end()


class Load:
    """Posts one transaction a key; `acknowledged` has the id of each that was answered with 201."""

    def __init__(self, client: LedgerClient) -> None:
        self.acknowledged: dict[str, int] = {}
        self.some_acknowledged = asyncio.Event()
        self._client = client

    async def run(self) -> None:
        keys = iter(KEYS)
        await asyncio.gather(*(self._post(keys) for _ in range(CLIENTS)))

    async def _post(self, keys: Iterator[str]) -> None:
        for key in keys:
            try:
                answer = await self._client.transfer(key)
            except aiohttp.ClientError:
                continue
            assert answer.status in (201, 503), answer
            if answer.status == 201:
                self.acknowledged[key] = answer.body["id"]
            if len(self.acknowledged) > len(KEYS) // 10:
                self.some_acknowledged.set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_nothing_acknowledged_is_lost_and_nothing_is_written_twice(
    database: Database, own_api: ApiProcess, number: signal.Signals
) -> None:
    credentials = await new_tenant(database)
    async with client_of(own_api.base_url, credentials) as client:
        load = Load(client)
        running = asyncio.create_task(load.run())
        await load.some_acknowledged.wait()
        own_api.send(number)
        await running
        exit_code = await asyncio.to_thread(own_api.wait)
        assert exit_code == (0 if number == signal.SIGTERM else -number)
        assert len(KEYS) > len(load.acknowledged)

        await asyncio.to_thread(own_api.start)
        answers = await asyncio.gather(*map(client.transfer, KEYS))
        ids = {key: answer.body["id"] for key, answer in zip(KEYS, answers, strict=True)}
    assert ids.items() >= load.acknowledged.items()
    assert sorted(ids.values()) == list(range(3, len(KEYS) + 3))
    async with await db.connect(database.owner_url, application_name="test") as connection:
        report = await verify(connection, credentials.tenant_id)
    assert report.ok
    assert report.transactions == len(KEYS)


async def test_readiness_follows_the_database_and_liveness_does_not(database: Database, own_api: ApiProcess) -> None:
    address = urlsplit(database.admin_url)
    name = address.path[1:]

    async def allow_connections(allowed: bool) -> None:
        query = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(name), sql.Literal(allowed))
        other = address._replace(path="/postgres").geturl()
        async with await psycopg.AsyncConnection.connect(other, autocommit=True) as connection:
            await connection.execute(query)
            await connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,)
            )

    async with aiohttp.ClientSession(own_api.base_url) as session:
        client = LedgerClient(session)
        assert (await client.get("/readyz")).status == 200
        await allow_connections(False)
        try:
            while (unready := await client.get("/readyz")).status == 200:  # noqa: ASYNC110 - as below
                await asyncio.sleep(0.05)
            assert unready.told == (503, "unavailable")
            assert unready.headers["Retry-After"]
            assert (await client.get("/livez")).status == 200
        finally:
            await allow_connections(True)
        while (await client.get("/readyz")).status != 200:  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.05)
