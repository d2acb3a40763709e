"""What the operator decides, without a cluster."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerx.errors import AssetInUse, Overloaded
from ledgerx.tenancy import ClientSecret
from ledgerx_operator import conditions
from ledgerx_operator.binding import Binding, outdated, rotation_wanted
from ledgerx_operator.conditions import Condition
from ledgerx_operator.failures import NotYet, Refusal, failure_of
from ledgerx_operator.handlers import MAX_DELAY_S, delay_s
from ledgerx_operator.names import ROTATE_AT
from ledgerx_operator.settings import listed
from ledgerx_operator.specs import DatabaseSpec, Limits, Selector, TenantSpec, spec_of

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


def database_spec(**fields: Any) -> DatabaseSpec:
    return spec_of({"spec": {"adminSecretRef": {"name": "admin"}, **fields}}, DatabaseSpec)


@pytest.mark.parametrize(
    ("selector", "labels", "selected"),
    [
        ({}, {}, True),
        ({"matchLabels": {"team": "a"}}, {"team": "a", "x": "y"}, True),
        ({"matchLabels": {"team": "a"}}, {"team": "b"}, False),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]}, {"team": "b"}, True),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "b"]}]}, {}, False),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a"]}]}, {}, True),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a"]}]}, {"team": "a"}, False),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, {"team": ""}, True),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, {}, False),
        ({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, {}, True),
        ({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, {"team": "a"}, False),
    ],
)
def test_a_selector_selects_as_kubernetes_does(
    selector: dict[str, Any], labels: dict[str, str], *, selected: bool
) -> None:
    assert msgspec.convert(selector, Selector).selects(labels) is selected
    assert database_spec(allowedNamespaces={"selector": selector}).admits(labels) is selected


def test_a_database_without_a_selector_takes_no_tenants() -> None:
    assert not database_spec().admits({})


LIMITS = st.none() | st.integers(1, 10**6)


@given(wanted=LIMITS, default=LIMITS, most=LIMITS)
def test_a_limit_is_what_is_wanted_or_the_default_and_never_above_the_maximum(
    wanted: int | None, default: int | None, most: int | None
) -> None:
    fields = {
        name: {"accounts": value}
        for name, value in (("tenantDefaults", default), ("tenantMaxima", most))
        if value is not None
    }
    got = database_spec(**fields).limits(Limits(accounts=wanted)).accounts
    said = wanted if wanted is not None else default
    assert got == (most if said is None else said if most is None else min(said, most))


def test_a_spec_is_read_with_the_names_and_defaults_of_its_schema() -> None:
    spec = spec_of({"spec": {"adoptTenantID": str(UUID(int=7)), "members": {"mayPost": True}}}, TenantSpec)
    assert (spec.adopt_tenant_id, spec.members.may_post, spec.members.registration) == (str(UUID(int=7)), True, False)
    assert (spec.deletion_policy, spec.time_zone, spec.auth, spec.categories.strict) == ("Retain", "UTC", None, None)


def test_adoption_is_allowed_for_one_object_and_one_tenant() -> None:
    allowed = {"tenantID": str(UUID(int=7)), "namespace": "shop", "name": "main"}
    spec = database_spec(allowedAdoptions=[allowed])
    assert spec.lets_adopt(str(UUID(int=7)), "shop", "main")
    assert not spec.lets_adopt(str(UUID(int=8)), "shop", "main")
    assert not spec.lets_adopt(str(UUID(int=7)), "other", "main")
    assert not spec.lets_adopt(str(UUID(int=7)), "shop", "other")


def test_the_time_of_a_condition_changes_when_it_turns_over_and_only_then() -> None:
    first = conditions.updated([], [Condition("Ready", False, "NotYet")], generation=1, at=NOON)
    again = conditions.updated(first, [Condition("Ready", False, "Other", "why")], generation=2, at=LATER)
    turned = conditions.updated(again, [Condition("Ready", True, "Reconciled")], generation=2, at=LATER)
    assert [one[0]["lastTransitionTime"] for one in (first, again, turned)] == [
        "2026-01-02T12:00:00Z",
        "2026-01-02T12:00:00Z",
        "2026-01-02T13:00:00Z",
    ]
    assert again[0]["reason"] == "Other"
    assert again[0]["observedGeneration"] == 2


def test_abnormal_conditions_are_there_only_while_they_hold_and_others_stay() -> None:
    ready = conditions.updated([], [Condition("Ready", True, "Reconciled")], generation=1, at=NOON)
    paused = conditions.updated(
        ready, [Condition(conditions.RECONCILIATION_PAUSED, True, "Paused")], generation=1, at=NOON
    )
    assert [one["type"] for one in paused] == ["Ready", "ReconciliationPaused"]
    back = conditions.updated(
        paused, [Condition(conditions.RECONCILIATION_PAUSED, False, "Resumed")], generation=1, at=NOON
    )
    assert back == ready


@pytest.mark.parametrize(
    ("annotation", "rotated_for", "wanted"),
    [
        (None, None, None),
        ("2026-01-02T12:00:00Z", None, "2026-01-02T12:00:00Z"),
        ("2026-01-02T12:00:00Z", "2026-01-02T12:00:00Z", None),
        ("2026-01-02T12:00:00Z", "2026-01-01T12:00:00Z", "2026-01-02T12:00:00Z"),
        ("2026-01-02T13:00:01+01:00", None, None),
        ("2026-01-02", None, "2026-01-02"),
    ],
)
def test_a_rotation_is_wanted_once_its_time_has_come(
    annotation: str | None, rotated_for: str | None, wanted: str | None
) -> None:
    annotations = {} if annotation is None else {ROTATE_AT: annotation}
    assert rotation_wanted(annotations, rotated_for, now=NOON) == wanted


def test_a_rotation_at_no_time_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
        rotation_wanted({ROTATE_AT: "soon"}, None, now=NOON)
    assert refused.value.reason == "InvalidRotateAt"


def test_a_secret_outlives_its_successor_s_first_day_and_an_orphan_nothing() -> None:
    old, current, orphan = (ClientSecret(uuid4(), NOON + timedelta(hours=hours)) for hours in (-50, 0, 1))
    every, day = [old, current, orphan], timedelta(days=1)
    assert outdated(every, current, now=NOON + timedelta(hours=23), overlap=day) == [orphan]
    assert outdated(every, current, now=NOON + timedelta(hours=24), overlap=day) == [old, orphan]
    assert outdated([current], current, now=NOON + timedelta(days=9), overlap=day) == []


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://ledger.svc:8080", "ledger.svc", "8080"),
        ("https://ledger.example.com", "ledger.example.com", "443"),
        ("http://ledger", "ledger", "80"),
    ],
)
def test_a_connection_secret_has_what_servicebinding_wants(url: str, host: str, port: str) -> None:
    binding = Binding(
        namespace="shop",
        name="shop-ledger",
        kind="LedgerTenant",
        owner_name="shop",
        owner_uid="u",
        tenant_id=UUID(int=7),
        client_id="c",
        api_url=url,
    )
    assert binding.data("s") == {
        "type": "ledgerx",
        "provider": "ledgerx",
        "uri": url,
        "host": host,
        "port": port,
        "tenant": str(UUID(int=7)),
        "client-id": "c",
        "client-secret": "s",
    }


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (Refusal("Because", "x"), Refusal, "Because"),
        (AssetInUse("x"), Refusal, "AssetInUse"),
        (Overloaded("x"), NotYet, "DatabaseUnavailable"),
        (psycopg.OperationalError("connection refused\nmore"), NotYet, "DatabaseUnavailable"),
        (psycopg.errors.InsufficientPrivilege("x"), NotYet, "DatabaseRefused"),
        (ZeroDivisionError("x"), NotYet, "InternalError"),
    ],
)
def test_what_time_can_mend_is_tried_again_and_the_rest_waits_for_a_change(
    error: Exception, kind: type, reason: str
) -> None:
    failure = failure_of(error)
    assert type(failure) is kind
    assert failure.reason == reason
    assert "\n" not in failure.message


def test_tries_become_seldom_and_stay_so() -> None:
    assert delay_s(0) < 1
    assert all(0.8 * MAX_DELAY_S <= delay_s(retry) <= 1.2 * MAX_DELAY_S for retry in (6, 50, 10**6))


def test_a_list_in_a_setting_is_split() -> None:
    assert listed(None) == listed(" ,") == ()
    assert listed("a, b,a c") == ("a", "b", "c")
