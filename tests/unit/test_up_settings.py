"""What `ledgerx up` takes from its environment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ledgerx.errors import ConfigurationError
from ledgerx_cli.up_settings import PARTS, PartName, Plan, load_plan

URL = "postgresql://postgres:s3cret@db/ledger"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("LEDGERX_"):
            monkeypatch.delenv(name)


def plan(*parts: PartName, host: str = "127.0.0.1") -> Plan:
    return load_plan(frozenset(parts or PARTS), host=host, port=8080)


def test_the_whole_platform_needs_no_setting() -> None:
    whole = plan()
    assert whole.own_parts == ("relay", "streams", "api")
    assert whole.base_url == "http://127.0.0.1:8080"
    assert whole.settings.kafka_address is None


@pytest.mark.parametrize(("host", "local"), [("0.0.0.0", "127.0.0.1"), ("127.0.0.2", "127.0.0.2")])  # noqa: S104
def test_the_api_is_reached_where_it_listens(host: str, local: str) -> None:
    assert plan(host=host).base_url == f"http://{local}:8080"


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        (("api",), "api needs a database: run postgres too, or set LEDGERX_DATABASE_URL"),
        (("kafka", "relay"), "relay needs a database: run postgres too, or set LEDGERX_DATABASE_URL"),
        (("postgres", "streams", "api"), "streams needs a Kafka: run kafka too, or set LEDGERX_KAFKA"),
    ],
)
def test_a_part_needs_servers(parts: tuple[PartName, ...], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        plan(*parts)


def test_servers_can_be_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGERX_DATABASES", "/run/databases")
    monkeypatch.setenv("LEDGERX_KAFKA", "kafka:9092")
    monkeypatch.setenv("LEDGERX_KAFKA_USERNAME", "ledgerx")
    assert plan("relay", "streams", "api").settings.kafka == "kafka:9092"


def test_parts_inherit_nothing_that_is_told_to_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("s3cret\n")
    monkeypatch.setenv("LEDGERX_DATABASE_URL", URL)
    monkeypatch.setenv("LEDGERX_POSTGRES_PASSWORD_FILE", str(password))
    monkeypatch.setenv("LEDGERX_MANAGEMENT_PORT", "9090")
    monkeypatch.setenv("LEDGERX_LOG_LEVEL", "DEBUG")
    given = plan().settings
    assert given.management_port == 9090
    assert given.postgres_password is not None
    assert given.postgres_password.reveal() == "s3cret"
    assert [name for name in os.environ if name.startswith("LEDGERX_")] == ["LEDGERX_LOG_LEVEL"]


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"DATABASE_URL": URL, "DATABASES": "/run/databases"}, "LEDGERX_DATABASE_URL and LEDGERX_DATABASES are both"),
        ({"KAFKA_CA_FILE": "/tls/ca.crt"}, "LEDGERX_KAFKA_CA_FILE has no use without LEDGERX_KAFKA"),
        ({"KAFKA_PASSWORD_FILE": "/password"}, "LEDGERX_KAFKA_PASSWORD_FILE has no use without LEDGERX_KAFKA"),
        ({"POSTGRES_TCP_PORT": "70000"}, "LEDGERX_POSTGRES_TCP_PORT"),
        ({"MANAGEMENT_PORT": "none"}, "LEDGERX_MANAGEMENT_PORT"),
        ({"KAFKA_ADVERTISED": "kafka"}, "LEDGERX_KAFKA_ADVERTISED is no host:port"),
        ({"KAFKA_ADVERTISED": "kafka,evil:9092"}, "LEDGERX_KAFKA_ADVERTISED is no host:port"),
        ({"KAFKA_ADVERTISED": "kafka:0"}, "LEDGERX_KAFKA_ADVERTISED is no host:port"),
        ({"KAFKA_ADVERTISED": "kafka:70000"}, "LEDGERX_KAFKA_ADVERTISED is no host:port"),
    ],
)
def test_what_makes_no_sense_is_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], complaint: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"LEDGERX_{name}", value)
    with pytest.raises(ConfigurationError, match=complaint):
        plan()


def test_a_service_s_variables_that_kubernetes_adds_are_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGERX_KAFKA_SERVICE_HOST", "10.96.0.7")
    monkeypatch.setenv("LEDGERX_KAFKA_PORT_9092_TCP_ADDR", "10.96.0.7")
    assert plan().settings.kafka is None


def test_a_platform_without_the_extra_says_so() -> None:
    program = (
        "import sys; sys.modules['psutil'] = None; from ledgerx_cli.main import main; sys.argv[1:] = ['up']; main()"
    )
    refused = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr == "ledgerx: the embedded servers are not installed: pip install 'ledgerx[embedded]'\n"
