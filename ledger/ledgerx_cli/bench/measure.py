"""One run of a scenario, with all that is read around it: the database, the processes, the streams' metrics."""

import time
from typing import Any, TypeAlias
from uuid import UUID

import msgspec
import psycopg

from ledgerx.database import Queries
from ledgerx_cli.bench import load, processes, quantiles
from ledgerx_cli.bench.load import Load
from ledgerx_cli.bench.processes import Usage
from ledgerx_cli.bench.quantiles import Buckets
from ledgerx_cli.bench.report import PartUsage, Result, Writes
from ledgerx_cli.bench.target import BenchFailed, Target, fetch_streams_metrics, fetch_token
from ledgerx_cli.bench.traffic import Scenario, requests_of

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

_FRESHNESS = "ledgerx_projection_freshness_seconds"
_CATCH_UP_TIMEOUT_S = 300
_CATCH_UP_POLL_S = 0.01

_queries = Queries("ledgerx_cli.bench", "bench.sql")


class Heads(msgspec.Struct, frozen=True):
    """How far a tenant's journal has come, and the projection of it that is furthest behind."""

    tenant_id: UUID
    journal_seq: int
    projection_seq: int


class Storage(msgspec.Struct, frozen=True):
    """Bytes of the tables that a post writes, indexes included, and of all write-ahead log so far."""

    journal_bytes: int
    outbox_bytes: int
    wal_bytes: int


class _Before(msgspec.Struct, frozen=True):
    storage: Storage
    freshness: Buckets


def read_heads(connection: Connection, tenant: str) -> Heads:
    """The heads of the tenant with this name. Raises `BenchFailed` when there is none."""
    row = connection.execute(_queries.heads, {"tenant": tenant}).fetchone()
    if row is None:
        raise BenchFailed(f'there is no tenant named "{tenant}"')
    return Heads(*row)


def measure(
    scenario: Scenario,
    target: Target,
    connection: Connection,
    *,
    connections: int,
    duration_s: float | None = None,
    requests: int | None = None,
) -> Result:
    """Run `scenario` for a time or for a number of requests; writes are observed until the streams have caught up.

    `connection` is the database administrator's. Raises `BenchFailed`.
    """
    traffic = requests_of(scenario, target, fetch_token(target))
    before = _before_writes(target, connection) if scenario.writes else None
    usage_before = processes.usage(target.platform.pids)
    seen = load.run(
        traffic, host=target.host, port=target.port, connections=connections, duration_s=duration_s, count=requests
    )
    writes = None if before is None else _writes(target, connection, before, seen, scenario)
    usage_after = processes.usage(target.platform.pids)
    return _result(
        scenario, connections, seen, _parts(usage_before, usage_after, seen.answered * scenario.transactions), writes
    )


def _before_writes(target: Target, connection: Connection) -> _Before:
    connection.execute(_queries.checkpoint)
    return _Before(_read_storage(connection), _read_freshness(target))


def _writes(target: Target, connection: Connection, before: _Before, seen: Load, scenario: Scenario) -> Writes:
    transactions = seen.succeeded * scenario.transactions
    catch_up_s = _catch_up(connection, target.demo.tenant)
    storage = _read_storage(connection)
    freshness = quantiles.growth(before.freshness, _read_freshness(target))
    per = max(transactions, 1)
    return Writes(
        catch_up_s=round(catch_up_s, 3),
        streams_rate_per_s=round(transactions / (seen.duration_s + catch_up_s), 1),
        freshness_p50_ms=_milliseconds(quantiles.interpolated(freshness, 0.50)),
        freshness_p99_ms=_milliseconds(quantiles.interpolated(freshness, 0.99)),
        journal_bytes=round((storage.journal_bytes - before.storage.journal_bytes) / per, 1),
        outbox_bytes=round((storage.outbox_bytes - before.storage.outbox_bytes) / per, 1),
        wal_bytes=round((storage.wal_bytes - before.storage.wal_bytes) / per, 1),
    )


def _catch_up(connection: Connection, tenant: str) -> float:
    started = time.perf_counter()
    while (waited_s := time.perf_counter() - started) < _CATCH_UP_TIMEOUT_S:
        heads = read_heads(connection, tenant)
        if heads.projection_seq == heads.journal_seq:
            return waited_s
        time.sleep(_CATCH_UP_POLL_S)
    raise BenchFailed(f"the streams have not caught up within {_CATCH_UP_TIMEOUT_S} s")


def _read_storage(connection: Connection) -> Storage:
    [row] = connection.execute(_queries.storage)
    return Storage(*row)


def _read_freshness(target: Target) -> Buckets:
    return quantiles.buckets(fetch_streams_metrics(target), _FRESHNESS)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1e3, 1)


def _parts(before: dict[str, Usage], after: dict[str, Usage], requests: int) -> dict[str, PartUsage]:
    return {
        part: PartUsage(
            cpu_ms_per_request=round((usage.cpu_s - before[part].cpu_s) / requests * 1e3, 4),
            memory_bytes=usage.memory_bytes,
        )
        for part, usage in after.items()
    }


def _result(
    scenario: Scenario, connections: int, seen: Load, parts: dict[str, PartUsage], writes: Writes | None
) -> Result:
    latencies_ns = sorted(seen.latencies_ns)
    return Result(
        scenario=scenario,
        connections=connections,
        requests=seen.answered,
        errors=seen.errors,
        duration_s=round(seen.duration_s, 3),
        rate_per_s=round(seen.succeeded * scenario.transactions / seen.duration_s, 1),
        p50_ms=round(quantiles.nearest_rank(latencies_ns, 0.50) / 1e6, 3),
        p99_ms=round(quantiles.nearest_rank(latencies_ns, 0.99) / 1e6, 3),
        max_ms=round(latencies_ns[-1] / 1e6, 3),
        generator_cpu_us_per_request=round(seen.generator_cpu_s / seen.answered * 1e6, 2),
        cpu_ms_per_request=round(sum(part.cpu_ms_per_request for part in parts.values()), 4),
        parts=parts,
        writes=writes,
    )
