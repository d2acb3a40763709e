"""When runs of LedgerExports are due, and what they are called."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerx.errors import ConfigurationError
from ledgerx.export_files import destinations
from ledgerx_operator.conditions import timestamp
from ledgerx_operator.ledger_export import due_at, is_idle, run_id
from ledgerx_operator.specs import ExportSpec, spec_of

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
PAST, FUTURE = "2020-01-01T00:00:00Z", "2100-01-01T00:00:00Z"
READY = {"type": "Ready", "status": "True", "observedGeneration": 2}
DONE, QUEUED = {"exportID": "x", "status": "done"}, {"exportID": "y", "status": "queued"}


def export(schedule: str | None = None, **status: Any) -> dict[str, Any]:
    spec = {"tenantRef": {"name": "shop"}, "format": "csv", "dataset": "balances"}
    return {
        "metadata": {"uid": "u", "generation": 2, "creationTimestamp": timestamp(NOON)},
        "spec": spec | ({} if schedule is None else {"schedule": schedule}),
        "status": {"observedGeneration": 2, **status},
    }


@pytest.mark.parametrize(
    ("body", "due"),
    [
        (export(), timestamp(NOON)),
        (export(runs=[QUEUED]), None),
        (export("0 0 * * *"), "2026-01-02T23:00:00Z"),
        (export("0 0 * * *", nextRunTime=PAST), PAST),
        (export("0 0 * * *", nextRunTime=PAST, observedGeneration=1), "2026-01-02T23:00:00Z"),
    ],
)
def test_a_run_is_due_by_the_schedule_in_the_tenant_s_zone_or_once(body: dict[str, Any], due: str | None) -> None:
    found = due_at(body, spec_of(body, ExportSpec), "Europe/Paris", now=NOON)
    assert (found and timestamp(found)) == due


@pytest.mark.parametrize(
    ("status", "idle"),
    [
        ({}, False),
        ({"conditions": [READY], "nextRunTime": FUTURE}, True),
        ({"conditions": [READY], "runs": [DONE]}, True),
        ({"conditions": [READY], "nextRunTime": PAST}, False),
        ({"conditions": [READY], "nextRunTime": FUTURE, "runs": [QUEUED, DONE]}, False),
        ({"conditions": [READY | {"observedGeneration": 1}], "nextRunTime": FUTURE}, False),
        ({"conditions": [READY | {"status": "False"}], "nextRunTime": FUTURE}, False),
    ],
)
def test_an_export_is_looked_at_while_there_is_something_to_do(status: dict[str, Any], *, idle: bool) -> None:
    assert is_idle(export("0 0 * * *", **status)) is idle


@given(st.integers(0, 2**32), st.text())
def test_a_run_has_one_id_which_sorts_by_its_time(seconds: int, uid: str) -> None:
    due = datetime.fromtimestamp(seconds, UTC)
    made = run_id(uid, due)
    assert made == run_id(uid, due)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == seconds * 1000
    assert made != run_id(uid + "x", due)
    assert made < run_id(uid, due + timedelta(seconds=1))


def test_destinations_are_listed_by_name() -> None:
    assert destinations(None) == destinations(" ") == {}
    listed = "archive=s3://bucket/a, lake=file:///srv/lake"
    assert destinations(listed) == {"archive": "s3://bucket/a", "lake": "file:///srv/lake"}


@pytest.mark.parametrize("setting", ["s3://bucket", "A=s3://bucket", "a=x,a=y", "../a=x", "=x"])
def test_what_lists_no_destinations_is_refused(setting: str) -> None:
    with pytest.raises(ConfigurationError, match="LEDGERX_EXPORTS_DESTINATIONS"):
        destinations(setting)
