"""The README of the chart lists the values, and skaffold.yaml is as skaffold has it."""

import json

import jsonschema_rs
import yaml

from tests.chart.documented_values import documented_values
from tests.chart.rendering import CHART, PROFILES, ROOT

SKAFFOLD: dict[str, object] = yaml.safe_load((ROOT / "skaffold.yaml").read_text(encoding="utf-8"))
# As published, without descriptions.
SKAFFOLD_SCHEMA = json.loads((ROOT / "tests/data/skaffold-v4beta13.schema.json").read_text(encoding="utf-8"))


def test_the_readme_lists_the_values() -> None:
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    listed = [line for line in readme.splitlines() if line.startswith("| `")]
    assert listed == [value.row() for value in documented_values()]


def test_the_readme_names_the_profiles() -> None:
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in PROFILES.values() if f"(ci/{path.name})" not in readme] == []


def test_skaffold_takes_its_configuration() -> None:
    validator = jsonschema_rs.validator_for(SKAFFOLD_SCHEMA)
    assert [error.message for error in validator.iter_errors(SKAFFOLD)] == []
    assert not validator.is_valid({**SKAFFOLD, "unheardOf": 1})
