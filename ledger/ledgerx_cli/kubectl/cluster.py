"""What there is of LedgerX in a cluster, read with the rights of whoever asks."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from lightkube import ApiError, Client
from lightkube.config.kubeconfig import KubeConfig
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Secret
from lightkube.types import PatchType

from ledgerx_cli.failures import CommandFailed
from ledgerx_operator.binding import decoded
from ledgerx_operator.cluster import LedgerDatabase, LedgerTenant
from ledgerx_operator.conditions import HEALTHY, READY, find
from ledgerx_operator.names import CLIENTS, EXPORTS, FINALIZER, GROUP, LEASE, VERSION

LedgerClient = create_namespaced_resource(GROUP, VERSION, "LedgerClient", CLIENTS)
LedgerExport = create_namespaced_resource(GROUP, VERSION, "LedgerExport", EXPORTS)
# In the order in which they are let go: a database is the last one.
KINDS = {"lx": LedgerExport, "lc": LedgerClient, "lt": LedgerTenant, "ldb": LedgerDatabase}
_NOT_FOUND = 404


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an object is as declared and how it is, each with the reason; None is not known yet."""

    ready: bool | None
    reason: str
    healthy: bool | None
    health: str

    @property
    def well(self) -> bool:
        """Whether nothing is known to be wrong."""
        return bool(self.ready) and self.healthy is not False


class Tenant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A LedgerTenant."""

    namespace: str
    name: str
    state: State
    tenant_id: str | None = None
    database: str | None = None
    accounts: int | None = None
    transactions: int | None = None
    lag_s: int | None = None
    secret: str | None = None


class Database(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A LedgerDatabase. `lag_bytes` is how much its relay has still to read."""

    namespace: str
    name: str
    state: State
    tenants: int | None = None
    max_tenants: int | None = None
    size_bytes: int | None = None
    lag_bytes: int | None = None
    schema: str | None = None


class Operator(msgspec.Struct, frozen=True, kw_only=True):
    """The operator of a namespace: who holds its Lease, and whether that was renewed lately."""

    namespace: str
    holder: str
    active: bool


@contextmanager
def cluster(context: str | None) -> Iterator[Client]:
    """The cluster of a context of the kubeconfig, or of the current one."""
    client = Client(config=KubeConfig.from_env().get(context))
    try:
        yield client
    finally:
        client._client._client.close()  # noqa: SLF001 - it has no other way


def tenants(client: Client, namespace: str | None) -> list[Tenant]:
    """The tenants of a namespace, or of all of them."""
    found = client.list(LedgerTenant, namespace=namespace or "*")
    return sorted((_tenant(one) for one in found), key=lambda one: (one.namespace, one.name))


def databases(client: Client) -> list[Database]:
    """The databases of the cluster."""
    found = client.list(LedgerDatabase, namespace="*")
    return sorted((_database(one) for one in found), key=lambda one: (one.namespace, one.name))


def operators(client: Client) -> list[Operator]:
    """The operators of the namespaces that have databases."""
    return [
        operator
        for namespace in sorted({one.namespace for one in databases(client)})
        if (operator := operator_of(client, namespace)) is not None
    ]


def operator_of(client: Client, namespace: str) -> Operator | None:
    """The operator of a namespace; None where none has ever been."""
    try:
        spec = client.get(Lease, LEASE, namespace=namespace).spec
    except ApiError as error:
        if error.status.code != _NOT_FOUND:
            raise
        return None
    if spec is None or not spec.holderIdentity or spec.renewTime is None:
        return Operator(namespace=namespace, holder="", active=False)
    age_s = (datetime.now(UTC) - spec.renewTime).total_seconds()
    return Operator(
        namespace=namespace, holder=spec.holderIdentity, active=age_s < 2 * (spec.leaseDurationSeconds or 0)
    )


def connection(client: Client, namespace: str, name: str) -> dict[str, str]:
    """What the connection Secret of a LedgerTenant holds. Raises `CommandFailed` and `ApiError`."""
    tenant = _tenant(client.get(LedgerTenant, name, namespace=namespace))
    if tenant.secret is None:
        raise CommandFailed(f"{namespace}/{name} has no connection Secret yet: {tenant.state.reason}")
    return decoded(client.get(Secret, tenant.secret, namespace=namespace))


def let_go(client: Client, kind: str, namespace: str, name: str) -> bool:
    """Take the operator's finalizer off an object, and return whether it had one. Raises `ApiError`."""
    resource = KINDS[kind]
    metadata = client.get(resource, name, namespace=namespace)["metadata"]
    finalizers = metadata.get("finalizers") or []
    if FINALIZER not in finalizers:
        return False
    kept = [one for one in finalizers if one != FINALIZER]
    patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": kept}}
    client.patch(resource, name, patch, namespace=namespace, patch_type=PatchType.MERGE)
    return True


def names(client: Client, kind: str, namespace: str) -> list[str]:
    """The objects of a kind in a namespace."""
    return sorted(str(one["metadata"]["name"]) for one in client.list(KINDS[kind], namespace=namespace))


def _tenant(found: Mapping[str, Any]) -> Tenant:
    metadata, status = found["metadata"], found.get("status") or {}
    usage = status.get("usage") or {}
    return Tenant(
        namespace=metadata["namespace"],
        name=metadata["name"],
        state=_state(status),
        tenant_id=status.get("tenantID"),
        database=status.get("database"),
        accounts=usage.get("accounts"),
        transactions=usage.get("transactions"),
        lag_s=usage.get("streamLagSeconds"),
        secret=(status.get("binding") or {}).get("name"),
    )


def _database(found: Mapping[str, Any]) -> Database:
    metadata, status = found["metadata"], found.get("status") or {}
    return Database(
        namespace=metadata["namespace"],
        name=metadata["name"],
        state=_state(status),
        tenants=status.get("tenants"),
        max_tenants=found["spec"].get("maxTenants"),
        size_bytes=status.get("sizeBytes"),
        lag_bytes=(status.get("slot") or {}).get("lagBytes"),
        schema=status.get("schema"),
    )


def _state(status: Mapping[str, Any]) -> State:
    conditions = status.get("conditions") or []
    ready, healthy = find(conditions, READY), find(conditions, HEALTHY)
    return State(
        ready=_holds(ready),
        reason=ready.get("reason", "Unknown"),
        healthy=_holds(healthy),
        health=healthy.get("reason", "Unknown"),
    )


def _holds(condition: Mapping[str, Any]) -> bool | None:
    return {"True": True, "False": False}.get(condition.get("status", ""))
