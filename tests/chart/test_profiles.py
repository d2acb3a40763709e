"""The profiles render, into objects that Kubernetes takes, whose pods may run under pod security `restricted`."""

import subprocess
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest

from tests.chart.rendering import (
    CHART,
    HELM,
    PROFILES,
    Values,
    configuration,
    container,
    dig,
    find,
    pod_specs,
    pods,
    profile,
    render,
)
from tests.chart.test_values import DEBEZIUM, OFF, external
from tests.integration.debezium_process import documented_settings

VERSION = "1.34"
OURS = ("LedgerTenant", "LedgerClient")
RELEASES: dict[str, Values] = {
    **{name: profile(name) for name in PROFILES},
    "without an operator": external(**OFF, migrate__adminSecret__name="admin", tests__tenantSecret="shop-ledger"),
}


@pytest.fixture(params=RELEASES)
def objects(request: pytest.FixtureRequest) -> list[Any]:
    """The objects of a release."""
    return render(RELEASES[request.param])


def test_there_are_the_profiles_that_the_documentation_names() -> None:
    assert list(PROFILES) == ["demo", "external", "production", "strimzi-cnpg"]


def test_kubernetes_knows_every_field(objects: list[Any]) -> None:
    foreign = 0
    for one in objects:
        try:
            kubernetes_validate.validate(one, VERSION, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            # Of other operators: tests/operator/test_chart.py asks an API server that has their definitions.
            assert "." in one["apiVersion"].partition("/")[0]
            foreign += 1
    assert foreign < len(objects)


def test_no_two_objects_are_the_same(objects: list[Any]) -> None:
    names = [(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects]
    assert len(names) == len(set(names))


def test_nothing_is_a_hook_but_the_test(objects: list[Any]) -> None:
    hooks = {dig(one, "metadata", "annotations", "helm.sh/hook") for one in objects}
    assert hooks <= {None, "test"}


def test_no_resource_of_ours_is_in_the_release_that_defines_it(objects: list[Any]) -> None:
    assert [one for one in objects if one["apiVersion"].startswith("ledgerx.io/")] == []


def test_pods_may_run_under_pod_security_restricted(objects: list[Any]) -> None:
    for name, spec in pod_specs(objects):
        assert list(faults(spec)) == [], name


def test_only_the_operator_has_a_token(objects: list[Any]) -> None:
    tokens = {name: spec["automountServiceAccountToken"] for name, spec in pod_specs(objects)}
    assert [name for name, mounted in tokens.items() if mounted] == [
        name for name in tokens if name == "Deployment/ledgerx-operator"
    ]


def test_no_service_sets_variables_of_a_pod(objects: list[Any]) -> None:
    assert {spec["enableServiceLinks"] for _, spec in pod_specs(objects)} == {False}


def test_every_container_has_requests_and_a_limit_of_memory(objects: list[Any]) -> None:
    for name, spec in pod_specs(objects):
        for one in spec["containers"]:
            assert {"cpu", "memory"} <= one["resources"]["requests"].keys(), name
            assert "memory" in one["resources"]["limits"], name


def test_secrets_are_files_of_the_pod_alone(objects: list[Any]) -> None:
    for name, spec in pod_specs(objects):
        for volume in spec["volumes"]:
            for kind in ("secret", "projected"):
                assert volume.get(kind, {}).get("defaultMode", 0o440) == 0o440, name


def faults(spec: dict[str, Any]) -> Iterator[str]:
    """What the standard `restricted`, and a root that is read only, ask for and a pod does not have.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/
    """
    pod = spec["securityContext"]
    if any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
        yield "the host's namespaces"
    if not pod.get("runAsNonRoot") or pod.get("runAsUser", 1) == 0:
        yield "runAsNonRoot"
    if pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "seccompProfile"
    for volume in spec.get("volumes", []):
        kinds = volume.keys() - {"name"}
        if not kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}:
            yield f"volume {kinds}"
    for one in (*spec.get("initContainers", []), *spec["containers"]):
        yield from faults_of_container(one)


def faults_of_container(one: dict[str, Any]) -> Iterator[str]:
    context = one["securityContext"]
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if context.get("capabilities") != {"drop": ["ALL"]}:
        yield "capabilities"
    if context.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem"
    if any(port.get("hostPort") for port in one.get("ports", [])):
        yield "hostPort"


def test_a_number_of_pods_is_not_said_where_an_autoscaler_chooses() -> None:
    rendered = render(profile("production"))
    for part in ("api", "streams"):
        assert "replicas" not in find(rendered, "Deployment", f"ledgerx-{part}")["spec"]


def test_data_outlives_the_release() -> None:
    kept = {
        one["kind"]
        for one in render({**profile("strimzi-cnpg"), "crds": {"install": True}})
        if dig(one, "metadata", "annotations", "helm.sh/resource-policy") == "keep"
    }
    assert kept == {"CustomResourceDefinition", "Cluster", "Kafka", "KafkaNodePool", "KafkaTopic"}


def test_each_part_mounts_only_the_keys_and_databases_that_it_needs() -> None:
    rendered = render(profile("external"))
    seen = {
        part: {
            (volume["secret"]["secretName"], tuple(item["key"] for item in volume["secret"].get("items", ())))
            for volume in pods(part, "spec", "volumes")(rendered)
            if "secret" in volume
        }
        for part in ("api", "relay", "streams", "operator")
    }
    assert seen == {
        "api": {("ledgerx-databases-api", ()), ("ledgerx-keys", ("signing.json", "sealing.json"))},
        "relay": {("ledgerx-databases-relay", ())},
        "streams": {
            ("ledgerx-databases-streams", ()),
            ("ledgerx-databases-api", ()),
            ("ledgerx-keys", ("checkpoints.json", "sealing.json")),
        },
        "operator": set(),
    }


def test_metrics_and_health_are_on_a_port_that_no_service_leads_to() -> None:
    rendered = render(profile("external"))
    for part in ("api", "relay", "streams", "operator"):
        probed = {container(part, probe, "httpGet", "port")(rendered) for probe in ("livenessProbe", "readinessProbe")}
        assert probed == {"management"}
    targets = {port["targetPort"] for one in rendered if one["kind"] == "Service" for port in one["spec"]["ports"]}
    assert targets == {"http"}


def test_the_first_database_is_where_the_release_makes_a_server() -> None:
    everybody: Values = {"allowedNamespaces": {"selector": {}}}
    assert configuration(render(profile("demo"))) == {
        "databases": [{"name": "primary", "spec": {"adminSecretRef": {"name": "ledgerx-demo-postgres"}, **everybody}}],
        "adminSecrets": [
            {
                "name": "ledgerx-demo-postgres",
                "uri": "postgresql://postgres:{password}@ledgerx-demo.platform.svc.cluster.local:5432/ledgerx",
            }
        ],
    }
    assert configuration(render(profile("strimzi-cnpg"))) == {
        "databases": [{"name": "primary", "spec": {"cnpgClusterRef": {"name": "ledgerx-postgres"}, **everybody}}],
        "adminSecrets": [],
    }


def test_a_connector_has_the_settings_of_the_documentation() -> None:
    connector = find(render(external(**DEBEZIUM)), "KafkaConnector", "ledgerx-one")["spec"]
    documented = documented_settings()
    assert connector["class"] == documented.pop("connector.class")
    assert connector["config"].items() >= documented.items()
    assert connector["config"]["database.hostname"] == "h"


def test_the_watched_namespaces_get_roles_and_the_cluster_none() -> None:
    rendered = render(external(operator__watchNamespaces=["shop"]))
    [cluster_role] = [
        one for one in rendered if one["kind"] == "ClusterRole" and one["metadata"]["name"].endswith("operator")
    ]
    assert [rule["resources"] for rule in cluster_role["rules"]] == [["namespaces"]]
    granted = {one["metadata"]["namespace"] for one in rendered if one["kind"] == "Role"}
    assert granted == {"shop", "platform"}


@pytest.mark.parametrize("name", PROFILES)
def test_helm_finds_nothing_to_complain_about(name: str) -> None:
    linted = subprocess.run(
        [HELM, "lint", "--strict", CHART, "--values", PROFILES[name]], capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize(("name", "told"), [("demo", "This is the demo"), ("external", "kind: LedgerTenant")])
def test_the_notes_tell_how_to_begin(name: str, told: str) -> None:
    done = subprocess.run(
        [HELM, "install", "ledgerx", CHART, "--dry-run=client", "--values", PROFILES[name]],
        capture_output=True,
        text=True,
        check=True,
    )
    notes = done.stdout.partition("\nNOTES:\n")[2]
    assert told in notes
    assert "service/ledgerx-api 8080:8080" in notes
