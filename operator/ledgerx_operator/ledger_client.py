"""A LedgerClient brought to what it declares: one API client of a tenant, and the Secret that hands it over."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ledgerx import tenancy
from ledgerx.audit import SYSTEM
from ledgerx.errors import NotFound
from ledgerx_operator.binding import Binding, keep_binding
from ledgerx_operator.cluster import Cluster
from ledgerx_operator.conditions import Outcome
from ledgerx_operator.failures import NotYet
from ledgerx_operator.placement import Placement
from ledgerx_operator.settings import OperatorSettings
from ledgerx_operator.specs import ClientSpec, spec_of


class ClientReconciler:
    """Brings LedgerClients to what they declare, and ends them."""

    def __init__(self, cluster: Cluster, placement: Placement, settings: OperatorSettings) -> None:
        self._cluster = cluster
        self._placement = placement
        self._settings = settings

    async def reconcile(self, body: Mapping[str, Any]) -> Outcome:
        """Have the client as declared and return its status. Raises `Failure`s and what they come from."""
        metadata, spec = body["metadata"], spec_of(body, ClientSpec)
        namespace, name = metadata["namespace"], metadata["name"]
        placed = await self._placement.locate(namespace, spec.tenant_ref.name)
        if placed is None:
            raise NotYet("TenantNotReady", f"the LedgerTenant {spec.tenant_ref.name} is not provisioned")
        secret_name = spec.secret_name or f"{name}-ledger-client"
        async with placed.database.pool.connection() as connection:
            client_id = await tenancy.ensure_client(
                connection, placed.record.tenant_id, metadata["uid"], f"{namespace}/{name}", spec.scopes
            )
            await keep_binding(
                self._cluster,
                connection,
                Binding(
                    namespace=namespace,
                    name=secret_name,
                    kind="LedgerClient",
                    owner_name=name,
                    owner_uid=metadata["uid"],
                    tenant_id=placed.record.tenant_id,
                    client_id=client_id,
                    api_url=self._settings.api_url,
                ),
                metadata.get("annotations") or {},
                overlap_s=self._settings.rotation_overlap_s,
            )
        return Outcome({"clientID": client_id, "binding": {"name": secret_name}})

    async def leave(self, body: Mapping[str, Any]) -> None:
        """End the client of an object that is deleted; the cluster removes its Secret."""
        client_id = (body.get("status") or {}).get("clientID")
        spec = spec_of(body, ClientSpec)
        placed = await self._placement.locate(body["metadata"]["namespace"], spec.tenant_ref.name)
        if client_id is None or placed is None:
            return
        async with placed.database.pool.connection() as connection:
            with suppress(NotFound):
                await tenancy.delete_client(connection, placed.record.tenant_id, client_id, SYSTEM)
