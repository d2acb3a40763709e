"""A benchmark's report as a person reads it."""

from collections.abc import Iterable, Sequence

from rich.console import Group
from rich.table import Table

from ledgerx_cli.bench.report import Ratio, Report, Result, Yardstick

_MEBIBYTE = 1 << 20


def render(report: Report) -> Group:
    """All tables of a report."""
    parts = {part: None for result in report.results for part in result.parts}
    return Group(
        _table(
            "HTTP in a closed loop",
            ("requests", "rate /s", "p50 ms", "p99 ms", "max ms", "platform CPU ms", "generator CPU µs", "errors"),
            ((_name(result), *_rates(result)) for result in report.results),
        ),
        _table(
            "What a post leaves behind, per transaction; and how far the streams are behind",
            ("journal B", "outbox B", "WAL B", "catch-up s", "streams /s", "fresh p50 ms", "fresh p99 ms"),
            ((_name(result), *_writes(result)) for result in report.results if result.writes),
        ),
        _table(
            "CPU ms per request, and MiB of memory after, by part",
            parts,
            ((_name(result), *(_part(result, part) for part in parts)) for result in report.results),
        ),
        _table(
            "Yardsticks on the same database server",
            ("transactions", "rate /s", "database CPU ms"),
            ((yardstick.name, *_yardstick(yardstick)) for yardstick in report.yardsticks),
        ),
        _table("Ratios", ("of rates", "of CPU"), (_ratio(ratio) for ratio in report.ratios)),
    )


def _table(title: str, columns: Iterable[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def _name(result: Result) -> str:
    return f"{result.scenario} x {result.connections}"


def _rates(result: Result) -> tuple[str, ...]:
    return (
        f"{result.requests:,}",
        f"{result.rate_per_s:,.0f}",
        f"{result.p50_ms:.2f}",
        f"{result.p99_ms:.2f}",
        f"{result.max_ms:.1f}",
        f"{result.cpu_ms_per_request:.3f}",
        f"{result.generator_cpu_us_per_request:.1f}",
        ", ".join(f"{count:,} x {name}" for name, count in result.errors.items()),
    )


def _writes(result: Result) -> tuple[str, ...]:
    writes = result.writes
    if writes is None:
        return ()
    return (
        f"{writes.journal_bytes:,.0f}",
        f"{writes.outbox_bytes:,.0f}",
        f"{writes.wal_bytes:,.0f}",
        f"{writes.catch_up_s:.2f}",
        f"{writes.streams_rate_per_s:,.0f}",
        _or_dash(writes.freshness_p50_ms, ",.0f"),
        _or_dash(writes.freshness_p99_ms, ",.0f"),
    )


def _part(result: Result, part: str) -> str:
    usage = result.parts[part]
    return f"{usage.cpu_ms_per_request:.3f} | {usage.memory_bytes / _MEBIBYTE:,.0f}"


def _yardstick(yardstick: Yardstick) -> tuple[str, ...]:
    return (
        f"{yardstick.transactions:,}",
        f"{yardstick.rate_per_s:,.0f}",
        _or_dash(yardstick.cpu_ms_per_transaction, ".3f"),
    )


def _ratio(ratio: Ratio) -> tuple[str, ...]:
    return f"{ratio.of} / {ratio.to} x {ratio.connections}", f"{ratio.rate_ratio:.2f}", _or_dash(ratio.cpu_ratio, ".2f")


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
