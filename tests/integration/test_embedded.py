import asyncio
from pathlib import Path

import psycopg
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from ledgerx.events import TOPIC_JOURNAL
from ledgerx.logins import Database
from ledgerx_cli.embedded import account, kafka
from ledgerx_cli.embedded.kafka import Kafka
from ledgerx_cli.embedded.postgres import Postgres
from ledgerx_cli.ports import free_port
from ledgerx_cli.supervisor import Supervisor


def test_postgres_is_durable_logical_and_sorts_alike_everywhere(postgres_server: Postgres) -> None:
    with psycopg.connect(postgres_server.url()) as connection:
        settings = "SELECT current_setting('fsync'), current_setting('wal_level'), current_setting('listen_addresses')"
        assert connection.execute(settings).fetchone() == ("on", "logical", "")
        locale = "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = current_database()"
        assert connection.execute(locale).fetchone() == ("b", "C.UTF-8")


def test_postgres_lets_nobody_in_without_the_password(postgres_server: Postgres) -> None:
    stranger = Postgres(directory=postgres_server.directory, password="guess")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(stranger.url())


def test_the_server_keeps_verifiers_of_the_roles_passwords_only(database: Database) -> None:
    with psycopg.connect(database.admin_url) as connection:
        kept = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname LIKE 'ledgerx%'").fetchall()
    assert len(kept) == 4
    assert all(password.startswith("SCRAM-SHA-256$") for (password,) in kept)


async def test_postgres_below_an_awkward_path_starts_after_a_killed_initdb_and_listens_on_tcp(
    servers_directory: Path, tmp_path: Path
) -> None:
    directory = servers_directory / "a, b" / ("long" * 20)
    (directory / "unfinished" / "base").mkdir(parents=True)
    port = free_port()
    server = Postgres(directory=directory, password="password", tcp_port=port)
    server.initialise()
    supervisor = Supervisor(run=tmp_path, logs=tmp_path, report=lambda _event: None)
    try:
        await supervisor.start(server.part())
        for url in (server.url(), f"postgresql://postgres:password@127.0.0.1:{port}/postgres"):
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        await supervisor.stop()
        server._sockets().rmdir()


async def test_postgres_starts_after_a_kill_though_its_process_id_is_somebody_else_s(
    servers_directory: Path, tmp_path: Path
) -> None:
    # Of the server's account, as everything in a container is.
    somebody = await asyncio.create_subprocess_exec(*account.unprivileged(("sleep", "600"), reaching=()))
    server = Postgres(directory=servers_directory / "killed", password="password")
    server.initialise()
    supervisor = Supervisor(run=tmp_path, logs=tmp_path, report=lambda _event: None)
    try:
        for note in (server.directory / "data" / "postmaster.pid", server._sockets() / ".s.PGSQL.5432.lock"):
            note.write_text(f"{somebody.pid}\n{server.directory / 'data'}\n1\n")
        server.initialise()
        await supervisor.start(server.part())
    finally:
        somebody.kill()
        await somebody.wait()
        await supervisor.stop()


async def test_kafka_has_the_journal_topic_and_makes_no_other_unasked(kafka_server: Kafka) -> None:
    await kafka.create_topics(kafka_server.access)
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_server.bootstrap)
    await admin.start()
    try:
        (journal, unasked) = await admin.describe_topics([TOPIC_JOURNAL, "unasked"])
        assert len(journal["partitions"]) == kafka.JOURNAL_PARTITIONS
        assert unasked["partitions"] == []
        assert "unasked" not in await admin.list_topics()
    finally:
        await admin.close()


async def test_kafka_keeps_its_port_unless_somebody_took_it(tmp_path: Path) -> None:
    def prepare() -> Kafka:
        return kafka.prepare(tmp_path, progress=lambda _done, _total: None)

    first = await asyncio.to_thread(prepare)
    assert (await asyncio.to_thread(prepare)).port == first.port
    async with await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", first.port):
        assert (await asyncio.to_thread(prepare)).port != first.port
