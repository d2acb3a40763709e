"""The operator as a process that tests start, stop and kill, with no more rights than the chart gives it."""

import base64
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from ledgerx.logins import Database
from ledgerx_cli.embedded.postgres import Postgres
from ledgerx_cli.ports import free_port
from tests.integration.api_process import ApiProcess
from tests.operator.kube import RULES, Kube, condition, eventually, objects

API_URL = "http://ledgerx-api.ledgerx.svc:8080"


class OperatorProcess:
    """`ledgerx operator` for tenants in the namespaces `watched`, itself in a namespace of its own.

    Without `watched` it looks after the whole cluster. `settings` are environment variables without their prefix.
    """

    def __init__(self, kube: Kube, directory: Path, *watched: str, namespace: str = "", **settings: str) -> None:
        self.kube = kube
        self.namespace = namespace or kube.new_namespace("operator")
        self.port = free_port()
        name = f"operator-{secrets.token_hex(4)}"
        self.kubeconfig = directory / f"{name}.kubeconfig"
        self.log = directory / f"{name}.log"
        self._environment = {
            "KUBECONFIG": str(self.kubeconfig),
            "LEDGERX_NAMESPACE": self.namespace,
            "LEDGERX_API_URL": API_URL,
            "LEDGERX_MANAGEMENT_PORT": str(self.port),
            "LEDGERX_DRIFT_INTERVAL_S": "2",
            "LEDGERX_LEASE_DURATION_S": "10",
            **({"LEDGERX_WATCH_NAMESPACES": ",".join(watched)} if watched else {}),
            **{f"LEDGERX_{key}": value for key, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None
        kube.account("ledgerx-operator", self.namespace, self.kubeconfig)
        grant(kube, self.namespace, watched)

    def start(self) -> None:
        """Start it, and wait until it is ready: active or standing by."""
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "ledgerx_cli", "operator"], env=os.environ | self._environment, stderr=output
            )
        while not self._answers("/readyz"):
            assert self._process.poll() is None, self.log.read_text()
            time.sleep(0.1)

    def process(self) -> psutil.Process:
        """The process, for what it used."""
        assert self._process is not None
        return psutil.Process(self._process.pid)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def active(self) -> bool:
        """Whether it has acquired the lease."""
        return "lease acquired" in self.log.read_text()

    def metrics(self) -> str:
        """What Prometheus would read."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end and return its exit code."""
        assert self._process is not None
        return self._process.wait(timeout=60)

    def end(self) -> None:
        """Stop it, in good order if it is still there."""
        if self.running:
            self.send(signal.SIGTERM)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.send(signal.SIGKILL)
                self.wait()

    def _answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def grant(kube: Kube, namespace: str, watched: tuple[str, ...]) -> None:
    """Give the operator's service account the rules of the chart."""
    [watched_rules], [cluster_rules], [own_rules] = (
        objects(RULES / f"{name}-rules.yaml") for name in ("watched", "cluster", "own")
    )
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": "ledgerx-operator", "namespace": namespace}

    def bind(kind: str, where: Mapping[str, str], name: str, rules: Any) -> None:
        metadata = {"name": name, **where}
        kube.apply({"apiVersion": f"{group}/v1", "kind": kind, "metadata": metadata, "rules": rules})
        reference = {"apiGroup": group, "kind": kind, "name": name}
        kube.apply(
            {
                "apiVersion": f"{group}/v1",
                "kind": f"{kind}Binding",
                "metadata": metadata,
                "roleRef": reference,
                "subjects": [subject],
            }
        )

    bind("ClusterRole", {}, f"{namespace}-cluster", cluster_rules if watched else [*cluster_rules, *watched_rules])
    bind("Role", {"namespace": namespace}, "ledgerx-operator-own", own_rules)
    for one in (namespace, *watched) if watched else ():
        bind("Role", {"namespace": one}, f"ledgerx-operator-of-{namespace}", watched_rules)


def api_of(operator: OperatorProcess, directory: Path, **settings: str) -> ApiProcess:
    """The API with the URL that an operator hands out for the database `main`."""
    url = (operator.kube.secret(operator.namespace, "ledgerx-databases-api") or {})["main"]
    return ApiProcess(
        Database(admin_url="", owner_url="", api_url=url, streams_url="", relay_url=""), directory, **settings
    )


def new_database(server: Postgres, admin_password: str) -> str:
    """An empty database of an administrator who is no superuser; returns the administrator's URL."""
    name = f"test_{secrets.token_hex(4)}"
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER platform").format(sql.Identifier(name)))
    return server.url(name).replace(f"postgres:{server.password}@", f"platform:{admin_password}@")


def ledger_database(namespace: str, name: str = "main", **spec: Any) -> dict[str, Any]:
    """A LedgerDatabase that takes tenants of every namespace unless `spec` says otherwise."""
    return {
        "apiVersion": "ledgerx.io/v1alpha1",
        "kind": "LedgerDatabase",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"adminSecretRef": {"name": f"{name}-admin"}, "allowedNamespaces": {"selector": {}}, **spec},
    }


def ledger_tenant(namespace: str, name: str = "shop", **spec: Any) -> dict[str, Any]:
    """A LedgerTenant."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "ledgerx.io/v1alpha1", "kind": "LedgerTenant", "metadata": metadata, "spec": spec}


def ledger_client(namespace: str, name: str, **spec: Any) -> dict[str, Any]:
    """A LedgerClient of the tenant `shop` that reads, unless `spec` says otherwise."""
    return {
        "apiVersion": "ledgerx.io/v1alpha1",
        "kind": "LedgerClient",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"tenantRef": {"name": "shop"}, "scopes": ["ledger:read"], **spec},
    }


def ledger_export(namespace: str, name: str = "monthly", **spec: Any) -> dict[str, Any]:
    """A LedgerExport of the tenant `shop`, of its balances in CSV unless `spec` says otherwise."""
    return {
        "apiVersion": "ledgerx.io/v1alpha1",
        "kind": "LedgerExport",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"tenantRef": {"name": "shop"}, "format": "csv", "dataset": "balances", **spec},
    }


def admin_secret(namespace: str, name: str, url: str) -> dict[str, Any]:
    """The Secret that a LedgerDatabase of this name refers to."""
    data = {"uri": base64.b64encode(url.encode()).decode()}
    metadata = {"name": f"{name}-admin", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def bring_database(operator: OperatorProcess, admin_url: str, name: str = "main", **spec: Any) -> None:
    """Declare a database and wait until it is ready."""
    operator.kube.apply(admin_secret(operator.namespace, name, admin_url))
    operator.kube.apply(ledger_database(operator.namespace, name, **spec))
    ready(operator.kube, "LedgerDatabase", operator.namespace, name)


def ready(kube: Kube, kind: str, namespace: str, name: str) -> Any:
    """The object once it is ready as it stands."""

    def settled(obj: Any) -> bool:
        status = obj.get("status") or {}
        told = condition(obj)
        return told is not None and told[0] == "True" and status["observedGeneration"] == obj["metadata"]["generation"]

    return eventually(lambda: kube.get(kind, namespace, name), settled)


def refused(kube: Kube, namespace: str, name: str, reason: str, kind: str = "LedgerTenant") -> Any:
    """The object once its condition Ready says no for this reason."""
    return eventually(lambda: kube.get(kind, namespace, name), lambda obj: condition(obj) == ("False", reason))
