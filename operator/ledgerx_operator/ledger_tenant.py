"""A LedgerTenant brought to what it declares: the tenant, its settings and limits, its state, its connection Secret.

Every step finds out first whether it is done, and is one transaction or one request: whatever ends the operator in
between, the next look goes on from there.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from ledgerx import lifecycle, tenancy, trust, webhooks
from ledgerx.audit import SYSTEM
from ledgerx.database import Connection
from ledgerx.lifecycle import TenantState
from ledgerx.passwords import Passwords
from ledgerx.registries import ensure_assets, ensure_strict_categories
from ledgerx.snapshots import read_snapshot_settings, set_snapshot_settings
from ledgerx.tenancy import Scope
from ledgerx_operator.binding import Binding, keep_binding
from ledgerx_operator.cluster import Cluster, NamespaceInfo
from ledgerx_operator.conditions import PROVISIONED, Condition, Outcome
from ledgerx_operator.databases import Databases
from ledgerx_operator.declared_webhooks import keep_webhooks
from ledgerx_operator.failures import NotYet, Refusal
from ledgerx_operator.first_owner import FirstOwner
from ledgerx_operator.names import CONFIRM_DELETE
from ledgerx_operator.placement import Declared, Placed, Placement, declared
from ledgerx_operator.settings import OperatorSettings, listed
from ledgerx_operator.specs import Snapshots

ACTOR = "system:operator"
CONNECTION = "connection"
_SCOPES = frozenset({Scope.LEDGER_READ, Scope.LEDGER_WRITE})


class TenantReconciler:
    """Brings LedgerTenants to what they declare, and takes leave of them."""

    def __init__(self, cluster: Cluster, databases: Databases, settings: OperatorSettings) -> None:
        self.placement = Placement(cluster, databases)
        self._cluster = cluster
        self._settings = settings
        self._passwords = Passwords()
        self._networks = webhooks.networks(settings.webhooks_allow_private)
        self._issuers = listed(settings.oidc_issuers)

    async def reconcile(self, body: Mapping[str, Any]) -> Outcome:
        """Have the tenant as declared and return its status. Raises `Failure`s and what they come from."""
        namespace = await self._namespace_of(body)
        wanted = declared(self._cluster, namespace, body)
        placed = await self.placement.find(wanted) or await self.placement.provision(wanted, namespace)
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
            await self._hand_over(connection, wanted, record.tenant_id, client_id)
        if not wanted.spec.suspended:
            await self._apply_registries(wanted, placed)
        fields = {
            "tenantID": str(record.tenant_id),
            "database": placed.database.name,
            "binding": {"name": wanted.secret_name},
            "auth": {"issuer": wanted.spec.auth.issuer} if wanted.spec.auth else None,
        }
        return Outcome(fields, (Condition(PROVISIONED, True, "Provisioned", "the tenant is there"),))

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
        if wanted.database is not None and not await self.placement.is_known(wanted.database):
            # Nobody is left who could reach the tenant. Its data stays where it is.
            return
        placed = await self.placement.find(wanted)
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
        if spec.snapshots != Snapshots():
            known = await read_snapshot_settings(connection, record.tenant_id)
            if (changed := spec.snapshots.over(known)) != known:
                await set_snapshot_settings(connection, record.tenant_id, changed)
        state = TenantState.SUSPENDED if spec.suspended else TenantState.ACTIVE
        await lifecycle.set_state(connection, record.tenant_id, state)
        if spec.auth is not None:
            await trust.set_trust(
                connection, record.tenant_id, spec.auth.trust(), allowed_issuers=self._issuers, author=SYSTEM
            )
        elif wanted.trusted_issuer is not None:
            # What was declared and is no more; a trust that the tenant set itself stays.
            trusted = await trust.read_trust(connection, record.tenant_id)
            if trusted is not None and trusted.trust.issuer == wanted.trusted_issuer:
                await trust.remove_trust(connection, record.tenant_id, author=SYSTEM)

    async def _hand_over(self, connection: Connection, wanted: Declared, tenant_id: UUID, client_id: str) -> None:
        """Have all that applications need in the connection Secret."""
        more = await keep_webhooks(self._cluster, connection, tenant_id, wanted.spec.webhooks, self._networks)
        owner = None
        if wanted.spec.bootstrap_user is not None:
            secret = (wanted.namespace, wanted.secret_name)
            owner = await FirstOwner.of(self._cluster, connection, tenant_id, wanted.spec.bootstrap_user, secret)
            more |= owner.data
        binding = Binding(
            namespace=wanted.namespace,
            name=wanted.secret_name,
            kind="LedgerTenant",
            owner_name=wanted.name,
            owner_uid=wanted.uid,
            tenant_id=tenant_id,
            client_id=client_id,
            api_url=self._settings.api_url,
            more=more,
        )
        await keep_binding(
            self._cluster, connection, binding, wanted.annotations, overlap_s=self._settings.rotation_overlap_s
        )
        if owner is not None:
            await owner.make(connection, tenant_id, self._passwords)

    async def _apply_registries(self, wanted: Declared, placed: Placed) -> None:
        """Entries of the tenant's journal, by the engine: a suspended tenant gets them when it is resumed."""
        pool, engine, tenant_id = placed.database.pool, placed.database.engine, placed.record.tenant_id
        if wanted.spec.assets:
            await ensure_assets(pool, engine, tenant_id, wanted.spec.assets, actor=ACTOR)
        strict = wanted.spec.categories.strict
        if strict is not None:
            await ensure_strict_categories(pool, engine, tenant_id, strict=strict, actor=ACTOR)
