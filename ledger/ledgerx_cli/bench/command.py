"""`ledgerx bench`."""

import os
import platform as python_platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeAlias, TypeVar

import msgspec
import psutil
import psycopg
from cyclopts import Parameter, Token
from cyclopts.types import PositiveFloat, PositiveInt
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from ledgerx import __version__
from ledgerx_cli import platform
from ledgerx_cli.bench import yardsticks as yards
from ledgerx_cli.bench.measure import Connection, measure, read_heads
from ledgerx_cli.bench.report import BATCH_CONNECTIONS, POSTS_CONNECTIONS, Machine, Report, Result, Yardstick, ratios
from ledgerx_cli.bench.tables import render
from ledgerx_cli.bench.target import BenchFailed, Target, fetch_token
from ledgerx_cli.bench.traffic import Scenario, open_accounts
from ledgerx_cli.options import DEFAULT_DATA, AsJson, Data

T = TypeVar("T")
Level: TypeAlias = Annotated[int, msgspec.Meta(gt=0)]
Step: TypeAlias = Callable[[str], None]


def _comma_separated(kind: type[T], tokens: Sequence[Token]) -> T:
    try:
        return msgspec.convert([part for token in tokens for part in token.value.split(",")], kind, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


_COMMA_SEPARATED = Parameter(
    converter=_comma_separated,
    n_tokens=1,
    negative="",
    show_default=lambda values: ",".join(map(str, values)),
)


def bench(
    *,
    duration_s: PositiveFloat = 10,
    connections: Annotated[tuple[Level, ...], _COMMA_SEPARATED] = (1, 16, 64, 128),
    scenarios: Annotated[tuple[Scenario, ...], _COMMA_SEPARATED] = tuple(Scenario),
    transactions: PositiveInt | None = None,
    yardsticks: bool = True,
    output: Path | None = None,
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> int:
    """Measure a running platform from this process. Exits 0 only when every request succeeded.

    Parameters
    ----------
    duration_s
        Seconds that each scenario runs at each number of connections.
    connections
        Numbers of connections, separated by commas.
    scenarios
        What to run over HTTP, separated by commas.
    transactions
        Let "posts" at 64 connections post exactly so many, however long it takes.
    yardsticks
        Measure raw inserts and pgbench on the same database server too.
    output
        File to write the JSON to, whatever is printed.
    data
        The data directory of the platform.
    json
        Print JSON instead of tables.

    """
    if transactions and not (Scenario.POSTS in scenarios and POSTS_CONNECTIONS in connections):
        raise BenchFailed(f'--transactions goes with the scenario "posts" and {POSTS_CONNECTIONS} connections')
    target = Target(platform.find(data), platform.demo(data))
    runs = [(scenario, level) for level in connections for scenario in scenarios if scenario.transactions == 1]
    runs += [(scenario, BATCH_CONNECTIONS) for scenario in scenarios if scenario.transactions > 1]
    results: list[Result] = []
    work: list[Yardstick] = []
    started_at = datetime.now(UTC)
    with (
        psycopg.connect(target.platform.database.admin_url, autocommit=True) as connection,
        _progress(1 + len(runs) + 2 * yardsticks) as step,
    ):
        step("accounts")
        open_accounts(target, fetch_token(target))
        for scenario, level in runs:
            step(f"{scenario} x {level}")
            counted = transactions if (scenario, level) == (Scenario.POSTS, POSTS_CONNECTIONS) else None
            length_s = None if counted else duration_s
            results.append(
                measure(scenario, target, connection, connections=level, duration_s=length_s, requests=counted)
            )
        if yardsticks:
            step(yards.RAW_INSERT)
            work.append(yards.raw_insert(target, read_heads(connection, target.demo.tenant)))
            step(yards.PGBENCH)
            work.append(yards.pgbench(target, duration_s=duration_s))
        report = Report(
            version=__version__,
            started_at=started_at,
            machine=machine_of(connection),
            results=results,
            yardsticks=work,
            ratios=ratios(results, work),
        )
    _publish(report, json=json, output=output)
    return int(any(result.errors for result in results))


@contextmanager
def _progress(steps: int) -> Iterator[Step]:
    # On standard error, and redrawn rarely: it must not take time from the load.
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=2, transient=True) as progress:
        task = progress.add_task("", total=steps)
        begun = -1

        def step(description: str) -> None:
            nonlocal begun
            begun += 1
            progress.update(task, description=description, completed=begun)

        yield step


def machine_of(connection: Connection) -> Machine:
    """The machine that this runs on, and the server of `connection`."""
    return Machine(
        system=python_platform.platform(),
        cpus=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        python=python_platform.python_version(),
        postgres=connection.info.parameter_status("server_version") or "",
    )


def _publish(report: Report, *, json: bool, output: Path | None) -> None:
    document = msgspec.json.format(msgspec.json.encode(report)) + b"\n"
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(document)
    if json:
        sys.stdout.buffer.write(document)
    else:
        Console().print(render(report))
