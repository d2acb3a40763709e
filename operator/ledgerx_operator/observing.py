"""What a tenant's status shows of its use, read with one query for all tenants of a database."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from ledgerx_operator.conditions import timestamp
from ledgerx_operator.databases import Databases


def tenant_observer(databases: Databases, every_s: float) -> Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]:
    """Reads the usage of one tenant, as old as `every_s` seconds at most."""

    async def observe(body: Mapping[str, Any]) -> dict[str, Any]:
        status = body.get("status") or {}
        if not status.get("tenantID") or not status.get("database"):
            return {}
        usage = await databases.get(status["database"]).usage(UUID(status["tenantID"]), at_most_s=every_s / 2)
        if usage is None:
            return {}
        known = {"accounts": usage.accounts, "sequence": usage.sequence}
        # Before its first entry a journal has only the time when it was made.
        last = {"lastEntryTime": timestamp(usage.recorded_at)} if usage.sequence else {}
        return {"usage": known | last}

    return observe
