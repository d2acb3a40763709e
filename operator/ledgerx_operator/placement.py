"""Where the tenant of a LedgerTenant is: on which database, and whose it is there.

A tenant's row keeps the identity of the object that declares it, and that is what it is found by. Which database is to
get it is written into the status before anything is made there.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import msgspec

from ledgerx import lifecycle, tenancy
from ledgerx.database import Connection
from ledgerx.lifecycle import TenantRecord, TenantState
from ledgerx_operator.cluster import Cluster, NamespaceInfo
from ledgerx_operator.databases import Databases, OpenDatabase
from ledgerx_operator.failures import NotYet, Refusal
from ledgerx_operator.specs import TenantSpec, spec_of


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """A LedgerTenant as it stands in the cluster. `owner` is what its tenant's row says."""

    namespace: str
    name: str
    uid: str
    spec: TenantSpec
    annotations: Mapping[str, str]
    database: str | None
    trusted_issuer: str | None
    owner: str

    @property
    def tenant_name(self) -> str:
        """The name of the tenant on the platform."""
        return f"{self.namespace}/{self.name}"

    @property
    def secret_name(self) -> str:
        """The name of the connection Secret."""
        return self.spec.connection_secret_name or f"{self.name}-ledger"


class Placed(msgspec.Struct, frozen=True):
    """A tenant and where it is."""

    database: OpenDatabase
    record: TenantRecord


def owner_of(cluster: Cluster, namespace: NamespaceInfo, namespace_name: str, name: str) -> str:
    """The identity of the object that declares a tenant; another cluster or a namespace made anew has another."""
    return f"{cluster.uid}/{namespace.uid}/{namespace_name}/{name}"


def declared(cluster: Cluster, namespace: NamespaceInfo, body: Mapping[str, Any]) -> Declared:
    """Read a LedgerTenant."""
    metadata, status = body["metadata"], body.get("status") or {}
    spec = spec_of(body, TenantSpec)
    return Declared(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        spec=spec,
        annotations=metadata.get("annotations") or {},
        database=status.get("database") or (spec.database_ref.name if spec.database_ref else None),
        trusted_issuer=(status.get("auth") or {}).get("issuer"),
        owner=owner_of(cluster, namespace, metadata["namespace"], metadata["name"]),
    )


class Placement:
    """Finds the tenants that objects declared, and gives new ones a place."""

    def __init__(self, cluster: Cluster, databases: Databases) -> None:
        self._cluster = cluster
        self._databases = databases

    async def find(self, wanted: Declared) -> Placed | None:
        """The tenant that this object declared before. Raises `NotYet` for a database that is not ready."""
        candidates = list(self._databases) if wanted.database is None else [self._databases.get(wanted.database)]
        placed = await _owned_by(wanted.owner, candidates)
        if placed is not None and wanted.spec.adopt_tenant_id not in (None, str(placed.record.tenant_id)):
            raise Refusal("AdoptionRefused", f"this object has a tenant of its own, {placed.record.tenant_id}")
        return placed

    async def locate(self, namespace_name: str, name: str) -> Placed | None:
        """The tenant that a LedgerTenant of this name declared; None where there is none, or it is being removed.

        Raises `NotYet` where its database is not ready.
        """
        namespace = await self._cluster.look_at_namespace(namespace_name)
        if namespace is None:
            return None
        owner = owner_of(self._cluster, namespace, namespace_name, name)
        resource = await self._cluster.read_tenant(namespace_name, name)
        noted = "" if resource is None else str((resource.get("status") or {}).get("database") or "")
        is_known = bool(noted) and await self.is_known(noted)
        placed = await _owned_by(owner, [self._databases.get(noted)] if is_known else self._databases)
        is_going = placed is not None and placed.record.state in (TenantState.DELETING, TenantState.PURGED)
        return None if is_going else placed

    async def is_known(self, database: str) -> bool:
        """Whether there is a LedgerDatabase of this name."""
        return any(one["metadata"]["name"] == database for one in await self._cluster.databases())

    async def provision(self, wanted: Declared, namespace: NamespaceInfo) -> Placed:
        """Make the tenant, or adopt it. Raises `NotYet` where there is no place and `Refusal` where it may not be."""
        database = await self._place(wanted, namespace)
        if wanted.database is None:
            # Were it lost, a later look could place the tenant elsewhere while this database does not answer.
            await self._cluster.note_placement(wanted.namespace, wanted.name, database.name)
        async with database.placing, database.pool.connection() as connection:
            if wanted.spec.adopt_tenant_id is not None:
                await self._adopt(connection, database, wanted, wanted.spec.adopt_tenant_id)
            else:
                await self._create(connection, database, wanted)
            record = await lifecycle.tenant_of(connection, wanted.owner)
        if record is None:
            raise TypeError("a tenant that was made has a row")
        return Placed(database, record)

    async def _place(self, wanted: Declared, namespace: NamespaceInfo) -> OpenDatabase:
        """The database that takes the tenant: the one it names, or the one with the most room."""
        if wanted.database is not None:
            database = self._databases.get(wanted.database)
            if not database.spec.admits(namespace.labels):
                raise Refusal(
                    "NamespaceNotAllowed", f"the LedgerDatabase {database.name} takes no tenants of this namespace"
                )
            return database
        open_to_it = [one for one in self._databases if one.spec.admits(namespace.labels)]
        if not open_to_it:
            if any(True for _ in self._databases):
                raise Refusal("NamespaceNotAllowed", "no LedgerDatabase takes tenants of this namespace")
            raise NotYet("DatabaseNotReady", "no LedgerDatabase is ready")
        room = {}
        for database in open_to_it:
            if database.spec.schedulable:
                async with database.pool.connection() as connection:
                    room[database.name] = database.spec.max_tenants - await lifecycle.count_tenants(connection)
        best = max(room, key=lambda name: room[name], default=None)
        if best is None or room[best] <= 0:
            raise NotYet("NoCapacity", "no LedgerDatabase has room for another tenant")
        return self._databases.get(best)

    async def _create(self, connection: Connection, database: OpenDatabase, wanted: Declared) -> None:
        taken = await lifecycle.tenant_by_name(connection, wanted.tenant_name)
        if taken is not None:
            raise Refusal(
                "AdoptionRefused",
                f"another object, or another cluster, made the tenant {taken.tenant_id} of this name: take it over "
                "with adoptTenantID, which the LedgerDatabase has to allow",
            )
        if not database.spec.schedulable:
            raise NotYet("NoCapacity", f"the LedgerDatabase {database.name} takes no new tenants")
        if await lifecycle.count_tenants(connection) >= database.spec.max_tenants:
            raise NotYet("NoCapacity", f"the LedgerDatabase {database.name} has no room for another tenant")
        await tenancy.create_tenant(connection, wanted.tenant_name, time_zone=wanted.spec.time_zone, owner=wanted.owner)

    async def _adopt(self, connection: Connection, database: OpenDatabase, wanted: Declared, tenant_id: str) -> None:
        record = await lifecycle.tenant_by_id(connection, UUID(tenant_id))
        # Who may not take it over learns nothing of it either.
        if record is None or not database.spec.lets_adopt(tenant_id, wanted.namespace, wanted.name):
            raise Refusal(
                "AdoptionRefused", f"the LedgerDatabase {database.name} does not let this object adopt {tenant_id}"
            )
        await lifecycle.hand_over(connection, record.tenant_id, owner=wanted.owner, name=wanted.tenant_name)


async def _owned_by(owner: str, databases: Iterable[OpenDatabase]) -> Placed | None:
    """The tenant of this owner, in the first of the databases that has it."""
    for database in databases:
        async with database.pool.connection() as connection:
            record = await lifecycle.tenant_of(connection, owner)
        if record is not None:
            return Placed(database, record)
    return None
