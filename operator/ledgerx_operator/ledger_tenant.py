"""A LedgerTenant brought to what it declares: the tenant, its settings and limits, its state, its connection Secret.

Every step finds out first whether it is done, and is one transaction or one request: whatever ends the operator in
between, the next look goes on from there.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from ledgerx import lifecycle, tenancy, trust
from ledgerx.audit import SYSTEM
from ledgerx.database import Connection
from ledgerx.lifecycle import TenantRecord, TenantState
from ledgerx.registries import ensure_assets, ensure_strict_categories
from ledgerx.tenancy import Scope
from ledgerx_operator.binding import Binding, keep_binding
from ledgerx_operator.cluster import Cluster, NamespaceInfo
from ledgerx_operator.databases import Databases, OpenDatabase
from ledgerx_operator.failures import NotYet, Refusal
from ledgerx_operator.names import CONFIRM_DELETE
from ledgerx_operator.settings import OperatorSettings, listed
from ledgerx_operator.specs import TenantSpec, spec_of

ACTOR = "system:operator"
CONNECTION = "connection"
_SCOPES = frozenset({Scope.LEDGER_READ, Scope.LEDGER_WRITE})


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


class TenantReconciler:
    """Brings LedgerTenants to what they declare, and takes leave of them."""

    def __init__(self, cluster: Cluster, databases: Databases, settings: OperatorSettings) -> None:
        self._cluster = cluster
        self._databases = databases
        self._settings = settings
        self._issuers = listed(settings.oidc_issuers)

    async def reconcile(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Have the tenant as declared and return its status. Raises `Failure`s and what they come from."""
        namespace = await self._namespace_of(body)
        wanted = declared(self._cluster, namespace, body)
        placed = await self._find(wanted) or await self._provision(wanted, namespace)
        record = placed.record
        if record.state in (TenantState.DELETING, TenantState.PURGED):
            raise Refusal("TenantDeleted", "the tenant is being deleted for good")
        if record.time_zone != wanted.spec.time_zone:
            raise Refusal("TimeZoneMismatch", f"the tenant was made with the time zone {record.time_zone}")
        async with placed.database.pool.connection() as connection:
            await self._apply_settings(connection, wanted, placed)
            client_id = await tenancy.ensure_client(
                connection, record.tenant_id, CONNECTION, f"{wanted.tenant_name} connection", _SCOPES
            )
            await keep_binding(
                self._cluster,
                connection,
                Binding(
                    namespace=wanted.namespace,
                    name=wanted.secret_name,
                    kind="LedgerTenant",
                    owner_name=wanted.name,
                    owner_uid=wanted.uid,
                    tenant_id=record.tenant_id,
                    client_id=client_id,
                    api_url=self._settings.api_url,
                ),
                wanted.annotations,
                overlap_s=self._settings.rotation_overlap_s,
            )
        if not wanted.spec.suspended:
            await self._apply_registries(wanted, placed)
        return {
            "tenantID": str(record.tenant_id),
            "database": placed.database.name,
            "binding": {"name": wanted.secret_name},
            "auth": {"issuer": wanted.spec.auth.issuer} if wanted.spec.auth else None,
        }

    async def locate(self, namespace_name: str, name: str) -> Placed | None:
        """The tenant that a LedgerTenant of this name declared; None where there is none.

        Raises `NotYet` where its database is not ready.
        """
        namespace = await self._cluster.look_at_namespace(namespace_name)
        if namespace is None:
            return None
        owner = owner_of(self._cluster, namespace, namespace_name, name)
        resource = await self._cluster.read_tenant(namespace_name, name)
        noted = "" if resource is None else str((resource.get("status") or {}).get("database") or "")
        is_known = bool(noted) and await self._is_known(noted)
        for database in [self._databases.get(noted)] if is_known else self._databases:
            async with database.pool.connection() as connection:
                record = await lifecycle.tenant_of(connection, owner)
            if record is not None:
                return Placed(database, record)
        return None

    async def leave(self, body: Mapping[str, Any]) -> None:
        """Take leave of a tenant whose object is deleted: suspend it, or remove it for good.

        Raises `Refusal` with the reason `DeletionNotConfirmed` where the second was not confirmed, and what `reconcile`
        raises.
        """
        metadata = body["metadata"]
        namespace = await self._cluster.look_at_namespace(metadata["namespace"])
        if namespace is None:
            return
        wanted = declared(self._cluster, namespace, body)
        if wanted.database is not None and not await self._is_known(wanted.database):
            # Nobody is left who could reach the tenant. Its data stays where it is.
            return
        placed = await self._find(wanted)
        if placed is None:
            return
        delete = wanted.spec.deletion_policy == "Delete" and not namespace.terminating
        if delete and wanted.annotations.get(CONFIRM_DELETE) != wanted.name:
            raise Refusal(
                "DeletionNotConfirmed",
                f"annotate it with {CONFIRM_DELETE}={wanted.name} to remove the ledger for good, "
                "or set deletionPolicy to Retain",
            )
        tenant_id = placed.record.tenant_id
        async with placed.database.pool.connection() as connection:
            if not delete:
                await lifecycle.set_state(connection, tenant_id, TenantState.SUSPENDED)
                return
            await lifecycle.set_state(connection, tenant_id, TenantState.DELETING)
            while await lifecycle.purge(connection, tenant_id):
                pass

    async def _namespace_of(self, body: Mapping[str, Any]) -> NamespaceInfo:
        name = body["metadata"]["namespace"]
        namespace = await self._cluster.look_at_namespace(name)
        if namespace is None or namespace.terminating:
            raise NotYet("NamespaceTerminating", f"the namespace {name} is going")
        return namespace

    async def _is_known(self, database: str) -> bool:
        return any(one["metadata"]["name"] == database for one in await self._cluster.databases())

    async def _find(self, wanted: Declared) -> Placed | None:
        """The tenant that this object declared before. Raises `NotYet` for a database that is not ready."""
        candidates = list(self._databases) if wanted.database is None else [self._databases.get(wanted.database)]
        for database in candidates:
            async with database.pool.connection() as connection:
                record = await lifecycle.tenant_of(connection, wanted.owner)
            if record is not None:
                if wanted.spec.adopt_tenant_id not in (None, str(record.tenant_id)):
                    raise Refusal("AdoptionRefused", f"this object has a tenant of its own, {record.tenant_id}")
                return Placed(database, record)
        return None

    async def _provision(self, wanted: Declared, namespace: NamespaceInfo) -> Placed:
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

    async def _apply_settings(self, connection: Connection, wanted: Declared, placed: Placed) -> None:
        record, spec = placed.record, wanted.spec
        if record.allow_registration != spec.members.registration:
            await tenancy.allow_registration(connection, record.tenant_id, allowed=spec.members.registration)
        if record.members_may_post != spec.members.may_post:
            await tenancy.let_members_post(connection, record.tenant_id, allowed=spec.members.may_post)
        limits = placed.database.spec.limits(spec.limits)
        await lifecycle.set_limits(
            connection,
            record.tenant_id,
            requests_per_second=limits.requests_per_second,
            max_accounts=limits.accounts,
        )
        state = TenantState.SUSPENDED if spec.suspended else TenantState.ACTIVE
        await lifecycle.set_state(connection, record.tenant_id, state)
        if spec.auth is not None:
            await trust.set_trust(
                connection, record.tenant_id, spec.auth.trust(), allowed_issuers=self._issuers, author=SYSTEM
            )
        elif wanted.trusted_issuer is not None:
            # What was declared and is no more; a trust that the tenant set itself stays.
            known = await trust.read_trust(connection, record.tenant_id)
            if known is not None and known.trust.issuer == wanted.trusted_issuer:
                await trust.remove_trust(connection, record.tenant_id, author=SYSTEM)

    async def _apply_registries(self, wanted: Declared, placed: Placed) -> None:
        """Entries of the tenant's journal, by the engine: a suspended tenant gets them when it is resumed."""
        pool, engine, tenant_id = placed.database.pool, placed.database.engine, placed.record.tenant_id
        if wanted.spec.assets:
            await ensure_assets(pool, engine, tenant_id, wanted.spec.assets, actor=ACTOR)
        strict = wanted.spec.categories.strict
        if strict is not None:
            await ensure_strict_categories(pool, engine, tenant_id, strict=strict, actor=ACTOR)
