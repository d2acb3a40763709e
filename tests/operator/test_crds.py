"""The custom resources, as a real API server takes and refuses them."""

from pathlib import Path
from typing import Any

import pytest

from ledgerx.exports import Dataset, Format
from tests.operator.kube import CRDS, EXAMPLES, Kube, KubeError, objects
from tests.operator.operator_process import ledger_client, ledger_database, ledger_export, ledger_tenant

AUTH = {"issuer": "https://login.example.com", "audience": "a", "roleClaim": ["roles"], "roles": {"x": "member"}}
WEBHOOK = {"name": "main", "url": "https://example.com/hooks"}
ID = "0199d9e0-0000-7000-8000-000000000001"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_taken_as_it_stands(kube: Kube, namespace: str, example: Path) -> None:
    for obj in objects(example):
        obj["metadata"]["namespace"] = namespace
        kube.apply(obj, dry_run=True)


def test_there_is_an_example_of_each_kind() -> None:
    shown = {obj["kind"] for path in EXAMPLES for obj in objects(path)}
    assert shown == {objects(path)[0]["spec"]["names"]["kind"] for path in CRDS}


def test_kubectl_finds_the_kinds_by_short_names_and_category(kube: Kube) -> None:
    resources = kube.request("GET", "/apis/ledgerx.io/v1alpha1")["resources"]
    named = {one["name"]: (one.get("shortNames"), one.get("categories")) for one in resources}
    assert named["ledgertenants"] == (["lt"], ["ledgerx"])
    assert named["ledgerdatabases"] == (["ldb"], ["ledgerx"])
    assert named["ledgerclients"] == (["lc"], ["ledgerx"])
    assert named["ledgerexports"] == (["lx"], ["ledgerx"])
    assert {f"{kind}/status" for kind in ("ledgertenants", "ledgerdatabases", "ledgerclients", "ledgerexports")} <= (
        named.keys()
    )


def test_what_is_not_said_has_defaults(kube: Kube, namespace: str) -> None:
    spec = kube.apply(ledger_tenant(namespace))["spec"]
    assert spec == {
        "deletionPolicy": "Retain",
        "members": {"mayPost": False, "registration": False},
        "suspended": False,
        "timeZone": "UTC",
    }
    database = kube.apply(ledger_database(namespace))["spec"]
    assert (database["adminSecretRef"]["key"], database["maxTenants"], database["schedulable"]) == ("uri", 10_000, True)


@pytest.mark.parametrize(
    "spec",
    [
        {"unknown": 1},
        {"timeZone": "../etc"},
        {"timeZone": ""},
        {"displayName": "x" * 256},
        {"databaseRef": {"name": "Main"}},
        {"limits": {"accounts": 0}},
        {"limits": {"requestsPerSecond": 1_000_001}},
        {"assets": [{"code": "points", "scale": 0}]},
        {"assets": [{"code": "POINTS", "scale": 19}]},
        {"assets": [{"code": "POINTS"}]},
        {"assets": [{"code": "POINTS", "scale": 0}, {"code": "POINTS", "scale": 1}]},
        {"assets": [{"code": f"A{n}", "scale": 0} for n in range(101)]},
        {"categories": {"strict": "yes"}},
        {"auth": AUTH | {"issuer": "ftp://x.example"}},
        {"auth": AUTH | {"roles": {}}},
        {"auth": AUTH | {"roles": {"x": "root"}}},
        {"auth": AUTH | {"roles": {"x" * 256: "member"}}},
        {"auth": AUTH | {"roleClaim": []}},
        {"auth": AUTH | {"algorithms": ["none"]}},
        {"snapshots": {"schedule": ["0 0 * *"]}},
        {"snapshots": {"schedule": []}},
        {"snapshots": {"retentionDays": 0}},
        {"webhooks": [{"name": "main", "url": "ftp://example.com"}]},
        {"webhooks": [{"name": "Main", "url": "https://example.com"}]},
        {"webhooks": [WEBHOOK, WEBHOOK]},
        {"webhooks": [WEBHOOK | {"eventTypes": []}]},
        {"webhooks": [WEBHOOK | {"name": f"n{number}"} for number in range(21)]},
        {"bootstrapUser": {"email": "nobody"}},
        {"adoptTenantID": "not-a-uuid"},
        {"connectionSecretName": "Shop"},
        {"deletionPolicy": "Forget"},
    ],
    ids=str,
)
def test_a_tenant_that_is_none_is_refused(kube: Kube, namespace: str, spec: dict[str, Any]) -> None:
    with pytest.raises(KubeError) as refused:
        kube.apply(ledger_tenant(namespace, **spec), dry_run=True)
    assert refused.value.status in (400, 422, 500)  # unknown and doubled fields of an applied object are 500


def test_names_fit_what_a_tenant_can_be_named(kube: Kube, namespace: str) -> None:
    kube.apply(ledger_tenant(namespace, "a" * 63), dry_run=True)
    with pytest.raises(KubeError, match="at most 63 characters"):
        kube.apply(ledger_tenant(namespace, "a" * 64), dry_run=True)
    # A longer one would be no file that pods read.
    kube.apply(ledger_database(namespace, "a" * 40), dry_run=True)
    for name in ("a.b", "a" * 41):
        with pytest.raises(KubeError, match="at most 40 characters and no dots"):
            kube.apply(ledger_database(namespace, name), dry_run=True)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"timeZone": "Europe/Paris"}, {"timeZone": "UTC"}, "timeZone is fixed"),
        ({"databaseRef": {"name": "a"}}, {"databaseRef": {"name": "b"}}, "databaseRef is fixed"),
        ({}, {"databaseRef": {"name": "b"}}, "databaseRef cannot be set"),
        ({"databaseRef": {"name": "a"}}, {}, "databaseRef cannot be set"),
        ({"connectionSecretName": "a"}, {"connectionSecretName": "b"}, "connectionSecretName is fixed"),
        ({}, {"connectionSecretName": "b"}, "connectionSecretName cannot be set"),
        ({"adoptTenantID": ID}, {}, "adoptTenantID cannot be taken away"),
        ({"adoptTenantID": ID}, {"adoptTenantID": ID[:-1] + "2"}, "adoptTenantID is fixed"),
    ],
    ids=str,
)
def test_what_is_fixed_stays(
    kube: Kube, namespace: str, before: dict[str, Any], after: dict[str, Any], told: str
) -> None:
    kube.apply(ledger_tenant(namespace, **before))
    with pytest.raises(KubeError, match=told):
        kube.apply(ledger_tenant(namespace, **after))


@pytest.fixture
def changeable(kube: Kube, namespace: str) -> str:
    kube.apply(ledger_tenant(namespace, suspended=False, deletionPolicy="Retain"))
    return namespace


def test_what_is_not_fixed_changes(kube: Kube, changeable: str) -> None:
    changed = kube.apply(
        ledger_tenant(changeable, suspended=True, deletionPolicy="Delete", limits={"accounts": 5}, auth=AUTH)
    )
    assert (changed["spec"]["suspended"], changed["metadata"]["generation"]) == (True, 2)


@pytest.mark.parametrize(
    "expression",
    [
        {"key": "a", "operator": "In"},
        {"key": "a", "operator": "Exists", "values": ["x"]},
        {"key": "a", "operator": "Like", "values": ["x"]},
    ],
    ids=str,
)
def test_a_selector_that_is_none_is_refused(kube: Kube, namespace: str, expression: dict[str, Any]) -> None:
    selector = {"selector": {"matchExpressions": [expression]}}
    with pytest.raises(KubeError):
        kube.apply(ledger_database(namespace, allowedNamespaces=selector), dry_run=True)


def test_a_client_names_its_tenant_once_and_has_known_scopes(kube: Kube, namespace: str) -> None:
    kube.apply(ledger_client(namespace, "checkout"))
    wrong: list[dict[str, Any]] = [
        {"scopes": []},
        {"scopes": ["root"]},
        {"scopes": ["admin", "admin"]},
        {"tenantRef": {"name": "other"}},
        {"secretName": "later"},
    ]
    for spec in wrong:
        with pytest.raises(KubeError):
            kube.apply(ledger_client(namespace, "checkout", **spec))


@pytest.mark.parametrize(
    "spec",
    [
        {"format": "xlsx"},
        {"dataset": "users"},
        {"format": "beancount", "dataset": "balances"},
        {"schedule": "hourly"},
        {"destination": "../other"},
        {"destination": ""},
    ],
    ids=str,
)
def test_an_export_that_is_none_is_refused(kube: Kube, namespace: str, spec: dict[str, Any]) -> None:
    with pytest.raises(KubeError):
        kube.apply(ledger_export(namespace, **spec), dry_run=True)


def test_an_export_without_a_schedule_is_fixed(kube: Kube, namespace: str) -> None:
    kube.apply(ledger_export(namespace, "once"))
    for spec in ({"format": "parquet"}, {"schedule": "0 * * * *"}, {"tenantRef": {"name": "other"}}):
        with pytest.raises(KubeError):
            kube.apply(ledger_export(namespace, "once", **spec))
    kube.apply(ledger_export(namespace, "nightly", schedule="0 1 * * *"))
    kube.apply(ledger_export(namespace, "nightly", schedule="0 2 * * *", format="parquet"))


def test_formats_and_datasets_are_those_of_the_ledger() -> None:
    [path] = [path for path in CRDS if path.stem == "ledgerexports"]
    [definition] = objects(path)
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert schema["format"]["enum"] == list(Format)
    assert schema["dataset"]["enum"] == list(Dataset)


def test_removing_the_chart_keeps_what_was_declared() -> None:
    for path in CRDS:
        [definition] = objects(path)
        assert definition["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_everything_has_a_bound() -> None:
    for path in CRDS:
        [definition] = objects(path)
        [version] = definition["spec"]["versions"]
        assert unbounded(version["schema"]["openAPIV3Schema"], path.stem) == []


def unbounded(schema: dict[str, Any], where: str) -> list[str]:
    """The paths of what may grow without end."""
    found = []
    kind = schema["type"]
    bounds = {"string": {"maxLength", "enum"}, "array": {"maxItems"}}.get(kind, set())
    if bounds and not bounds & schema.keys() and schema.get("format") != "date-time":
        found.append(where)
    if kind == "object" and "additionalProperties" in schema and "maxProperties" not in schema:
        found.append(where)
    parts = dict(schema.get("properties", {}))
    for part in ("items", "additionalProperties"):
        if part in schema:
            parts[part] = schema[part]
    return found + [one for name, part in parts.items() for one in unbounded(part, f"{where}.{name}")]
