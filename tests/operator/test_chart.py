"""An API server takes what the chart renders, the resources of other operators included."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chart.rendering import NAMESPACE, PROFILES, RELEASE, Values, configuration, profile, render
from tests.chart.test_values import DEBEZIUM, INGRESS, S3, external
from tests.operator.kube import ROOT, Kube

KUBECTL = Path(sys.executable).with_name("kubectl")
# Of CloudNativePG, Strimzi, KEDA, the Prometheus operator and the Gateway API.
CRDS = Path(os.environ.get("LEDGERX_CRDS", ROOT / "../shared/crds"))
EVERYTHING = external(
    **INGRESS,
    **DEBEZIUM,
    **S3,
    metrics__monitor="ServiceMonitor",
    dashboards__enabled=True,
    tests__tenantSecret="shop-ledger",
    migrate__adminSecret__name="postgres-admin",
    operator__enabled=False,
)
RELEASES: dict[str, Values] = {**{name: profile(name) for name in PROFILES}, "everything else": EVERYTHING}


def kubectl(kubeconfig: Path, *arguments: str, objects: list[Any] | None = None) -> "subprocess.CompletedProcess[str]":
    items = None if objects is None else json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    command: list[str | Path] = [KUBECTL, "--kubeconfig", kubeconfig, *arguments]
    return subprocess.run(command, input=items, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installing(kube: Kube, kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kubeconfig of somebody who installs into a namespace; the cluster has everybody's custom resources."""
    applied = kubectl(kubeconfig, "apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    assert applied.returncode == 0, applied.stderr
    waited = kubectl(kubeconfig, "wait", "--for=condition=Established", "--timeout=60s", "crds", "--all")
    assert waited.returncode == 0, waited.stderr
    for name in (NAMESPACE, *profile("production")["operator"]["watchNamespaces"]):
        labels = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
        kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    # A bare pod is refused without its account.
    account = {"name": RELEASE, "namespace": NAMESPACE}
    kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    own = tmp_path_factory.mktemp("kube") / "config"
    own.write_text(kubeconfig.read_text())
    chosen = kubectl(own, "config", "set-context", "--current", f"--namespace={NAMESPACE}")
    assert chosen.returncode == 0, chosen.stderr
    return own


@pytest.mark.parametrize("release", RELEASES)
def test_the_api_server_takes_a_release(installing: Path, release: str) -> None:
    objects = render(RELEASES[release])
    how = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-")
    done = kubectl(installing, *how, objects=objects)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("(server dry run)") == len(objects)


@pytest.mark.parametrize("name", PROFILES)
def test_the_api_server_takes_the_databases_that_the_operator_is_told_of(
    kube: Kube, installing: Path, name: str
) -> None:
    for listed in configuration(render(profile(name)))["databases"]:
        metadata = {"name": listed["name"], "namespace": NAMESPACE}
        database = {"apiVersion": "ledgerx.io/v1alpha1", "kind": "LedgerDatabase", "metadata": metadata}
        kube.apply({**database, "spec": listed["spec"]}, dry_run=True)
