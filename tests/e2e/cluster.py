"""A cluster with nodes, by kubectl and helm, as who installs LedgerX has it."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.operator.kube import ROOT

CHART = ROOT / "charts/ledgerx"
CRDS_CHART = ROOT / "charts/ledgerx-crds"
# What a pod of everything takes to start on a small machine, other pods beside it.
PATIENCE = "300s"


class Cluster:
    """The cluster of the kubeconfig at `path`."""

    def __init__(self, path: Path) -> None:
        self.kubeconfig = path

    def kubectl(self, *arguments: str, told: str | None = None) -> str:
        """Run kubectl with `told` as its input and return what it prints; a failure fails the test."""
        return self._run("kubectl", arguments, told)

    def helm(self, *arguments: str) -> str:
        """Run helm, likewise."""
        return self._run("helm", arguments)

    def get(self, *arguments: str) -> Any:
        """What `kubectl get` finds."""
        return json.loads(self.kubectl("get", *arguments, "--output=json"))

    def apply(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Apply objects."""
        self.kubectl("apply", "--filename=-", told=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def pods(self, namespace: str, **labels: str) -> list[str]:
        """The names of the pods with these labels of app.kubernetes.io, but for those that are about to end."""
        selector = ",".join(f"app.kubernetes.io/{name}={value}" for name, value in labels.items())
        found = [pod["metadata"] for pod in self.get("pods", f"--namespace={namespace}", f"-l={selector}")["items"]]
        return [metadata["name"] for metadata in found if "deletionTimestamp" not in metadata]

    def node_address(self) -> str:
        """Where ports of nodes are reached at."""
        [first, *_] = self.get("nodes")["items"]
        return next(str(one["address"]) for one in first["status"]["addresses"] if one["type"] == "InternalIP")

    def what_happened(self, namespace: str) -> str:
        """What somebody wants to read who looks for the reason of a failure."""
        asked = (
            ("get", "pods", "--output=wide"),
            ("get", "ledgerdatabases,ledgertenants", "--output=yaml"),
            ("get", "events", "--sort-by=.lastTimestamp"),
            ("logs", "--selector=app.kubernetes.io/name", "--tail=30", "--prefix", "--all-pods"),
        )
        answers = (self._call("kubectl", (*one, f"--namespace={namespace}")) for one in asked)
        return "\n".join(answer.stdout + answer.stderr for answer in answers)

    def _run(self, program: str, arguments: Sequence[str], told: str | None = None) -> str:
        done = self._call(program, arguments, told)
        assert done.returncode == 0, f"{program} {' '.join(arguments)}: {done.stderr}{done.stdout}"
        return done.stdout

    def _call(
        self, program: str, arguments: Sequence[str], told: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        command: list[str | Path] = [
            Path(sys.executable).with_name(program),
            "--kubeconfig",
            self.kubeconfig,
            *arguments,
        ]
        return subprocess.run(command, input=told, capture_output=True, text=True, check=False)


class Release:
    """A release of the chart in a namespace of its own, with `values`."""

    name = "ledgerx"

    def __init__(self, cluster: Cluster, namespace: str, directory: Path, values: Mapping[str, Any]) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._values = directory / f"{namespace}-values.json"
        self._values.write_text(json.dumps(values))

    @property
    def base_url(self) -> str:
        """The API as this machine reaches it."""
        [port] = self.cluster.get("service", f"{self.name}-api", f"--namespace={self.namespace}")["spec"]["ports"]
        return f"http://{self.cluster.node_address()}:{port['nodePort']}"

    def install(self) -> None:
        """Install it, and wait until everything is ready."""
        self._change("install", str(CHART), f"--values={self._values}")

    def upgrade(self, *changes: str) -> None:
        """Upgrade it with changes as `helm --set` has them, and wait."""
        self._change("upgrade", str(CHART), f"--values={self._values}", *(f"--set={change}" for change in changes))

    def rollback(self) -> None:
        """Go back to the revision before, and wait."""
        self._change("rollback")

    def test(self) -> str:
        """Run the chart's test and return what its pod printed."""
        return self.cluster.helm("test", self.name, "--logs", f"--namespace={self.namespace}", f"--timeout={PATIENCE}")

    def uninstall(self) -> None:
        """Remove it, and wait until it is gone."""
        self._change("uninstall")

    def remove(self, *namespaces: str) -> None:
        """Remove it with everything that was declared for it, and the namespaces."""
        for namespace in namespaces:
            # While the operator is there to let go of them.
            kinds = "ledgertenants.ledgerx.io,ledgerclients.ledgerx.io"
            self.cluster.kubectl("delete", kinds, "--all", f"--namespace={namespace}", f"--timeout={PATIENCE}")
        self.cluster.kubectl("delete", "ledgerdatabases.ledgerx.io", "--all", f"--namespace={self.namespace}")
        self.uninstall()
        self.cluster.kubectl("delete", "namespace", *namespaces, "--wait=false")

    def pods(self, part: str) -> list[str]:
        """The names of a part's pods."""
        return self.cluster.pods(self.namespace, instance=self.name, component=part)

    def replace_pod(self, part: str, *options: str) -> None:
        """Delete a pod of a part, and wait until another one is in its place."""
        [pod, *_] = self.pods(part)
        self.cluster.kubectl("delete", "pod", pod, f"--namespace={self.namespace}", *options)
        kind = "statefulset" if part == "demo" else "deployment"
        rolled_out(self.cluster, self.namespace, f"{kind}/{self.name}-{part}")

    def _change(self, verb: str, *arguments: str) -> None:
        options = (f"--namespace={self.namespace}", "--wait", f"--timeout={PATIENCE}")
        try:
            self.cluster.helm(verb, self.name, *arguments, *options)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.cluster.what_happened(self.namespace)}") from None


def rolled_out(cluster: Cluster, namespace: str, workload: str) -> None:
    """Wait until all pods of a workload are ready."""
    cluster.kubectl("rollout", "status", workload, f"--namespace={namespace}", f"--timeout={PATIENCE}")
