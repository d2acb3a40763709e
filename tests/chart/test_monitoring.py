"""Alerts and dashboards ask for metrics that there are, by labels that those have; each alert has a page."""

import json
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import REGISTRY

from ledgerx_api import server  # noqa: F401 - its metrics
from ledgerx_operator import service  # noqa: F401 - its metrics
from ledgerx_streams import app  # noqa: F401 - its metrics
from ledgerx_streams.relay import metrics  # noqa: F401 - its metrics
from tests.chart.rendering import CHART, ROOT, find, render
from tests.chart.test_values import ALERTS, external

RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((CHART / "files/alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
RUNBOOKS = ROOT / "docs/runbooks"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((CHART / "files/dashboards").glob("*.json"))}
# What Prometheus adds to the metrics of a pod that a monitor of the chart finds.
TARGET_LABELS = {"namespace", "pod", "job"}
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",), "stateset": ("",)}
ENUMS = {"stateset"}


def known_samples() -> dict[str, set[str]]:
    """The labels of each sample that the code has, by the sample's name."""
    known: dict[str, set[str]] = {}
    for collector in set(REGISTRY._names_to_collectors.values()):
        name, kind = getattr(collector, "_name", ""), getattr(collector, "_type", "")
        for suffix in SUFFIXES.get(kind, ()) if name.startswith("ledgerx_") else ():
            labels = {*collector._labelnames, *TARGET_LABELS}  # type: ignore[attr-defined]
            labels |= {"le"} if suffix == "_bucket" else set()
            known[f"{name}{suffix}"] = labels | ({name} if kind in ENUMS else set())
    return known


KNOWN = known_samples()


def queries_of(dashboard: dict[str, Any]) -> Iterator[str]:
    """The queries of a dashboard, with the range that Grafana would fill in."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m")


def check(query: str) -> None:
    """Fails where a query asks for what there is not."""
    used: list[str] = []
    asked: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            name = node.name or ""
            used.append(name)
            assert {matcher.name for matcher in node.matchers.matchers} <= KNOWN[name]
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            asked.update(node.modifier.labels)

    promql_parser.walk(promql_parser.parse(query), visit)
    assert used
    assert asked <= set.intersection(*(KNOWN[name] for name in used))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_is_of_metrics_that_there_are(rule: dict[str, Any]) -> None:
    check(rule["expr"])
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"]


@pytest.mark.parametrize(
    ("name", "query"), [(name, query) for name, dashboard in DASHBOARDS.items() for query in queries_of(dashboard)]
)
def test_a_dashboard_is_of_metrics_that_there_are(name: str, query: str) -> None:
    assert 'namespace=~"$namespace"' in query
    check(query)


@pytest.mark.parametrize(
    "query",
    ["rate(ledgerx_relay_rows[5m])", "sum by (tenant) (ledgerx_relay_rows_total)", 'ledgerx_relay_state{a="b"}'],
)
def test_a_query_of_what_there_is_not_is_noticed(query: str) -> None:
    with pytest.raises((AssertionError, KeyError)):
        check(query)


def test_each_rule_has_a_page_that_the_list_of_alerts_leads_to() -> None:
    names = [rule["alert"] for rule in RULES]
    listed = (ROOT / "docs/alerts.md").read_text(encoding="utf-8")
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(names)
    for rule in RULES:
        name = rule["alert"]
        page = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {name}\n\n**What it means.** ")
        assert "**Look.** " in page
        assert f"| [{name}](runbooks/{name}.md) | {rule['labels']['severity']} | " in listed


def test_the_chart_has_all_rules_each_with_its_page() -> None:
    rendered = find(render(external(**ALERTS)), "PrometheusRule", "ledgerx")
    rules = [rule for group in rendered["spec"]["groups"] for rule in group["rules"]]
    assert [rule["annotations"].pop("runbook_url") for rule in rules] == [
        f"docs/runbooks/{rule['alert']}.md" for rule in RULES
    ]
    assert rules == RULES
