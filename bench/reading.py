"""How long reads take on a small and on a large journal, and how many pages of the database they touch.

Run it from the top of the repository: `.venv/bin/python -m bench.reading --postings 50000 5000000`. It brings a
PostgreSQL and an API of its own, and leaves nothing behind unless `--data` says where to keep the database; what a run
before left there is used again. Half of the postings are those of one account, and every `--dated`th transaction has an
effective time of its own.

There is one client. Times are the API's own, from the arrival of a request to the start of its answer: exact up to the
bounds of its histogram, between which quantiles are interpolated; the client's quantiles, which are exact, are given
beside them. On a machine with other work these wander, and CPU time and pages hardly: one client waits for nobody but
the disk, so that CPU time is what a request takes on a quiet machine. It is that of the API and of PostgreSQL, as Linux
counts it. Pages are those that PostgreSQL counts for the API's statements, in its cache or not.
"""

import argparse
import asyncio
import random
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import msgspec
import psycopg

from bench.reads import Reads
from ledgerx import __version__
from ledgerx.logins import ROLES, Database, set_passwords
from ledgerx.migrate import migrate
from ledgerx_cli.bench.command import machine_of
from ledgerx_cli.bench.quantiles import Buckets, buckets, growth, interpolated, nearest_rank
from ledgerx_cli.bench.report import Machine
from ledgerx_cli.embedded.postgres import Postgres
from ledgerx_cli.supervisor import Supervisor
from tests.integration.api_process import ApiProcess
from tests.integration.large_journal import USERS, make_large_journal

_WARM_UP = 20
_LONGEST_S = 5.0
_TARGET_S = 0.01
_HISTOGRAM = "ledgerx_http_request_seconds"
_COUNTED = """
    SELECT coalesce(sum(shared_blks_hit + shared_blks_read), 0)::bigint, coalesce(sum(total_exec_time), 0)
    FROM pg_stat_statements AS s INNER JOIN pg_roles AS r ON r.oid = s.userid WHERE r.rolname = 'ledgerx_api'
"""


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of read on a journal of so many postings.

    `p50_ms`, `p99_ms` and the number of those `over_10_ms` are the API's own; CPU time is that of the API and of its
    connections' backends. The last two are means: time of the backends for statements, and pages.
    """

    postings: int
    read: str
    requests: int
    p50_ms: float
    p99_ms: float
    over_10_ms: int
    client_p50_ms: float
    client_p99_ms: float
    cpu_p50_ms: float
    cpu_p99_ms: float
    database_ms: float
    pages: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a run found."""

    version: str
    started_at: datetime
    machine: Machine
    results: Sequence[Read]


@asynccontextmanager
async def servers(data: Path | None) -> AsyncIterator[tuple[Database, ApiProcess]]:
    """A PostgreSQL with the schema that counts what statements do, and an API on it."""
    directory = Path(tempfile.mkdtemp(prefix="ledgerx-"))
    supervisor = Supervisor(run=directory, logs=directory, report=lambda _event: None)
    try:
        postgres = Postgres(directory=(data or directory) / "postgres", password=_admin_password(data))
        postgres.initialise()
        settings = postgres.directory / "data" / "postgresql.auto.conf"
        settings.write_text("shared_preload_libraries = 'pg_stat_statements'\n")
        await supervisor.start(postgres.part())
        migrate(postgres.url())
        with psycopg.connect(postgres.url()) as connection:
            connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        database = set_passwords(postgres.url(), {role: secrets.token_urlsafe(16) for role in ROLES})
        api = ApiProcess(database, directory)
        api.start()
        try:
            yield database, api
        finally:
            api.end()
    finally:
        await supervisor.stop()
        shutil.rmtree(directory)


def _admin_password(data: Path | None) -> str:
    if data is None:
        return secrets.token_urlsafe(16)
    path = data / "password"
    if not path.exists():
        data.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(16))
    return path.read_text()


async def journal(database: Database, *, transactions: int, dated: int) -> UUID:
    """The tenant with such a journal, made if it is not there."""
    name = f"bench/{transactions}-{dated}"
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        found = connection.execute("SELECT tenant_id FROM ledgerx.tenants WHERE name = %s", (name,)).fetchone()
        tenant_id: UUID = (
            found[0] if found else await make_large_journal(database, name, transactions=transactions, dated=dated)
        )
        # What the server does by itself some time after, so that it does not while it is measured.
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")
    return tenant_id


class Meter:
    """Sends reads and sees what they cost."""

    def __init__(self, api: ApiProcess, session: aiohttp.ClientSession, connection: psycopg.Connection[Any]) -> None:
        self._api = api
        self._session = session
        self._connection = connection

    async def measure(self, postings: int, name: str, path: Callable[[], str], requests: int) -> Read:
        """Send one request after the other, the first few of which do not count, for five seconds at most."""
        for _ in range(_WARM_UP):
            await self._get(path())
        times_ns: list[int] = []
        self._connection.execute("SELECT pg_stat_statements_reset()")
        before = await self._observed()
        tasks = self._tasks()
        cpu_ns: list[int] = []
        began = time.monotonic()
        while len(times_ns) < requests and time.monotonic() - began < _LONGEST_S:
            target = path()
            cpu_before_ns, started = _cpu_ns(tasks), time.perf_counter_ns()
            await self._get(target)
            times_ns.append(time.perf_counter_ns() - started)
            cpu_ns.append(_cpu_ns(tasks) - cpu_before_ns)
        observed = growth(before, await self._observed())
        [(pages, database_ms)] = self._connection.execute(_COUNTED)
        times_ns.sort()
        cpu_ns.sort()
        return Read(
            postings=postings,
            read=name,
            requests=len(times_ns),
            p50_ms=_ms(interpolated(observed, 0.5)),
            p99_ms=_ms(interpolated(observed, 0.99)),
            over_10_ms=round(observed[float("inf")] - observed[_TARGET_S]),
            client_p50_ms=_ms(nearest_rank(times_ns, 0.5) / 1e9),
            client_p99_ms=_ms(nearest_rank(times_ns, 0.99) / 1e9),
            cpu_p50_ms=_ms(nearest_rank(cpu_ns, 0.5) / 1e9),
            cpu_p99_ms=_ms(nearest_rank(cpu_ns, 0.99) / 1e9),
            database_ms=round(database_ms / len(times_ns), 3),
            pages=round(pages / len(times_ns), 1),
        )

    def _tasks(self) -> list[Path]:
        """Where Linux tells the CPU time of each thread of the API and of its connections' backends."""
        backends = self._connection.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'ledgerx_api'")
        pids = (self._api.pid, *(pid for (pid,) in backends))
        return [path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]

    async def _get(self, path: str) -> str:
        async with self._session.get(path) as answer:
            answer.raise_for_status()
            return await answer.text()

    async def _observed(self) -> Buckets:
        return buckets(await self._get("/metrics"), _HISTOGRAM)


def _cpu_ns(tasks: Sequence[Path]) -> int:
    return sum(int(path.read_text().split()[0]) for path in tasks)


def _ms(seconds: float | None) -> float:
    if seconds is None:
        raise SystemExit(f"the API's page of metrics has no {_HISTOGRAM}")
    return round(seconds * 1e3, 2)


async def run(
    sizes: list[int], *, dated: int, requests: int, data: Path | None, only: str
) -> tuple[Machine, Sequence[Read]]:
    """Measure on journals of each size, one after the other in one database."""
    results = []
    async with servers(data) as (database, api):
        for postings in sizes:
            transactions = postings // 2
            tenant_id = await journal(database, transactions=transactions, dated=dated)
            kinds = Reads(USERS + 1 + transactions, random.Random(1)).kinds()  # noqa: S311 - the same in every run
            with psycopg.connect(database.admin_url, autocommit=True) as connection:
                for name, path in kinds.items():
                    if only not in name:
                        continue
                    headers = {"Authorization": f"Bearer {api.token(tenant_id)}"}
                    async with aiohttp.ClientSession(api.base_url, headers=headers) as session:
                        read = await Meter(api, session, connection).measure(postings, name, path, requests)
                    print(msgspec.json.encode(read).decode(), flush=True)  # noqa: T201 - progress
                    results.append(read)
        with psycopg.connect(database.admin_url) as connection:
            return machine_of(connection), results


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postings", type=int, nargs="+", default=[50_000, 5_000_000])
    parser.add_argument("--dated", type=int, default=2, help="every how many transactions one has a time of its own")
    parser.add_argument("--requests", type=int, default=1_000, help="of each kind of read")
    parser.add_argument("--data", type=Path, help="where to keep the database")
    parser.add_argument("--only", default="", help="the reads that have this in their names")
    parser.add_argument("--output", type=Path, help="where to write the report")
    options = parser.parse_args()
    started_at = datetime.now(UTC)
    machine, results = asyncio.run(
        run(options.postings, dated=options.dated, requests=options.requests, data=options.data, only=options.only)
    )
    if options.output is not None:
        report = Report(version=__version__, started_at=started_at, machine=machine, results=results)
        options.output.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")


if __name__ == "__main__":
    main()
