"""Parts of a platform side by side, as pods run them."""

import asyncio
import os
import secrets
import signal
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import msgspec
import psycopg
import pytest

from ledgerx.logins import ROLES, Database, role_url, set_passwords
from ledgerx.migrate import migrate
from ledgerx_cli import platform
from ledgerx_cli.ports import free_ports
from ledgerx_cli.progress import DatabaseReady, PartCrashed, PartReady
from tests.integration import chaos_checks as checks
from tests.integration.ledger_client import client_of, new_tenant
from tests.integration.up_process import Up, run_ledgerx

PASSWORD = "pa ss/word@"


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n")
    return str(path)


def ready(port: int) -> int:
    """The status of `/readyz`."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_servers_and_parts_run_apart_and_find_each_other(tmp_path: Path, password_file: str) -> None:
    tcp, broker, management = free_ports(0, 0, 0)
    settings = {
        "LEDGERX_POSTGRES_TCP_PORT": str(tcp),
        "LEDGERX_POSTGRES_PASSWORD_FILE": password_file,
        "LEDGERX_MANAGEMENT_PORT": str(management),
    }
    # The broker tells this name to its clients, and listens where it leads to.
    advertised = f"localhost:{broker}"
    with (
        Up(tmp_path / "postgres", parts=["postgres"], **settings) as postgres,
        Up(tmp_path / "kafka", parts=["kafka"], LEDGERX_KAFKA_ADVERTISED=advertised) as kafka,
    ):
        assert (postgres.started_parts(), kafka.started_parts()) == ({"postgres"}, {"kafka"})
        assert ready(management) == 200
        url = f"postgresql://postgres:{quote(PASSWORD, safe='')}@127.0.0.1:{tcp}/ledgerx"
        with psycopg.connect(url) as connection:
            # Nobody has migrated it: that is for who runs the parts.
            schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'ledgerx'"
            assert connection.execute(schemas).fetchone() == (0,)
        servers = {"LEDGERX_DATABASE_URL": url, "LEDGERX_KAFKA": advertised}
        with Up(tmp_path / "own", parts=["relay", "streams", "api"], **servers) as own:
            assert own.started_parts() == {"relay", "streams", "api"}
            *_, transaction = own.follow_the_welcome()
            assert transaction["kind"] == "post"
            assert platform.find(tmp_path / "own").kafka == advertised


async def test_databases_that_somebody_else_looks_after_are_waited_for(tmp_path: Path, password_file: str) -> None:
    [tcp] = free_ports(0)
    admin_url = f"postgresql://postgres:{quote(PASSWORD, safe='')}@127.0.0.1:{tcp}/ledgerx"
    passwords = {role: secrets.token_urlsafe(16) for role in ROLES}
    databases = tmp_path / "databases"
    for role in ("api", "relay", "streams"):
        (databases / role).mkdir(parents=True)
        (databases / role / "primary").write_text(role_url(admin_url, role, passwords[role]))

    def look_after() -> Database:
        while True:
            try:
                migrate(admin_url)
                return set_passwords(admin_url, passwords)
            except psycopg.OperationalError:
                time.sleep(0.1)

    settings = {
        "LEDGERX_DATABASES": str(databases),
        "LEDGERX_POSTGRES_TCP_PORT": str(tcp),
        "LEDGERX_POSTGRES_PASSWORD_FILE": password_file,
    }
    looking_after = asyncio.create_task(asyncio.to_thread(look_after))
    up = Up(tmp_path / "data", **settings)
    async with starting(up):
        database = await looking_after
        assert not any(isinstance(event, DatabaseReady) for event in up.events)
        assert not (tmp_path / "data" / "demo.json").exists()
        async with client_of(up.base_url, await new_tenant(database)) as client:
            assert (await client.transfer("first")).status == 201
            await checks.projections_at_the_head(client)


@asynccontextmanager
async def starting(up: Up) -> AsyncIterator[None]:
    """Its context, entered and left without holding up what runs beside it."""
    await asyncio.to_thread(up.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(up.stop)


def test_a_volume_that_was_opened_to_a_group_is_closed_and_readiness_tells_of_crashes(
    tmp_path: Path, password_file: str
) -> None:
    [management] = free_ports(0)
    settings = {"LEDGERX_POSTGRES_PASSWORD_FILE": password_file, "LEDGERX_MANAGEMENT_PORT": str(management)}
    with Up(tmp_path, parts=["postgres"], **settings) as up:
        assert not any(isinstance(event, DatabaseReady) for event in up.events)
        assert up.stop() == 0
    data = tmp_path / "postgres" / "data"
    data.chmod(0o2770)
    with Up(tmp_path, parts=["postgres"], **settings) as up:
        assert data.stat().st_mode & 0o777 == 0o700
        assert ready(management) == 200
        pid = msgspec.json.decode((tmp_path / "run" / "postgres.pid").read_bytes())["pid"]
        os.kill(pid, signal.SIGKILL)
        up.wait_for(lambda event: isinstance(event, PartCrashed))
        assert ready(management) == 503
        up.wait_for(lambda event: isinstance(event, PartReady))
        assert ready(management) == 200


def test_other_commands_say_that_only_parts_are_there(tmp_path: Path) -> None:
    with Up(tmp_path, parts=["postgres"]):
        refused = run_ledgerx("tenant", "list", "--data", str(tmp_path))
    assert refused.returncode == 1
    assert refused.stderr == f"ledgerx: the platform on {tmp_path} is not ready yet, or no whole one\n"
