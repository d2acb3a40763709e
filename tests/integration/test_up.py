import os
import signal
import socket
import tempfile
import time
from pathlib import Path

import msgspec
import psutil
import psycopg
import pytest

from ledgerx.logins import Database
from ledgerx_cli import platform
from ledgerx_cli.data_directory import write_private_json
from ledgerx_cli.progress import LeftoversStopped, PartCrashed, PartReady
from tests.integration.up_process import Up, run_ledgerx
from tests.webhook_receiver import Receiver

PARTS = {"postgres", "kafka", "relay", "streams", "api"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def log_in(up: Up, demo: platform.Demo) -> int:
    """The status of a log-in of the demo's owner, whose tenant is the default."""
    return up.post("/v1/auth/login", email=demo.email, password=demo.password)[0]


def test_a_platform_starts_heals_stops_and_resumes(data: Path) -> None:
    with Up(data) as up:
        assert up.started_parts() == PARTS
        demo = platform.demo(data)
        assert demo.base_url == up.base_url
        assert log_in(up, demo) == 200
        bank, user, transaction = up.follow_the_welcome()
        assert (bank["code"], user["code"]) == ("bank", "users:1")
        assert [posting["amount"] for posting in transaction["postings"]] == ["12.34", "12.34"]

        first_pids = platform.find(data).pids
        os.kill(first_pids["relay"], signal.SIGKILL)
        up.wait_for(lambda event: isinstance(event, PartReady) and event.part == "relay")
        assert any(isinstance(event, PartCrashed) and event.part == "relay" for event in up.events)

        pids = platform.find(data).pids
        assert {part for part in PARTS if pids[part] != first_pids[part]} == {"relay"}
        assert up.stop() == 0
        assert up.stopped_parts()[:3] == ["api", "streams", "relay"]
        assert set(up.stopped_parts()) == PARTS
        assert not any(map(psutil.pid_exists, pids.values()))

    with Up(data) as up:
        assert platform.demo(data) == msgspec.structs.replace(demo, base_url=up.base_url)
        assert log_in(up, demo) == 200
        *_, replayed = up.follow_the_welcome()
        assert replayed["hash"] == transaction["hash"]
        assert up.stop(signal.SIGINT) == 0


def test_what_a_killed_platform_left_is_stopped_before_the_next_start(data: Path) -> None:
    with Up(data) as up:
        orphans = platform.find(data).pids
        up.stop(signal.SIGKILL)
    assert all(map(psutil.pid_exists, orphans.values()))
    with Up(data) as up:
        assert isinstance(up.events[0], LeftoversStopped)
        assert set(up.events[0].pids) == set(orphans.values())
        assert not any(map(psutil.pid_exists, orphans.values()))


def test_a_demo_without_an_owner_gets_one_and_so_does_one_whose_file_was_lost(data: Path, database: Database) -> None:
    with Up(data, LEDGERX_DATABASE_URL=database.admin_url):
        first = platform.demo(data)
    write_private_json(data / "demo.json", msgspec.structs.replace(first, email=None, password=None))
    with Up(data, LEDGERX_DATABASE_URL=database.admin_url) as up:
        second = platform.demo(data)
        assert second.client_id == first.client_id
        assert second.email != first.email
        assert log_in(up, second) == log_in(up, first) == 200


def test_a_real_database_takes_the_place_of_the_embedded_one(data: Path, database: Database) -> None:
    with Up(data, LEDGERX_DATABASE_URL=database.admin_url) as up:
        assert up.started_parts() == PARTS - {"postgres"}
        up.follow_the_welcome()
        with psycopg.connect(database.admin_url) as connection:
            assert connection.execute("SELECT count(*) FROM ledgerx.entries").fetchone() == (3,)


def test_events_reach_a_webhook_on_this_machine_where_that_is_allowed(data: Path, database: Database) -> None:
    environment = {"LEDGERX_DATABASE_URL": database.admin_url, "LEDGERX_WEBHOOKS_ALLOW_PRIVATE": "true"}
    with Receiver().running() as receiver, Up(data, **environment) as up:
        demo = platform.demo(data)
        _, session = up.post("/v1/auth/login", email=demo.email, password=demo.password)
        status, hook = up.post("/v1/webhooks", session["access_token"], url=receiver.url("hook"))
        assert status == 201
        up.follow_the_welcome()
        received = receiver.site("hook").received
        while len(received) < 3:
            time.sleep(0.05)
        for one in received:
            one.verify(hook["secret"])
        assert [one.seq for one in received] == [1, 2, 3]
        assert up.stop() == 0


def test_a_platform_stops_cleanly_when_its_terminal_and_the_reader_of_its_events_go() -> None:
    with tempfile.TemporaryDirectory(prefix="strange: ☂ ") as data, Up(Path(data)) as up:
        up.follow_the_welcome()
        pids = platform.find(Path(data)).pids
        assert up.process.stdout is not None
        up.process.stdout.close()
        up.process.send_signal(signal.SIGHUP)
        assert up.process.wait() == 0
        assert not any(map(psutil.pid_exists, pids.values()))


def test_the_other_subcommands_find_the_platform_and_a_second_one_is_refused(data: Path) -> None:
    with Up(data) as up:
        made = run_ledgerx("tenant", "create", "acme", "--json", "--data", str(data))
        assert made.returncode == 0
        assert msgspec.json.decode(made.stdout).keys() == {"tenant", "tenant_id", "client_id", "client_secret"}
        again = run_ledgerx("tenant", "create", "acme", "--data", str(data))
        assert (again.returncode, again.stderr) == (1, 'ledgerx: there is a tenant named "acme" already\n')
        user = run_ledgerx(
            "user", "create", "acme", "Ada@Example.com", "--role", "auditor", "--json", "--data", str(data)
        )
        token = msgspec.json.decode(user.stdout)["password_token"]
        assert up.post("/v1/auth/password-reset", token=token, password="correct horse") == (204, None)
        ada = {"tenant": "acme", "email": "ada@example.com", "password": "correct horse"}
        status, session = up.post("/v1/auth/login", **ada)
        assert (status, session["scope"]) == (200, "ledger:read")
        eve = ada | {"email": "eve@example.com"}
        assert up.post("/v1/auth/register", **eve)[0] == 403
        assert run_ledgerx("tenant", "registration", "acme", "open", "--data", str(data)).returncode == 0
        assert up.post("/v1/auth/register", **eve)[0] == 202
        status, eves = up.post("/v1/auth/login", **eve)
        assert status == 200
        told = []
        for said in ("no", "yes", "no"):
            assert run_ledgerx("tenant", "members-may-post", "acme", said, "--data", str(data)).returncode == 0
            payment = {"debit": "eve", "credit": "shop", "amount": "1"}
            told.append(up.post("/v1/transactions?dry_run=true", eves["access_token"], **payment)[1]["code"])
        assert told == ["forbidden", "unknown_account", "forbidden"]
        second = run_ledgerx("up", "--data", str(data))
        assert second.returncode == 1
        assert second.stderr == f"ledgerx: {data} is in use by another platform (process {up.process.pid})\n"
    gone = run_ledgerx("tenant", "create", "other", "--data", str(data))
    assert gone.returncode == 1
    assert gone.stderr.startswith(f"ledgerx: no platform is running on {data}")


def test_verify_finds_what_a_superuser_changed(data: Path) -> None:
    command = ("verify", "--tenant", "demo", "--data", str(data))
    with Up(data) as up:
        up.follow_the_welcome()
        good = run_ledgerx(*command)
        assert good.returncode == 0
        assert good.stdout.startswith("entries: 3\ntransactions: 1\npostings: 2\naccounts: 2\nhead: 3 ")
        with psycopg.connect(platform.find(data).database.admin_url) as connection:
            connection.execute("SET session_replication_role = replica")  # the triggers that refuse sleep
            connection.execute("UPDATE ledgerx.postings SET amount = 2 * amount WHERE seq = 3")
        bad = run_ledgerx(*command, "--json")
        assert bad.returncode == 1
        report = msgspec.json.decode(bad.stdout)
        assert (report["ok"], report["findings"][0]["seq"]) == (False, 3)
        unknown = run_ledgerx("verify", "--tenant", "nobody", "--data", str(data))
        assert (unknown.returncode, unknown.stderr) == (1, 'ledgerx: there is no tenant named "nobody"\n')


def test_a_port_that_is_in_use_is_a_clear_error(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run_ledgerx("up", "--data", str(data), "--port", str(port))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"ledgerx: port {port} is in use: choose another one with --port\n"


def test_how_to_reach_a_kafka_that_is_not_named_is_a_clear_error(data: Path) -> None:
    refused = run_ledgerx("up", "--data", str(data), LEDGERX_KAFKA_SECURITY_PROTOCOL="SASL_SSL")
    assert refused.returncode == 1
    assert refused.stderr == "ledgerx: LEDGERX_KAFKA_SECURITY_PROTOCOL has no use without LEDGERX_KAFKA\n"
