"""What statuses show that is only looked at: how much tenants hold, and how they and their databases are."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from ledgerx.database import Queries
from ledgerx.lifecycle import TenantUsage
from ledgerx_operator.conditions import HEALTHY, Condition, Outcome, timestamp
from ledgerx_operator.databases import Databases

# Beyond these somebody should look: the streams of a tenant, and the relay of a database.
MAX_LAG_S = 300
MAX_LAG_BYTES = 1024**3

_queries = Queries("ledgerx_operator", "sql/inspect.sql")


class Observer:
    """Looks at what is there, as old as `every_s` seconds at most, with one query for all tenants of a database."""

    def __init__(self, databases: Databases, every_s: float) -> None:
        self._databases = databases
        self._every_s = every_s

    async def tenant(self, body: Mapping[str, Any]) -> Outcome:
        """What a tenant holds, and how it is; nothing while nothing is known."""
        status = body.get("status") or {}
        if not status.get("tenantID") or not status.get("database"):
            return Outcome({})
        database = self._databases.get(status["database"])
        usage = await database.usage(UUID(status["tenantID"]), at_most_s=self._every_s / 2)
        return Outcome({}) if usage is None else Outcome({"usage": shown_usage(usage)}, (health_of_tenant(usage),))

    async def database(self, body: Mapping[str, Any]) -> Outcome:
        """How large a database is, and how far its relay is behind."""
        async with self._databases.get(body["metadata"]["name"]).pool.connection() as connection:
            row = await (await connection.execute(_queries.measure)).fetchone()
        if row is None:
            raise TypeError("a database that is asked has a size")
        size_bytes, lag_bytes, is_active, is_lost = row
        slot = None if lag_bytes is None else {"lagBytes": lag_bytes, "active": is_active}
        return Outcome({"sizeBytes": size_bytes, "slot": slot}, (health_of_slot(lag_bytes, is_active, is_lost),))


def shown_usage(usage: TenantUsage) -> dict[str, Any]:
    """A tenant's `status.usage`."""
    shown: dict[str, Any] = {
        "accounts": usage.accounts,
        "transactions": usage.transactions,
        "sequence": usage.sequence,
        "streamLagSeconds": round(usage.lag_s),
    }
    if usage.last_transaction_at is not None:
        shown["lastTransactionTime"] = timestamp(usage.last_transaction_at)
    return shown


def health_of_tenant(usage: TenantUsage) -> Condition:
    """The condition `Healthy` of a tenant: the worst that is wrong with it."""
    if usage.findings:
        return Condition(HEALTHY, False, "IntegrityBroken", "something is wrong with the journal: see /v1/integrity")
    if usage.lag_s > MAX_LAG_S:
        return Condition(HEALTHY, False, "StreamsBehind", f"the streams are more than {MAX_LAG_S} s behind")
    if usage.webhooks_down:
        return Condition(
            HEALTHY, False, "WebhookDisabled", "nothing is sent to a webhook any more: it failed too often"
        )
    return Condition(HEALTHY, True, "Healthy")


def health_of_slot(lag_bytes: int | None, is_active: bool | None, is_lost: bool | None) -> Condition:
    """The condition `Healthy` of a database, whose relay reads from a replication slot; without one all are None."""
    if lag_bytes is None:
        return Condition(HEALTHY, False, "SlotMissing", "no relay has read from it yet")
    if is_lost:
        return Condition(HEALTHY, False, "SlotLost", "the relay was too far behind, and has to begin with a snapshot")
    if not is_active:
        return Condition(HEALTHY, False, "RelayAway", "no relay reads from it")
    if lag_bytes > MAX_LAG_BYTES:
        return Condition(HEALTHY, False, "RelayBehind", f"the relay is more than {MAX_LAG_BYTES} bytes behind")
    return Condition(HEALTHY, True, "Healthy")
