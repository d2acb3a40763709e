"""What the operator reads and writes in the cluster beside its own resources' statuses, which are kopf's to patch."""

import base64
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from lightkube import ApiError, AsyncClient
from lightkube.config.kubeconfig import KubeConfig
from lightkube.generic_resource import GenericNamespacedResource, create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Secret
from lightkube.types import PatchType

from ledgerx_operator.names import DATABASES, GROUP, MANAGED_BY, OPERATOR, TENANTS, VERSION

LedgerTenant = create_namespaced_resource(GROUP, VERSION, "LedgerTenant", TENANTS)
LedgerDatabase = create_namespaced_resource(GROUP, VERSION, "LedgerDatabase", DATABASES)
CnpgCluster = create_namespaced_resource("postgresql.cnpg.io", "v1", "Cluster", "clusters")

_NOT_FOUND = 404
_CONFLICT = 409


class NamespaceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a namespace says of itself."""

    uid: str
    labels: Mapping[str, str]
    terminating: bool


class Cluster:
    """One cluster, seen by the operator whose own namespace is `namespace`; without any `watched`, all of it."""

    def __init__(self, client: AsyncClient, namespace: str, uid: str, watched: Sequence[str]) -> None:
        self.client = client
        self.namespace = namespace
        self.uid = uid
        self._watched = tuple(dict.fromkeys((namespace, *watched))) if watched else ("*",)

    async def look_at_namespace(self, name: str) -> NamespaceInfo | None:
        """A namespace; None where it is gone."""
        try:
            found = await self.client.get(Namespace, name)
        except ApiError as error:
            _pass_if_missing(error)
            return None
        metadata = found.metadata or ObjectMeta()
        return NamespaceInfo(
            uid=metadata.uid or "",
            labels=metadata.labels or {},
            terminating=metadata.deletionTimestamp is not None,
        )

    async def read_secret(self, namespace: str, name: str) -> Secret | None:
        """A Secret; None where there is none."""
        try:
            return await self.client.get(Secret, name, namespace=namespace)
        except ApiError as error:
            _pass_if_missing(error)
            return None

    async def write_secret(self, before: Secret | None, wanted: Secret) -> None:
        """Make a Secret, or change `before` into it; refused with a conflict when that has changed since."""
        metadata = wanted.metadata or ObjectMeta()
        if before is None:
            await self.client.create(wanted)
            return
        known = before.metadata or ObjectMeta()
        gone = {key: None for key in before.data or {} if key not in (wanted.data or {})}
        patch = {
            "metadata": {
                "resourceVersion": known.resourceVersion,
                "labels": metadata.labels or {},
                "annotations": metadata.annotations or {},
            },
            "data": {**gone, **(wanted.data or {})},
        }
        await self.client.patch(
            Secret, metadata.name or "", patch, namespace=metadata.namespace, patch_type=PatchType.MERGE
        )

    async def make_secret(
        self, name: str, data: Mapping[str, bytes], *, kind: str = "Opaque", labels: Mapping[str, str] | None = None
    ) -> None:
        """Make a Secret of the operator's namespace; one that is there stays as it is.

        It has no owner, so that it outlives the chart.
        """
        encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
        metadata = ObjectMeta(name=name, namespace=self.namespace, labels={MANAGED_BY: OPERATOR, **(labels or {})})
        try:
            await self.client.create(Secret(metadata=metadata, type=kind, data=encoded))
        except ApiError as error:
            if error.status.code != _CONFLICT:
                raise

    async def apply_database(self, name: str, spec: Mapping[str, Any]) -> None:
        """Have a LedgerDatabase of the operator's namespace with these fields; others that it has are left alone."""
        metadata = ObjectMeta(name=name, namespace=self.namespace, labels={MANAGED_BY: OPERATOR})
        await self.client.apply(LedgerDatabase(metadata=metadata, spec=dict(spec)), force=True)

    async def put_keys(self, name: str, keys: Mapping[str, str | None]) -> None:
        """Set keys of one of the operator's own Secrets, base64-encoded; None takes a key away."""
        before = await self.read_secret(self.namespace, name)
        known = {} if before is None else before.data or {}
        if all(known.get(key) == value for key, value in keys.items()):
            return
        if before is None:
            metadata = ObjectMeta(name=name, namespace=self.namespace, labels={MANAGED_BY: OPERATOR})
            data = {key: value for key, value in keys.items() if value is not None}
            await self.client.create(Secret(metadata=metadata, data=data))
        else:
            await self.client.patch(
                Secret, name, {"data": dict(keys)}, namespace=self.namespace, patch_type=PatchType.MERGE
            )

    async def read_cnpg_cluster(self, name: str) -> GenericNamespacedResource | None:
        """A Cluster of CloudNativePG in the operator's namespace; None where there is none."""
        try:
            return await self.client.get(CnpgCluster, name, namespace=self.namespace)
        except ApiError as error:
            _pass_if_missing(error)
            return None

    async def set_cnpg_roles(self, known: GenericNamespacedResource, roles: Sequence[Mapping[str, Any]]) -> None:
        """Have a Cluster of CloudNativePG manage these roles; refused with a conflict when it has changed since."""
        metadata = known["metadata"]
        patch = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "spec": {"managed": {"roles": list(roles)}},
        }
        await self.client.patch(
            CnpgCluster, metadata["name"], patch, namespace=self.namespace, patch_type=PatchType.MERGE
        )

    async def databases(self) -> list[GenericNamespacedResource]:
        """The LedgerDatabases of the operator's namespace."""
        return [one async for one in self.client.list(LedgerDatabase, namespace=self.namespace)]

    async def tenants(self) -> AsyncIterator[GenericNamespacedResource]:
        """The LedgerTenants that the operator looks after."""
        for namespace in self._watched:
            async for one in self.client.list(LedgerTenant, namespace=namespace):
                yield one

    async def read_tenant(self, namespace: str, name: str) -> GenericNamespacedResource | None:
        """A LedgerTenant; None where there is none."""
        try:
            return await self.client.get(LedgerTenant, name, namespace=namespace)
        except ApiError as error:
            _pass_if_missing(error)
            return None

    async def note_placement(self, namespace: str, name: str, database: str) -> None:
        """Write down which database a tenant is placed on, before anything is made there."""
        await self.client.patch(
            LedgerTenant.Status,
            name,
            {"status": {"database": database}},
            namespace=namespace,
            patch_type=PatchType.MERGE,
        )


@asynccontextmanager
async def connected(namespace: str, watched: Sequence[str]) -> AsyncIterator[Cluster]:
    """The cluster of the service account, or of KUBECONFIG, that this process has."""
    client = AsyncClient(config=KubeConfig.from_env(), namespace=namespace, field_manager=OPERATOR)
    try:
        system = await client.get(Namespace, "kube-system")
        yield Cluster(client, namespace, (system.metadata or ObjectMeta()).uid or "", watched)
    finally:
        await client.close()


def _pass_if_missing(error: ApiError) -> None:
    if error.status.code != _NOT_FOUND:
        raise error
