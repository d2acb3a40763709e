"""A cluster as tests see it: plain requests to the API server with the credentials of a kubeconfig."""

import base64
import json
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import yaml
from lightkube import Client
from lightkube.config.kubeconfig import KubeConfig

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
CRDS = sorted((ROOT / "charts/ledgerx-crds/templates").glob("*.yaml"))
EXAMPLES = sorted((ROOT / "docs/examples").glob("*.yaml"))
RULES = ROOT / "charts/ledgerx/files/operator"
TIMEOUT_S = 90.0

_PATHS = {
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "Namespace": "/api/v1/namespaces",
    "Secret": "/api/v1/namespaces/{namespace}/secrets",
    "ServiceAccount": "/api/v1/namespaces/{namespace}/serviceaccounts",
    "Event": "/api/v1/namespaces/{namespace}/events",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "LedgerTenant": "/apis/ledgerx.io/v1alpha1/namespaces/{namespace}/ledgertenants",
    "LedgerDatabase": "/apis/ledgerx.io/v1alpha1/namespaces/{namespace}/ledgerdatabases",
    "LedgerExport": "/apis/ledgerx.io/v1alpha1/namespaces/{namespace}/ledgerexports",
    "Cluster": "/apis/postgresql.cnpg.io/v1/namespaces/{namespace}/clusters",
    "LedgerClient": "/apis/ledgerx.io/v1alpha1/namespaces/{namespace}/ledgerclients",
}


class KubeError(Exception):
    """The API server's refusal."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Kube:
    """Requests with the credentials of the kubeconfig at `path`."""

    def __init__(self, path: Path) -> None:
        self.config = KubeConfig.from_file(path)
        self._client = Client(config=self.config)
        self._http: httpx2.Client = self._client._client._client

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def request(
        self, method: str, path: str, body: Any = None, *, content: str = "application/json", **params: str
    ) -> Any:
        """Send a request and return the JSON of its answer. Raises `KubeError`."""
        data = None if body is None else json.dumps(body).encode()
        answer = self._http.request(method, path, content=data, params=params, headers={"Content-Type": content})
        told = answer.json() if answer.content else None
        if answer.status_code >= 400:
            raise KubeError(answer.status_code, told.get("message", "") if isinstance(told, dict) else answer.text)
        return told

    def apply(self, obj: Mapping[str, Any], *, dry_run: bool = False) -> Any:
        """Apply an object on the server's side; unknown and doubled fields are errors."""
        metadata = obj["metadata"]
        path = _PATHS[obj["kind"]].format(namespace=metadata.get("namespace", ""))
        dry = {"dryRun": "All"} if dry_run else {}
        return self.request(
            "PATCH",
            f"{path}/{metadata['name']}",
            obj,
            content="application/apply-patch+yaml",
            fieldManager="test",
            force="true",
            fieldValidation="Strict",
            **dry,
        )

    def get(self, kind: str, namespace: str, name: str) -> Any:
        """An object; None where there is none."""
        try:
            return self.request("GET", f"{_PATHS[kind].format(namespace=namespace)}/{name}")
        except KubeError as error:
            if error.status != 404:
                raise
            return None

    def list(self, kind: str, namespace: str = "") -> list[Any]:
        """All objects of a kind in a namespace."""
        found: list[Any] = self.request("GET", _PATHS[kind].format(namespace=namespace))["items"]
        return found

    def patch(self, kind: str, namespace: str, name: str, body: Mapping[str, Any], *, part: str = "") -> Any:
        """Merge into an object, or into a `part` of it such as `/status`."""
        path = f"{_PATHS[kind].format(namespace=namespace)}/{name}{part}"
        return self.request("PATCH", path, body, content="application/merge-patch+json")

    def annotate(self, kind: str, namespace: str, name: str, **annotations: str | None) -> None:
        """Set annotations below ledgerx.io/, with underscores for hyphens; None takes one away."""
        named = {f"ledgerx.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
        self.patch(kind, namespace, name, {"metadata": {"annotations": named}})

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Ask for an object to be deleted."""
        self.request("DELETE", f"{_PATHS[kind].format(namespace=namespace)}/{name}")

    def new_namespace(self, prefix: str = "test", **labels: str) -> str:
        """A namespace of a random name."""
        name = f"{prefix}-{secrets.token_hex(4)}"
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        return name

    def secret(self, namespace: str, name: str) -> dict[str, str] | None:
        """What a Secret holds, decoded; None where there is none."""
        found = self.get("Secret", namespace, name)
        return (
            None
            if found is None
            else {key: base64.b64decode(value).decode() for key, value in (found.get("data") or {}).items()}
        )

    def account(self, name: str, namespace: str, path: Path) -> None:
        """Write a kubeconfig of a service account, which is made, to `path`."""
        metadata = {"name": name, "namespace": namespace}
        self.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        accounts = _PATHS["ServiceAccount"].format(namespace=namespace)
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = self.request("POST", f"{accounts}/{name}/token", request)["status"]["token"]
        [cluster] = self.config.clusters.values()
        ca = (
            cluster.certificate_auth_data
            or base64.b64encode(Path(cluster.certificate_auth or "").read_bytes()).decode()
        )
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
            "clusters": [{"name": "test", "cluster": {"server": cluster.server, "certificate-authority-data": ca}}],
            "users": [{"name": "test", "user": {"token": token}}],
        }
        path.write_text(json.dumps(config))


def objects(path: Path) -> list[Any]:
    """The objects of a YAML file."""
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def eventually(ask: Callable[[], T], holds: Callable[[T], object] = bool, timeout_s: float = TIMEOUT_S) -> T:
    """What `ask` comes to once it `holds`; other processes set no event."""
    deadline = time.monotonic() + timeout_s
    while not holds(found := ask()):
        assert time.monotonic() < deadline, f"still {found}"
        time.sleep(0.1)
    return found


def condition(obj: Any, kind: str = "Ready") -> tuple[str, str] | None:
    """The status and reason of a condition of an object."""
    for one in ((obj or {}).get("status") or {}).get("conditions") or []:
        if one["type"] == kind:
            return one["status"], one["reason"]
    return None
