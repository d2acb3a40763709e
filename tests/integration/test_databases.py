"""Tenants of several databases: API, relay and streams as processes, databases that come and go, real Kafka."""

import asyncio
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql

from ledgerx.logins import Database, set_passwords
from ledgerx.migrate import migrate
from ledgerx.roles import Role
from ledgerx.tenancy import ClientCredentials, Scope
from ledgerx_cli.embedded.kafka import Kafka
from ledgerx_cli.embedded.postgres import Postgres
from ledgerx_cli.ports import free_port
from tests.integration.api_process import ApiProcess
from tests.integration.conftest import PASSWORDS, fresh_database
from tests.integration.journals import heads
from tests.integration.ledger_client import LedgerClient, client_of, new_tenant
from tests.integration.people import PASSWORD, new_people
from tests.integration.relaying import eventually
from tests.mounted import Mounted
from tests.webhook_receiver import Receiver

pytestmark = pytest.mark.timeout(900)
SCOPES = frozenset({Scope.LEDGER_READ, Scope.LEDGER_WRITE, Scope.WEBHOOKS_WRITE, Scope.EXPORTS_WRITE})
FIRST, SECOND, GONE = "first", "second-b", "gone"


class Part:
    """A part of the platform as a process, with a management port."""

    def __init__(self, name: str, directory: Path, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self._name = name
        self._log = directory / f"{name}.log"
        self._environment = os.environ | environment | {"LEDGERX_MANAGEMENT_PORT": str(self.port)}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ledgerx_cli", self._name], env=self._environment, stderr=output
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait()

    async def metric(self, name: str, **labels: str) -> float | None:
        """A sample of its metrics; None while there is none."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self.port}/metrics") as answer,
            ):
                text = await answer.text()
        except aiohttp.ClientConnectionError:
            return None
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return float(sample.value)
        return None

    async def tells(self, name: str, value: float, **labels: str) -> None:
        """Wait until a metric has this value."""

        async def told() -> bool:
            return await self.metric(name, **labels) == value

        await eventually(told)


class Platform:
    """All parts on the databases that are mounted."""

    def __init__(self, api: ApiProcess, relay: Part, streams: Part, mounts: Mapping[str, Mounted]) -> None:
        self.api = api
        self.relay = relay
        self.streams = streams
        self._mounts = mounts

    def mount(self, databases: Mapping[str, Database]) -> None:
        """Have these databases, and one whose server is not there."""
        port = free_port()
        for role, mounted in self._mounts.items():
            urls = {name: getattr(database, f"{role}_url") for name, database in databases.items()}
            mounted.write({**urls, GONE: f"postgresql://ledgerx_{role}:none@127.0.0.1:{port}/none"})


@pytest.fixture(scope="module")
def databases(postgres_server: Postgres) -> Iterator[Mapping[str, Database]]:
    """Two databases of one server."""
    with fresh_database(postgres_server) as first, fresh_database(postgres_server) as second:
        yield {FIRST: first, SECOND: second}


@pytest.fixture(scope="module")
def platform(databases: Mapping[str, Database], kafka_server: Kafka, servers_directory: Path) -> Iterator[Platform]:
    """All parts, which know of the first database and of one that is not there."""
    directory = servers_directory / "databases"
    mounts = {role: Mounted(directory / role) for role in ("api", "relay", "streams")}
    api = ApiProcess(
        databases[FIRST],
        directory,
        DATABASE_URL="",
        DATABASES=str(mounts["api"].directory),
        WEBHOOKS_ALLOW_PRIVATE="true",
    )
    kafka = {"LEDGERX_KAFKA": kafka_server.bootstrap, "LEDGERX_RELAY_HEARTBEAT_S": "0.2"}
    relay = Part("relay", directory, kafka | {"LEDGERX_DATABASES": str(mounts["relay"].directory)})
    streams = Part(
        "streams",
        directory,
        kafka
        | {
            "LEDGERX_DATABASES": str(mounts["streams"].directory),
            "LEDGERX_ENGINE_DATABASES": str(mounts["api"].directory),
            "LEDGERX_EXPORTS_URL": api.exports.as_uri(),
            "LEDGERX_SEALING_KEYS": str(api.sealing_keys),
            "LEDGERX_WEBHOOKS_ALLOW_PRIVATE": "true",
        },
    )
    made = Platform(api, relay, streams, mounts)
    made.mount({FIRST: databases[FIRST]})
    api.start()
    relay.start()
    streams.start()
    yield made
    api.end()
    relay.end()
    streams.end()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as receiver:
        yield receiver


@asynccontextmanager
async def speaking_for(platform: Platform, credentials: ClientCredentials) -> AsyncIterator[LedgerClient]:
    """A client of a tenant, with its accounts, once its database is served."""
    form = {
        "grant_type": "client_credentials",
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret,
    }

    async def is_known() -> bool:
        async with (
            aiohttp.ClientSession(platform.api.base_url) as session,
            session.post("/v1/auth/token", data=form) as answer,
        ):
            return answer.status == 200

    await eventually(is_known)
    async with client_of(platform.api.base_url, credentials) as client:
        yield client


def projected(database: Database, tenant_id: UUID, seq: int) -> Callable[[], Awaitable[bool]]:
    """Whether all projections of a tenant have come to an entry."""

    async def are_there() -> bool:
        found = {name: at for (tenant, name), at in heads(database).items() if tenant == tenant_id}
        return len(found) == 5 and set(found.values()) == {seq}

    return are_there


async def balance(client: LedgerClient) -> Any:
    return (await client.get("/v1/accounts/user/balance")).body["posted"]


@contextmanager
def unreachable(database: Database) -> Iterator[None]:
    """Let nobody log in to a database in the block, and end all who are."""
    address = urlsplit(database.admin_url)
    name = address.path[1:]

    def allow_connections(allowed: bool) -> None:
        query = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(name), sql.Literal(allowed))
        with psycopg.connect(address._replace(path="/postgres").geturl(), autocommit=True) as connection:
            connection.execute(query)
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,)
            )

    allow_connections(False)
    try:
        yield
    finally:
        allow_connections(True)


async def test_a_database_is_served_as_soon_as_it_is_there(
    platform: Platform, databases: Mapping[str, Database], receiver: Receiver
) -> None:
    async with speaking_for(platform, await new_tenant(databases[FIRST], SCOPES)) as one:
        assert (await one.transfer("k", "1.00")).status == 201
        platform.mount(databases)
        credentials = await new_tenant(databases[SECOND], SCOPES)
        async with speaking_for(platform, credentials) as other:
            made = await other.request("POST", "/v1/webhooks", body={"url": receiver.url("hook")})
            assert made.status == 201
            assert (await other.transfer("k", "2.00")).status == 201
            assert (await one.transfer("l", "4.00")).status == 201
            assert (await balance(one), await balance(other)) == ("5.00", "2.00")
            assert [int(event["sequence"]) for event in (await other.get("/v1/events")).body["items"]] == [1, 2, 3]
            await eventually(projected(databases[SECOND], credentials.tenant_id, 3))

            async def is_delivered() -> bool:
                return receiver.site("hook").seqs == [3]

            await eventually(is_delivered)
            wanted = {"format": "csv", "dataset": "transactions"}
            export = (await other.request("POST", "/v1/exports", body=wanted)).headers["Location"]

            async def is_done() -> bool:
                return bool((await other.get(export)).body["status"] == "done")

            await eventually(is_done)
    with psycopg.connect(databases[FIRST].admin_url) as connection:
        rows = connection.execute(
            "SELECT slot_name FROM pg_replication_slots WHERE database = ANY(%s)",
            ([urlsplit(database.admin_url).path[1:] for database in databases.values()],),
        ).fetchall()
    assert {slot for (slot,) in rows} == {"ledgerx_first", "ledgerx_second_b"}
    for name, is_open in {FIRST: 1, SECOND: 1, GONE: 0}.items():
        await platform.streams.tells("ledgerx_database_open", is_open, part="streams", database=name)
    for name, is_streaming in {FIRST: 1, SECOND: 1, GONE: 0}.items():
        state = {"database": name, "ledgerx_relay_state": "streaming"}
        assert (await platform.relay.metric("ledgerx_relay_state", **state)) == is_streaming


async def test_people_log_in_by_the_name_of_their_tenant(platform: Platform, databases: Mapping[str, Database]) -> None:
    platform.mount(databases)
    async with aiohttp.ClientSession(platform.api.base_url) as session:
        client = LedgerClient(session)
        for database in databases.values():
            [person] = await new_people(database, Role.OWNER)

            async def log_in(tenant: str, email: str = person.email) -> Any:
                body = {"tenant": tenant, "email": email, "password": PASSWORD}
                return await client.request("POST", "/v1/auth/login", body=body)

            async def is_in(tenant: str = person.tenant) -> bool:
                return bool((await log_in(tenant)).status == 200)

            await eventually(is_in)
            refresh_token = (await log_in(person.tenant)).body["refresh_token"]
            refreshed = await client.request("POST", "/v1/auth/refresh", body={"refresh_token": refresh_token})
            assert refreshed.status == 200
        # It may be in the database that is away.
        assert (await log_in(f"nobody/{secrets.token_hex(4)}")).told == (503, "unavailable")


async def test_a_database_that_is_away_holds_up_no_other(platform: Platform, databases: Mapping[str, Database]) -> None:
    platform.mount(databases)
    away = databases[SECOND]
    credentials = {name: await new_tenant(database, SCOPES) for name, database in databases.items()}
    async with (
        speaking_for(platform, credentials[FIRST]) as one,
        speaking_for(platform, credentials[SECOND]) as other,
    ):
        platform.streams.end(signal.SIGKILL)
        assert (await other.transfer("k", "2.00")).status == 201
        with psycopg.connect(away.admin_url) as connection:
            [(written,)] = connection.execute("SELECT pg_current_wal_lsn()").fetchall()

        async def is_carried() -> bool:
            with psycopg.connect(databases[FIRST].admin_url) as connection:
                [(confirmed,)] = connection.execute(
                    "SELECT confirmed_flush_lsn >= %s FROM pg_replication_slots WHERE slot_name = 'ledgerx_second_b'",
                    (written,),
                ).fetchall()
            return bool(confirmed)

        await eventually(is_carried)
        with unreachable(away):
            platform.streams.start()
            assert (await one.transfer("k", "1.00")).status == 201
            await eventually(projected(databases[FIRST], credentials[FIRST].tenant_id, 3))
            refused = await other.transfer("l", "2.00")
            assert refused.told == (503, "unavailable")
            assert (await one.transfer("l", "1.00")).status == 201
            assert await balance(one) == "2.00"

            async def is_passed_over() -> bool:
                passed = await platform.streams.metric(
                    "ledgerx_streams_passed_over_messages_total", reason="unreachable"
                )
                return (passed or 0) > 0

            await eventually(is_passed_over)
        # Its messages will not come again: what they said is read from the tables.
        await eventually(projected(away, credentials[SECOND].tenant_id, 3))

        async def is_back() -> bool:
            return (await other.transfer("l", "2.00")).status == 201

        await eventually(is_back)
        assert await balance(other) == "4.00"
        await eventually(projected(away, credentials[SECOND].tenant_id, 4))


async def test_a_database_that_is_removed_is_not_served_any_more(
    platform: Platform, databases: Mapping[str, Database]
) -> None:
    platform.mount(databases)
    async with speaking_for(platform, await new_tenant(databases[SECOND], SCOPES)) as other:
        platform.mount({FIRST: databases[FIRST]})

        async def is_gone() -> bool:
            return (await other.get("/v1/accounts")).told == (503, "unavailable")

        await eventually(is_gone)
        await platform.relay.tells("ledgerx_relay_state", 1, database=FIRST, ledgerx_relay_state="streaming")

        async def is_forgotten() -> bool:
            return await platform.relay.metric("ledgerx_relay_state", database=SECOND) is None

        await eventually(is_forgotten)


async def test_parts_wait_for_the_schema_of_their_release(
    postgres_server: Postgres, kafka_server: Kafka, tmp_path: Path
) -> None:
    postgres_server.create_database("unmigrated")
    admin_url = postgres_server.url("unmigrated")
    database = set_passwords(admin_url, PASSWORDS)
    api = ApiProcess(database, tmp_path, MANAGEMENT_PORT=str(free_port()))
    starting = asyncio.create_task(asyncio.to_thread(api.start))
    async with aiohttp.ClientSession() as session:

        async def status(path: str, base_url: str = api.health_url) -> int:
            try:
                async with session.get(base_url + path) as answer:
                    return answer.status
            except aiohttp.ClientConnectionError:
                return 0

        async def is_up() -> bool:
            return await status("/livez") == 200

        await eventually(is_up)
        assert [await status(path) for path in ("/startupz", "/readyz")] == [503, 503]
        assert not starting.done()
        await asyncio.to_thread(migrate, admin_url)
        await starting
        assert [await status(path) for path in ("/startupz", "/readyz", "/metrics")] == [200, 200, 200]
        # What is for machines of the cluster is not where clients are.
        assert [await status(path, api.base_url) for path in ("/livez", "/readyz", "/metrics")] == [404, 404, 404]
    async with client_of(api.base_url, await new_tenant(database)) as client:
        assert (await client.transfer("k")).status == 201
    assert api.end() == 0
