"""PostgreSQL over TLS, by the URL alone. The embedded server has no OpenSSL: this is the system's."""

import asyncio
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from ledgerx.logins import Database, set_passwords
from ledgerx.migrate import migrate
from ledgerx_cli.embedded import account
from ledgerx_cli.embedded.kafka import Kafka
from ledgerx_cli.embedded.postgres import accepts_connections
from ledgerx_cli.ports import free_port
from ledgerx_cli.supervisor import Part, Supervisor
from tests.certificates import Authority
from tests.integration.conftest import PASSWORDS
from tests.integration.relaying import MakeRelay, delivered, record_entries

_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))

pytestmark = pytest.mark.skipif(not _PROGRAMS, reason="no PostgreSQL of the system: apt-get install postgresql")


@pytest.fixture
async def tls_database(servers_directory: Path, tmp_path: Path) -> AsyncIterator[Database]:
    """A database that takes connections over TLS only."""
    directory = servers_directory / "tls"
    directory.mkdir()
    account.give(directory)
    authority = Authority(tmp_path, "authority")
    certificate = authority.sign("server")
    data, port = directory / "data", free_port()
    password_file = directory / "password"
    password_file.write_text("password")
    account.give(password_file)
    programs = _PROGRAMS[-1]

    def command(program: str, *arguments: str) -> tuple[str, ...]:
        return account.unprivileged((str(programs / program), *arguments), reaching=(programs, data))

    initdb = ("-D", str(data), "-U", "postgres", "-A", "scram-sha-256", f"--pwfile={password_file}", "--locale=C.UTF-8")
    await asyncio.to_thread(subprocess.run, command("initdb", *initdb), check=True, capture_output=True)
    for name, file in (("server.crt", certificate.certificate), ("server.key", certificate.key)):
        account.give(Path(shutil.copy(file, data / name)))
    (data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
    settings = {
        "ssl": "on",
        "wal_level": "logical",
        "port": str(port),
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
    }
    options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
    tls = f"sslmode=verify-full&sslrootcert={authority.certificate}"
    url = f"postgresql://postgres:password@127.0.0.1:{port}/postgres?{tls}"
    supervisor = Supervisor(run=directory, logs=directory, report=lambda _event: None)
    server = Part(
        name="postgres-tls",
        command=command("postgres", "-D", str(data), *options),
        ready=partial(accepts_connections, url),
        stop_signal=signal.SIGINT,
    )
    try:
        await supervisor.start(server)
        await asyncio.to_thread(migrate, url)
        yield await asyncio.to_thread(set_passwords, url, PASSWORDS)
    finally:
        await supervisor.stop()


async def test_the_relay_streams_over_tls_and_trusts_no_other_authority(
    tls_database: Database, relays: MakeRelay, kafka_server: Kafka, tmp_path: Path
) -> None:
    tenant = uuid4()
    relay = relays({"LEDGERX_DATABASE_URL": tls_database.relay_url})
    await relay.stream()
    async with await psycopg.AsyncConnection.connect(tls_database.admin_url, autocommit=True) as admin:
        await record_entries(admin, tenant, [1])
        assert await delivered(kafka_server, tenant, last=1) == [1]
        cursor = await admin.execute(
            "SELECT bool_and(ssl), count(*) > 1 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
            " WHERE usename = 'ledgerx_relay'"
        )
        assert await cursor.fetchall() == [(True, True)]

    stranger = tls_database.relay_url.replace("authority.pem", "stranger.pem")
    Authority(tmp_path, "stranger")
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        await psycopg.AsyncConnection.connect(stranger)
