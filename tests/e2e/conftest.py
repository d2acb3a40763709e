"""A cluster with nodes, on which the images are; what is installed into it goes with the session."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import CRDS_CHART, Cluster, Release, rolled_out
from tests.e2e.servers import KAFKA_PARTITIONS, kafka, postgres
from tests.operator.kube import Kube

IMAGE = os.environ.get("LEDGERX_IMAGE", "localhost/ledgerx:dev")
DEMO_IMAGE = os.environ.get("LEDGERX_DEMO_IMAGE", "localhost/ledgerx-demo:dev")
DATABASES = ("primary", "second")
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
# All of it has to find room on two cores.
SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}}
_VOLUMES = 8


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster that KUBECONFIG names, with the custom resources."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip(
            "there is no cluster: set KUBECONFIG to one with nodes, and with the images of `make image` on them"
        )
    found = Cluster(Path(os.environ["KUBECONFIG"]))
    if not found.get("nodes")["items"]:
        pytest.skip("the cluster that KUBECONFIG names has no nodes")
    # Others may have brought them already.
    found.helm(
        "upgrade", "--install", "ledgerx-crds", str(CRDS_CHART), "--namespace=default", "--take-ownership", "--wait"
    )
    return found


@pytest.fixture(scope="session")
def kube(cluster: Cluster) -> Iterator[Kube]:
    """The cluster's API server."""
    api_server = Kube(cluster.kubeconfig)
    yield api_server
    api_server.close()


@pytest.fixture(scope="session")
def storage_class(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The cluster's default storage class, else one of directories on this machine, which then is the node."""
    default = "storageclass.kubernetes.io/is-default-class"
    for found in cluster.get("storageclasses")["items"]:
        if found["metadata"].get("annotations", {}).get(default) == "true":
            yield str(found["metadata"]["name"])
            return
    name = f"ledgerx-e2e-{secrets.token_hex(4)}"
    volumes = [f"{name}-{number}" for number in range(_VOLUMES)]
    own = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    cluster.apply([own, *(local_volume(one, name, tmp_path_factory.mktemp(one)) for one in volumes)])
    yield name
    cluster.kubectl("delete", "persistentvolume", *volumes, "--wait=false")
    cluster.kubectl("delete", "storageclass", name)


def local_volume(name: str, storage_class: str, directory: Path) -> dict[str, Any]:
    """A volume that is a directory of the node."""
    anywhere = {"matchExpressions": [{"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "8Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "local": {"path": str(directory)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [anywhere]}},
        },
    }


def image(name: str) -> dict[str, str]:
    """A value of the chart: where an image is."""
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag}


@pytest.fixture(scope="session")
def external_namespaces(kube: Kube) -> list[str]:
    """The namespace of a release, and one for tenants, under pod security `restricted`."""
    return [kube.new_namespace(prefix, **RESTRICTED) for prefix in ("ledgerx", "tenants")]


@pytest.fixture(scope="session")
def tenants(external_namespaces: list[str]) -> str:
    """The namespace of tenants."""
    return external_namespaces[1]


@pytest.fixture(scope="session")
def external(
    cluster: Cluster,
    external_namespaces: list[str],
    storage_class: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Release]:
    """LedgerX on two PostgreSQL servers and a Kafka that were there before."""
    namespace, tenants = external_namespaces
    for name in DATABASES:
        cluster.apply(postgres(f"postgres-{name}", namespace, DEMO_IMAGE, storage_class))
    cluster.apply(kafka("kafka", namespace, DEMO_IMAGE, storage_class))
    for name in ("kafka", *(f"postgres-{one}" for one in DATABASES)):
        rolled_out(cluster, namespace, f"statefulset/{name}")
    part = {"resources": SMALL}
    values = {
        "crds": {"install": False},
        "image": image(IMAGE),
        "databases": [
            {
                "name": name,
                "spec": {"adminSecretRef": {"name": f"postgres-{name}"}, "allowedNamespaces": {"selector": {}}},
            }
            for name in DATABASES
        ],
        "kafka": {"bootstrapServers": f"kafka.{namespace}.svc:9092", "journalPartitions": KAFKA_PARTITIONS},
        "api": {**part, "service": {"type": "NodePort"}},
        "relay": part,
        "streams": part,
        "operator": {**part, "watchNamespaces": [tenants]},
        "tests": {"tenantSecret": "probe-ledger"},
    }
    release = Release(cluster, namespace, tmp_path_factory.mktemp("external"), values)
    release.install()
    yield release
    release.remove(*external_namespaces)


@pytest.fixture(scope="session")
def demo(
    cluster: Cluster, kube: Kube, storage_class: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    """Everything in one pod, and the operator."""
    namespace = kube.new_namespace("demo", **RESTRICTED)
    values = {
        "crds": {"install": False},
        "demo": {
            "enabled": True,
            "image": image(DEMO_IMAGE),
            "persistence": {"storageClassName": storage_class, "size": "1Gi"},
            "resources": SMALL,
        },
        "api": {"service": {"type": "NodePort"}},
        "operator": {"replicas": 1, "resources": SMALL, "watchNamespaces": [namespace]},
        "tests": {"tenantSecret": "probe-ledger"},
    }
    release = Release(cluster, namespace, tmp_path_factory.mktemp("demo"), values)
    release.install()
    yield release
    release.remove(namespace)
