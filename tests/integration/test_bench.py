import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest

from ledgerx_cli import platform
from ledgerx_cli.bench.report import Report
from ledgerx_cli.bench.traffic import Scenario
from ledgerx_cli.ports import free_port

COMMAND = (sys.executable, "-m", "ledgerx_cli")


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """The data directory of a running platform."""
    data = tmp_path / "data"
    with subprocess.Popen(
        [*COMMAND, "up", "--json", "--data", data, "--port", str(free_port())], stdout=subprocess.PIPE
    ) as up:
        assert up.stdout is not None
        assert any(b'"event":"ready"' in line for line in up.stdout)
        yield data
        up.terminate()
        up.communicate()


def bench(data: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, "bench", "--data", data, *options], capture_output=True, check=False)


def test_a_platform_is_measured_beside_the_yardsticks_and_nothing_is_left_of_them(data: Path) -> None:
    output = data / "results" / "bench.json"
    done = bench(
        data, "--connections", "2,64", "--duration-s", "0.3", "--transactions", "700", "--output", str(output), "--json"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == output.read_bytes()
    report = msgspec.json.decode(done.stdout, type=Report)

    runs = {(result.scenario, result.connections): result for result in report.results}
    single = [scenario for scenario in Scenario if scenario.transactions == 1]
    assert runs.keys() == {
        *((scenario, level) for scenario in single for level in (2, 64)),
        (Scenario.BATCH_1000, 2),
        (Scenario.BATCH_10000, 2),
    }
    assert runs[Scenario.POSTS, 64].requests == 700
    parts = platform.find(data).pids.keys()
    for result in report.results:
        assert not result.errors
        assert result.p50_ms <= result.p99_ms <= result.max_ms
        assert result.parts.keys() == parts
        assert result.parts["api"].cpu_ms_per_request > 0
        assert (result.writes is not None) == result.scenario.writes
    counted = runs[Scenario.POSTS, 64].writes
    assert counted is not None
    assert counted.journal_bytes > 0
    assert counted.wal_bytes > counted.journal_bytes
    assert counted.freshness_p99_ms is not None
    assert 0 < counted.streams_rate_per_s <= runs[Scenario.POSTS, 64].rate_per_s

    assert [yardstick.name for yardstick in report.yardsticks] == ["raw-insert", "pgbench"]
    assert all(yardstick.rate_per_s > 0 for yardstick in report.yardsticks)
    with psycopg.connect(platform.find(data).database.admin_url) as connection:
        schemas = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ 'bench'").fetchall()
        databases = connection.execute("SELECT datname FROM pg_database WHERE datname ~ 'bench'").fetchall()
        posted = connection.execute("SELECT count(*) FROM ledgerx.entries WHERE kind = 'post'").fetchone()
    assert (schemas, databases) == ([], [])
    assert posted == (
        sum(result.requests * result.scenario.transactions for result in report.results if result.scenario.writes),
    )


def test_what_cannot_be_run_is_said_in_a_line(tmp_path: Path) -> None:
    refused = bench(tmp_path, "--connections", "1", "--transactions", "10")
    assert (refused.returncode, refused.stdout) == (1, b"")
    assert refused.stderr.startswith(b"ledgerx: --transactions goes with")


def test_without_a_platform_there_is_nothing_to_measure(tmp_path: Path) -> None:
    refused = bench(tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.startswith(b"ledgerx: no platform is running on")
