"""Real servers for the integration tests, started with what `ledgerx up` is made of."""

import asyncio
import secrets
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from aiokafka import AIOKafkaProducer
from psycopg import sql

from ledgerx.engine import Engine
from ledgerx.logins import ROLES, Database, set_passwords
from ledgerx.migrate import migrate
from ledgerx.roles import Role
from ledgerx.tenancy import ClientCredentials
from ledgerx_cli.embedded import kafka
from ledgerx_cli.embedded.kafka import Kafka
from ledgerx_cli.embedded.postgres import Postgres
from ledgerx_cli.supervisor import Supervisor
from tests.documented import documented
from tests.integration.api_process import ApiProcess
from tests.integration.journals import open_engine
from tests.integration.ledger_client import ANSWERED, LedgerClient, client_of, new_tenant
from tests.integration.people import Person, new_people, speaking_for
from tests.integration.relaying import Connection, MakeRelay, RelayProcess
from tests.integration.worker_process import StartWorker, Worker

PASSWORDS = {role: secrets.token_urlsafe(16) for role in ROLES}
TEMPLATE = "migrated"


@pytest.fixture(scope="session", autouse=True)
def only_documented_answers() -> Iterator[None]:
    """No test of the session may get an answer that the OpenAPI document does not have."""
    yield
    undocumented = documented().undocumented(ANSWERED)
    assert undocumented == [], (
        f"these answers are not documented: {', '.join(undocumented)}; provoke them in "
        "tests/integration/reference/scenario.py and run `make reference`"
    )


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """What tests start can be interrupted. A shell has its background jobs ignore that, and all that they start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def servers_directory() -> Iterator[Path]:
    """A directory of the session, short enough for Unix sockets."""
    directory = Path(tempfile.mkdtemp(prefix="ledgerx-"))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def supervisor(servers_directory: Path) -> Iterator[tuple[Supervisor, asyncio.Runner]]:
    """Runs the session's servers."""
    with asyncio.Runner() as runner:
        supervisor = Supervisor(run=servers_directory, logs=servers_directory, report=lambda _event: None)
        yield supervisor, runner
        runner.run(supervisor.stop())


@pytest.fixture(scope="session")
def postgres_server(servers_directory: Path, supervisor: tuple[Supervisor, asyncio.Runner]) -> Postgres:
    """An embedded PostgreSQL with the migrated database `TEMPLATE`."""
    server = Postgres(directory=servers_directory / "postgres", password=secrets.token_urlsafe(16))
    server.initialise()
    parts, runner = supervisor
    runner.run(parts.start(server.part()))
    server.create_database(TEMPLATE)
    migrate(server.url(TEMPLATE))
    return server


@pytest.fixture(scope="session")
def kafka_server(servers_directory: Path, supervisor: tuple[Supervisor, asyncio.Runner]) -> Kafka:
    """An embedded Kafka with the platform's topics."""
    server = kafka.prepare(servers_directory / "kafka", progress=lambda _done, _due: None)
    parts, runner = supervisor
    runner.run(parts.start(server.part()))
    runner.run(kafka.create_topics(server.access))
    return server


@contextmanager
def fresh_database(server: Postgres) -> Iterator[Database]:
    """A fresh migrated database with the URLs of its roles, dropped in the end."""
    name = f"test_{secrets.token_hex(4)}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(TEMPLATE))
        )
        yield set_passwords(server.url(name), PASSWORDS)
        # Passwords are the server's, and `ledgerx up` on this database will have set its own.
        set_passwords(server.url(), PASSWORDS)
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,)
        ).fetchall()
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", (name,)
        ).fetchall()
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database(postgres_server: Postgres) -> Iterator[Database]:
    """A database of the test's own."""
    with fresh_database(postgres_server) as made:
        yield made


@pytest.fixture(scope="session")
def shared_database(postgres_server: Postgres) -> Iterator[Database]:
    """A database for tests that keep to tenants of their own."""
    with fresh_database(postgres_server) as made:
        yield made


@pytest.fixture(scope="session")
def api(shared_database: Database, servers_directory: Path) -> Iterator[ApiProcess]:
    """The API as a process of its own on `shared_database`."""
    process = ApiProcess(shared_database, servers_directory)
    process.start()
    yield process
    process.end()


@pytest.fixture
async def credentials(shared_database: Database) -> ClientCredentials:
    """A tenant of the test's own, with an API client."""
    return await new_tenant(shared_database)


@pytest.fixture
async def client(api: ApiProcess, credentials: ClientCredentials) -> AsyncIterator[LedgerClient]:
    """A client of that tenant with the accounts `bank` (no limits) and `user` (not below zero)."""
    async with client_of(api.base_url, credentials) as client:
        yield client


@pytest.fixture
async def owner(shared_database: Database) -> Person:
    """The owner of a tenant of the test's own."""
    [person] = await new_people(shared_database, Role.OWNER)
    return person


@pytest.fixture
async def admin(api: ApiProcess, owner: Person) -> AsyncIterator[LedgerClient]:
    """A client that speaks for the owner."""
    async with speaking_for(api, owner.principal) as client:
        yield client


@pytest.fixture
async def relays(database: Database, kafka_server: Kafka, tmp_path: Path) -> AsyncIterator[MakeRelay]:
    """Makes relays of this test's database; settings are given as keywords (`max_records=1`) or as an environment."""
    made: list[RelayProcess] = []

    def make(further: Mapping[str, str] | None = None, **settings: float | str) -> RelayProcess:
        environment = {
            "LEDGERX_DATABASE_URL": database.relay_url,
            "LEDGERX_KAFKA": kafka_server.bootstrap,
            "LEDGERX_RELAY_HEARTBEAT_S": "0.2",
        }
        environment |= {f"LEDGERX_RELAY_{name.upper()}": str(value) for name, value in settings.items()}
        environment |= further or {}
        made.append(RelayProcess(environment, tmp_path / f"relay{len(made)}.log"))
        return made[-1]

    yield make
    for relay in made:
        if relay.process is not None and relay.process.returncode is None:
            await relay.end(signal.SIGKILL)


@pytest.fixture
async def superuser(database: Database) -> AsyncIterator[Connection]:
    """A connection of the database's administrator."""
    async with await psycopg.AsyncConnection.connect(database.admin_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def start_worker(database: Database, kafka_server: Kafka, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers of this test's database; further environment variables are given as keywords."""
    workers: list[Worker] = []
    environment = {
        "LEDGERX_DATABASE_URL": database.streams_url,
        "LEDGERX_ENGINE_DATABASE_URL": database.api_url,
        "LEDGERX_KAFKA": kafka_server.bootstrap,
    }

    def start(**further: str) -> Worker:
        workers.append(Worker(environment | further, tmp_path / f"worker{len(workers)}.log"))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()


@pytest.fixture
async def engine(database: Database) -> AsyncIterator[Engine]:
    """An engine that writes the journals of `journals`."""
    async with open_engine(database) as engine:
        yield engine


@pytest.fixture
async def producer(kafka_server: Kafka) -> AsyncIterator[AIOKafkaProducer]:
    """A producer of the broker that tests share."""
    async with AIOKafkaProducer(bootstrap_servers=kafka_server.bootstrap) as producer:
        yield producer
