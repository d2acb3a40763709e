import io
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from rich.console import Console

from ledgerx_cli.bench import processes
from ledgerx_cli.bench.report import Machine, PartUsage, Ratio, Report, Result, Writes, Yardstick, ratios
from ledgerx_cli.bench.tables import render
from ledgerx_cli.bench.target import BenchFailed
from ledgerx_cli.bench.traffic import Scenario

BURN_S = 0.3
BURN_IN_A_CHILD = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < {BURN_S}: pass"], check=True)
print("burnt", flush=True)
sys.stdin.read()
"""


def result(scenario: Scenario, connections: int, *, rate_per_s: float, cpu_ms: float) -> Result:
    return Result(
        scenario=scenario,
        connections=connections,
        requests=100,
        errors={"503 overloaded": 2},
        duration_s=1,
        rate_per_s=rate_per_s,
        p50_ms=1,
        p99_ms=2,
        max_ms=3,
        generator_cpu_us_per_request=10,
        cpu_ms_per_request=cpu_ms,
        parts={"api": PartUsage(cpu_ms_per_request=cpu_ms, memory_bytes=1 << 20)},
        writes=Writes(
            catch_up_s=0.5,
            streams_rate_per_s=90.0,
            freshness_p50_ms=None,
            freshness_p99_ms=12,
            journal_bytes=456,
            outbox_bytes=123,
            wal_bytes=789,
        ),
    )


RESULTS = [
    result(Scenario.NOOP, 64, rate_per_s=900, cpu_ms=0.1),
    result(Scenario.POSTS, 64, rate_per_s=300, cpu_ms=0.4),
    result(Scenario.POSTS_HOT, 64, rate_per_s=330, cpu_ms=0.3),
    result(Scenario.POSTS, 1, rate_per_s=30, cpu_ms=1),
]
PGBENCH = Yardstick(name="pgbench", transactions=10, rate_per_s=600, cpu_ms_per_transaction=None)


def test_rates_are_held_against_each_other_where_the_connections_are_the_same() -> None:
    assert ratios(RESULTS, [PGBENCH]) == [
        Ratio(of="posts", to="noop", connections=64, rate_ratio=0.333, cpu_ratio=4),
        Ratio(of="posts-hot", to="posts", connections=64, rate_ratio=1.1, cpu_ratio=0.75),
        Ratio(of="posts", to="pgbench", connections=64, rate_ratio=0.5, cpu_ratio=None),
        Ratio(of="posts", to="pgbench", connections=1, rate_ratio=0.05, cpu_ratio=None),
    ]


def test_the_tables_show_every_run_yardstick_and_ratio() -> None:
    machine = Machine(system="test", cpus=2, memory_bytes=1, python="3.13", postgres="18")
    report = Report(
        version="1",
        started_at=datetime.now(UTC),
        machine=machine,
        results=RESULTS,
        yardsticks=[PGBENCH],
        ratios=ratios(RESULTS, [PGBENCH]),
    )
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(render(report))
    lines = console.export_text().splitlines()
    assert sum("posts-hot x 64" in line for line in lines) == 3
    for shown in ("2 x 503 overloaded", "posts / noop x 64", "pgbench", "456", "123", "789"):
        assert any(shown in line for line in lines), shown


def test_a_part_is_charged_for_children_that_have_ended() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BURN_IN_A_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        usage = processes.usage({"burner": process.pid})["burner"]
        process.communicate()
    # Linux counts user and system time in whole ticks of 10 ms each.
    assert usage.cpu_s >= BURN_S - 0.02
    assert usage.memory_bytes > 0


def test_a_part_that_is_gone_fails_the_run() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(BenchFailed, match="cannot be observed"):
        processes.usage({"this": os.getpid(), "gone": process.pid})
