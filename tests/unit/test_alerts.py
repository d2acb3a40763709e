"""The rules of Prometheus are of metrics that there are, and each is explained."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from ledgerx_streams import app  # noqa: F401 - its metrics
from ledgerx_streams.relay import metrics  # noqa: F401 - its metrics

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ALERTS = ROOT / "charts/ledgerx/files/alerts.yaml"
GROUPS: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
RULES: list[dict[str, Any]] = [rule for group in GROUPS for rule in group["rules"]]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_is_of_metrics_that_there_are(rule: dict[str, Any]) -> None:
    names = re.findall(r"\bledgerx_\w+(?=[\[{)])", rule["expr"])
    assert names
    assert set(names) <= set(REGISTRY._names_to_collectors)
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"]["summary"]


def test_each_rule_is_explained_and_no_other() -> None:
    explained = re.findall(r"^## (\w+)$", (DOCS / "alerts.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert explained == [rule["alert"] for rule in RULES]
