"""How the streams keep up with what the API takes at its best, in single posts and in batches.

Run it from the top of the repository: `.venv/bin/python -m bench.sustaining`. It brings a platform of its own. The
highest rate of single posts is looked for with few and with many connections, and then kept up. Meanwhile somebody
looks twenty times a second how long ago the first entry was recorded that a projection lacks, of the projection that
is furthest behind: what a reader of it misses.
"""

import argparse
import asyncio
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg

from ledgerx import database as db
from ledgerx.integrity import read_integrity
from ledgerx.tenancy import find_tenant
from ledgerx_cli import platform
from ledgerx_cli.bench import quantiles
from ledgerx_cli.bench.command import machine_of
from ledgerx_cli.bench.measure import Connection, measure
from ledgerx_cli.bench.report import BATCH_CONNECTIONS, Machine, Result
from ledgerx_cli.bench.target import Target, fetch_token
from ledgerx_cli.bench.traffic import Scenario, open_accounts
from tests.integration.up_process import Up

CONNECTIONS = (16, 64, 128)
_LOOKS_PER_S = 20


class Sustained(msgspec.Struct, frozen=True, kw_only=True):
    """A run, and how far behind a reader of the slowest projection was during it."""

    run: Result
    behind_p50_ms: float
    behind_p99_ms: float
    behind_max_ms: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """`looked_for` are the runs that the highest rate of single posts was looked for with."""

    started_at: datetime
    machine: Machine
    looked_for: list[Result]
    sustained: list[Sustained]


def run(*, look_s: float, duration_s: float) -> Report:
    """Measure a platform that is started for it."""
    started_at = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="ledgerx-") as directory, Up(Path(directory)):
        target = Target(platform.find(Path(directory)), platform.demo(Path(directory)))
        with psycopg.connect(target.platform.database.admin_url, autocommit=True) as connection:
            open_accounts(target, fetch_token(target))
            looked_for = [
                measure(Scenario.POSTS, target, connection, connections=level, duration_s=look_s)
                for level in CONNECTIONS
            ]
            best = max(looked_for, key=lambda result: result.rate_per_s)
            runs = ((Scenario.POSTS, best.connections), (Scenario.BATCH_1000, BATCH_CONNECTIONS))
            sustained = [
                _sustain(scenario, target, connection, connections=connections, duration_s=duration_s)
                for scenario, connections in runs
            ]
            machine = machine_of(connection)
    return Report(started_at=started_at, machine=machine, looked_for=looked_for, sustained=sustained)


def _sustain(
    scenario: Scenario, target: Target, connection: Connection, *, connections: int, duration_s: float
) -> Sustained:
    with _watched(target) as seen_ms:
        result = measure(scenario, target, connection, connections=connections, duration_s=duration_s)
    ordered = sorted(seen_ms)
    return Sustained(
        run=result,
        behind_p50_ms=quantiles.nearest_rank(ordered, 0.50),
        behind_p99_ms=quantiles.nearest_rank(ordered, 0.99),
        behind_max_ms=ordered[-1],
    )


@contextmanager
def _watched(target: Target) -> Iterator[list[int]]:
    """Collects how many milliseconds the slowest projection is behind, until the block ends."""
    seen_ms: list[int] = []
    done = threading.Event()

    async def watch() -> None:
        async with db.pool(target.platform.database.owner_url, application_name="bench", max_size=1) as pool:
            async with pool.connection() as connection:
                tenant_id = await find_tenant(connection, target.demo.tenant)
            while not done.is_set():
                state = await read_integrity(pool, tenant_id)
                seen_ms.append(round(1_000 * max(one.behind_s for one in state.projections)))
                await asyncio.sleep(1 / _LOOKS_PER_S)

    watching = threading.Thread(target=lambda: asyncio.run(watch()))
    watching.start()
    try:
        yield seen_ms
    finally:
        done.set()
        watching.join()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--look-s", type=float, default=4, help="seconds of each run that looks for the highest rate")
    parser.add_argument("--duration-s", type=float, default=30, help="seconds that it is kept up for")
    parser.add_argument("--output", type=Path, help="file to write the JSON to, besides printing it")
    options = parser.parse_args()
    document = msgspec.json.format(msgspec.json.encode(run(look_s=options.look_s, duration_s=options.duration_s)))
    print(document.decode())  # noqa: T201 - the report
    if options.output is not None:
        options.output.write_bytes(document + b"\n")


if __name__ == "__main__":
    main()
