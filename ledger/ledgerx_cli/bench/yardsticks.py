"""What the same database server does without the ledger above it."""

import asyncio
import os
import re
import subprocess
import time
from typing import Any, LiteralString
from uuid import UUID

import msgspec
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from ledgerx.batch import append_parameters
from ledgerx.database import Connection, Queries, connect, tenant_scope
from ledgerx.journal import Entry
from ledgerx.rows import read_entries
from ledgerx_cli.bench import processes
from ledgerx_cli.bench.measure import Heads
from ledgerx_cli.bench.report import Yardstick
from ledgerx_cli.bench.target import BenchFailed, Target
from ledgerx_cli.embedded.postgres import binaries

RAW_INSERT = "raw-insert"
PGBENCH = "pgbench"
BATCH_TRANSACTIONS = 500
MAX_TRANSACTIONS = 20_000
PGBENCH_CLIENTS = 64
# On a busy machine its connections take a while to open.
_PGBENCH_SHORTEST_S = 5
PGBENCH_SCALE = 10

_DATABASE_PART = "postgres"
_PGBENCH_DATABASE = "ledgerx_pgbench"
_PGBENCH_RESULT = re.compile(r"actually processed: (\d+).*^tps = ([\d.]+)", re.MULTILINE | re.DOTALL)
# libpq reads these: a password on the command line would be there for all to see.
_PGBENCH_ENVIRONMENT = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}

_queries = Queries("ledgerx_cli.bench", "bench.sql")
_posting = Queries("ledgerx", "sql/posting.sql")


class _Moment(msgspec.Struct, frozen=True):
    clock_s: float
    database_cpu_s: float | None


def raw_insert(target: Target, heads: Heads) -> Yardstick:
    """Insert the newest rows of a journal a second time, into copies of its tables that are dropped after.

    Each of at most `MAX_TRANSACTIONS` entries comes with its postings, `BATCH_TRANSACTIONS` to a commit and an outbox
    row, by the engine's own statements in one round trip: the write path without all that decides.
    """
    return asyncio.run(_raw_insert(target, heads))


async def _raw_insert(target: Target, heads: Heads) -> Yardstick:
    async with await connect(target.platform.database.admin_url, application_name="ledgerx-bench") as connection:
        batches = await _read_batches(connection, heads.tenant_id, heads.journal_seq)
        await connection.execute(_queries.create_scratch, prepare=False)
        try:
            before = _now(target)
            for batch in batches:
                async with tenant_scope(connection, heads.tenant_id):
                    await connection.execute(_on_scratch(_posting.append), batch)
            after = _now(target)
        finally:
            await connection.execute(_queries.drop_scratch, prepare=False)
    transactions = sum(len(batch["seq"]) for batch in batches)
    rate_per_s = transactions / (after.clock_s - before.clock_s)
    return _yardstick(RAW_INSERT, transactions, rate_per_s, before, after)


async def _read_batches(connection: Connection, tenant_id: UUID, last_seq: int) -> list[dict[str, Any]]:
    first_seq = max(last_seq - MAX_TRANSACTIONS, 0) + 1
    batches = []
    for first in range(first_seq, last_seq + 1, BATCH_TRANSACTIONS):
        async with tenant_scope(connection, tenant_id):
            seqs = range(first, min(first + BATCH_TRANSACTIONS, last_seq + 1))
            batches.append(_batch(tenant_id, await read_entries(connection, tenant_id, seqs)))
    return batches


def _batch(tenant_id: UUID, entries: list[Entry]) -> dict[str, Any]:
    return {"tenant_id": tenant_id, **append_parameters(tenant_id, entries[0].hash, entries, None)}


def _on_scratch(statement: LiteralString) -> LiteralString:
    return statement.replace(" ledgerx.", " ledgerx_bench.")


def pgbench(target: Target, *, duration_s: float) -> Yardstick:
    """PostgreSQL's own TPC-B-like script, in a database that is dropped after. Raises `BenchFailed`."""
    admin_url = target.platform.database.admin_url
    database = sql.Identifier(_PGBENCH_DATABASE)
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(database)
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute(drop)
        connection.execute(sql.SQL("CREATE DATABASE {}").format(database))
        try:
            _pgbench(admin_url, "--initialize", "--quiet", f"--scale={PGBENCH_SCALE}")
            before = _now(target)
            output = _pgbench(
                admin_url,
                f"--client={PGBENCH_CLIENTS}",
                "--jobs=2",
                f"--time={max(round(duration_s), _PGBENCH_SHORTEST_S)}",
            )
            after = _now(target)
        finally:
            connection.execute(drop)
    result = _PGBENCH_RESULT.search(output)
    if result is None:
        raise BenchFailed(f"pgbench said nothing of its rate: {output}")
    return _yardstick(PGBENCH, int(result[1]), float(result[2]), before, after)


def _pgbench(admin_url: str, *options: str) -> str:
    parameters = conninfo_to_dict(admin_url)
    environment = {
        variable: str(parameters[name]) for name, variable in _PGBENCH_ENVIRONMENT.items() if name in parameters
    }
    done = subprocess.run(  # noqa: S603 - put together here
        [binaries() / "pgbench", *options, _PGBENCH_DATABASE],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BenchFailed(f"pgbench failed: {done.stderr.strip()}")
    return done.stdout


def _now(target: Target) -> _Moment:
    database = {part: pid for part, pid in target.platform.pids.items() if part == _DATABASE_PART}
    used_s = [usage.cpu_s for usage in processes.usage(database).values()]
    return _Moment(time.perf_counter(), used_s[0] if used_s else None)


def _yardstick(name: str, transactions: int, rate_per_s: float, before: _Moment, after: _Moment) -> Yardstick:
    cpu_ms = None
    if before.database_cpu_s is not None and after.database_cpu_s is not None:
        cpu_ms = round((after.database_cpu_s - before.database_cpu_s) / transactions * 1e3, 4)
    return Yardstick(
        name=name, transactions=transactions, rate_per_s=round(rate_per_s, 1), cpu_ms_per_transaction=cpu_ms
    )
