"""What a benchmark found, as `--json` prints it."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from ledgerx_cli.bench.traffic import Scenario

# What the rate of each scenario is held against, at the same number of connections.
_COMPARISONS = (
    (Scenario.POSTS, Scenario.NOOP),
    (Scenario.POSTS_HOT, Scenario.POSTS),
    (Scenario.POSTS_HOT_GUARDED, Scenario.POSTS),
    (Scenario.READS, Scenario.NOOP),
)
# Batches run on few connections, and are held against single posts on many.
BATCH_CONNECTIONS = 2
POSTS_CONNECTIONS = 64


class PartUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What one part of the platform used during a run; memory is what it held at the end.

    A batch counts as many requests as it has transactions.
    """

    cpu_ms_per_request: float
    memory_bytes: int


class Writes(msgspec.Struct, frozen=True, kw_only=True):
    """What the transactions of a run left behind; bytes are per transaction.

    `catch_up_s` runs from the last answer until all projections stood at the journal's head, `streams_rate_per_s` is
    the rate from the first request until then. The freshness is from the recording of an entry to the commit of a
    projection of it, estimated from the streams' histogram; None when that has no observation.
    """

    catch_up_s: float
    streams_rate_per_s: float
    freshness_p50_ms: float | None
    freshness_p99_ms: float | None
    journal_bytes: float
    outbox_bytes: float
    wal_bytes: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario at one number of connections. `rate_per_s` counts the successful requests only.

    A batch counts for all its transactions in the rate and in `cpu_ms_per_request`.
    """

    scenario: Scenario
    connections: int
    requests: int
    errors: dict[str, int]
    duration_s: float
    rate_per_s: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    generator_cpu_us_per_request: float
    cpu_ms_per_request: float
    parts: dict[str, PartUsage]
    writes: Writes | None


class Yardstick(msgspec.Struct, frozen=True, kw_only=True):
    """What the database does without the ledger above it. The CPU time is the database server's."""

    name: str
    transactions: int
    rate_per_s: float
    cpu_ms_per_transaction: float | None


class Ratio(msgspec.Struct, frozen=True, kw_only=True):
    """A scenario's rate as a multiple of another's or of a yardstick's, and so its CPU time per request.

    On a machine with other work the rates wander, and the CPU time hardly. A yardstick's is the database server's
    alone, None where that is out of sight.
    """

    of: str
    to: str
    connections: int
    rate_ratio: float
    cpu_ratio: float | None


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where the platform and the load generator ran, side by side."""

    system: str
    cpus: int
    memory_bytes: int
    python: str
    postgres: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run of `ledgerx bench`."""

    version: str
    started_at: datetime
    machine: Machine
    results: list[Result]
    yardsticks: list[Yardstick]
    ratios: list[Ratio]


def ratios(results: Sequence[Result], yardsticks: Sequence[Yardstick]) -> list[Ratio]:
    """Posts and reads against the no-op route, shared accounts against distinct ones, posts against the yardsticks."""
    by_run = {(result.scenario, result.connections): result for result in results}
    among_scenarios = [
        _ratio(result, base.scenario, base.rate_per_s, base.cpu_ms_per_request)
        for of, to in _COMPARISONS
        for result in results
        if result.scenario is of and (base := by_run.get((to, result.connections)))
    ]
    with_yardsticks = [
        _ratio(result, yardstick.name, yardstick.rate_per_s, yardstick.cpu_ms_per_transaction)
        for yardstick in yardsticks
        for result in results
        if result.scenario is Scenario.POSTS
    ]
    posts = by_run.get((Scenario.POSTS, POSTS_CONNECTIONS))
    of_batches = [
        _ratio(result, posts.scenario, posts.rate_per_s, posts.cpu_ms_per_request)
        for result in results
        if posts is not None and result.scenario.transactions > 1
    ]
    return among_scenarios + of_batches + with_yardsticks


def _ratio(result: Result, to: str, rate_per_s: float, cpu_ms: float | None) -> Ratio:
    return Ratio(
        of=result.scenario,
        to=to,
        connections=result.connections,
        rate_ratio=round(result.rate_per_s / rate_per_s, 3),
        cpu_ratio=round(result.cpu_ms_per_request / cpu_ms, 3) if cpu_ms else None,
    )
