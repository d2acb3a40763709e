"""PostgreSQL and Kafka in pods of the demo's image: what a platform team has before it installs LedgerX."""

import base64
import secrets
from collections.abc import Mapping
from typing import Any

KAFKA_PARTITIONS = 4
_LABEL = "app.kubernetes.io/name"


def postgres(name: str, namespace: str, image: str, storage_class: str) -> list[dict[str, Any]]:
    """A server, with the Secret `name` that has the administrator's `password` and, for a LedgerDatabase, `uri`."""
    password = secrets.token_urlsafe(24)
    uri = f"postgresql://postgres:{password}@{name}.{namespace}.svc:5432/ledgerx"
    settings = {
        "LEDGERX_POSTGRES_TCP_PORT": "5432",
        "LEDGERX_POSTGRES_PASSWORD_FILE": "/run/postgres/password",
    }
    credentials = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in (("password", password), ("uri", uri))},
    }
    return [credentials, *_server("postgres", name, namespace, image, storage_class, settings, port=5432, secret=name)]


def kafka(name: str, namespace: str, image: str, storage_class: str) -> list[dict[str, Any]]:
    """A broker with the topics of LedgerX."""
    settings = {"LEDGERX_KAFKA_ADVERTISED": f"{name}.{namespace}.svc:9092"}
    return _server("kafka", name, namespace, image, storage_class, settings, port=9092)


def _server(
    part: str,
    name: str,
    namespace: str,
    image: str,
    storage_class: str,
    settings: Mapping[str, str],
    *,
    port: int,
    secret: str | None = None,
) -> list[dict[str, Any]]:
    metadata = {"name": name, "namespace": namespace, "labels": {_LABEL: name}}
    environment = {**settings, "LEDGERX_MANAGEMENT_HOST": "0.0.0.0", "LEDGERX_MANAGEMENT_PORT": "9090"}  # noqa: S104
    mounts = [{"name": "data", "mountPath": "/var/lib/ledgerx"}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    if secret is not None:
        mounts.append({"name": "password", "mountPath": "/run/postgres"})
        volumes.append({"name": "password", "secret": {"secretName": secret, "defaultMode": 0o440}})
    container = {
        "name": part,
        "image": image,
        "args": ["up", "--json", "--parts", part],
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "ports": [{"name": part, "containerPort": port}, {"name": "management", "containerPort": 9090}],
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "management"},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
        },
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }
    pod = {
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 90,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": volumes,
    }
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    workload = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata,
        "spec": {
            "serviceName": name,
            "selector": {"matchLabels": {_LABEL: name}},
            "template": {"metadata": {"labels": {_LABEL: name}}, "spec": pod},
            "volumeClaimTemplates": [claim],
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": {_LABEL: name}, "ports": [{"name": part, "port": port, "targetPort": part}]},
    }
    return [service, workload]
