"""The life of a tenant that somebody outside declares: owned, suspended, limited, and in the end purged.

A suspended tenant keeps everything and does nothing: its head says so, which every batch reads under the lock, and the
API learns it within `POLL_S` for what only reads (`ledgerx_api.tenants`). A tenant in `DELETING` never comes back.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from psycopg.errors import CheckViolation, ObjectNotInPrerequisiteState, UniqueViolation

from ledgerx.database import Connection, Queries, tenant_scope
from ledgerx.errors import Conflict, InvalidField, NotFound

# How long a process of the API may not know yet of a change.
POLL_S = 1.0
# Rows removed in one transaction, which the server's statement time-out must not meet.
PURGE_ROWS = 10_000

_queries = Queries("ledgerx", "sql/lifecycle.sql")


class TenantState(StrEnum):
    """Whether a tenant may be used. Of a purged one nothing is left but its id."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETING = "deleting"
    PURGED = "purged"


class TenantRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant as the registry has it. `owner` is None for one that nobody outside declares."""

    tenant_id: UUID
    name: str
    owner: str | None
    state: TenantState
    time_zone: str
    allow_registration: bool
    members_may_post: bool
    requests_per_second: int | None


class TenantChange(msgspec.Struct, frozen=True):
    """What the API has to know of a tenant."""

    tenant_id: UUID
    state: TenantState
    requests_per_second: int | None
    changed_at: datetime


class TenantUsage(msgspec.Struct, frozen=True):
    """How much a tenant holds, and how it is: accounts opened, and the number and time of its last entry.

    The slowest projection has been behind for `lag_s` seconds. `findings` are what is wrong with the journal, and
    `webhooks_down` the endpoints that nothing is sent to any more.
    """

    accounts: int
    sequence: int
    recorded_at: datetime
    transactions: int
    last_transaction_at: datetime | None
    lag_s: float
    findings: int
    webhooks_down: int


async def tenant_of(connection: Connection, owner: str) -> TenantRecord | None:
    """The tenant that `owner` declared. `connection` is the schema owner's, here and below."""
    return await _record(connection, _queries.declared, owner=owner)


async def tenant_by_name(connection: Connection, name: str) -> TenantRecord | None:
    """The tenant with this name."""
    return await _record(connection, _queries.named, name=name)


async def tenant_by_id(connection: Connection, tenant_id: UUID) -> TenantRecord | None:
    """The tenant with this id."""
    return await _record(connection, _queries.identified, tenant_id=tenant_id)


async def hand_over(connection: Connection, tenant_id: UUID, *, owner: str, name: str) -> None:
    """Give a tenant to another owner, under another name.

    Raises `NotFound` for one that does not exist any more, `Conflict` where the name or the owner has a tenant already,
    and `InvalidField` for what is no name.
    """
    try:
        async with tenant_scope(connection, tenant_id):
            parameters = {"tenant_id": tenant_id, "owner": owner, "name": name}
            cursor = await connection.execute(_queries.hand_over, parameters)
    except UniqueViolation:
        raise Conflict(f'there is another tenant named "{name}"') from None
    except CheckViolation:
        raise InvalidField(f'"{name}" is not a name of a tenant') from None
    if await cursor.fetchone() is None:
        raise NotFound("there is no such tenant")


async def set_state(connection: Connection, tenant_id: UUID, state: TenantState) -> bool:
    """Bring a tenant into `state`, whose commit no batch outlives, and return whether that was a change.

    A tenant that is being deleted stays so: it only ever leaves that state by `purge`.
    """
    async with tenant_scope(connection, tenant_id):
        cursor = await connection.execute(_queries.set_state, {"tenant_id": tenant_id, "state": state})
        changed = await cursor.fetchone() is not None
        if changed:
            suspended = state is not TenantState.ACTIVE
            await connection.execute(_queries.set_head_state, {"tenant_id": tenant_id, "suspended": suspended})
    return changed


async def set_limits(
    connection: Connection, tenant_id: UUID, *, requests_per_second: int | None, max_accounts: int | None
) -> bool:
    """Limit a tenant; None is what the platform lets all tenants. Returns whether that was a change."""
    async with tenant_scope(connection, tenant_id):
        rate = await connection.execute(
            _queries.set_rate, {"tenant_id": tenant_id, "requests_per_second": requests_per_second}
        )
        accounts = await connection.execute(
            _queries.set_max_accounts, {"tenant_id": tenant_id, "max_accounts": max_accounts}
        )
    return await rate.fetchone() is not None or await accounts.fetchone() is not None


async def purge(connection: Connection, tenant_id: UUID, *, most: int = PURGE_ROWS) -> int:
    """Remove at most `most` rows of a tenant that is being deleted; 0 when it is purged.

    Raises `Conflict` for a tenant in any other state.
    """
    try:
        cursor = await connection.execute(_queries.purge, {"tenant_id": tenant_id, "most": most})
    except ObjectNotInPrerequisiteState:
        raise Conflict("the tenant is not being deleted") from None
    row = await cursor.fetchone()
    return 0 if row is None else int(row[0])


async def count_tenants(connection: Connection) -> int:
    """How many tenants a database holds, suspended ones included."""
    row = await (await connection.execute(_queries.count_tenants)).fetchone()
    return 0 if row is None else int(row[0])


async def read_usage(connection: Connection) -> Mapping[UUID, TenantUsage]:
    """How much each tenant of a database holds."""
    cursor = await connection.execute(_queries.usage)
    return {tenant_id: TenantUsage(*row) for tenant_id, *row in await cursor.fetchall()}


async def keep_outbox_for(connection: Connection, days: int | None) -> None:
    """Have the outbox of a database kept for so many days; None is what the streams are set to."""
    await connection.execute(_queries.set_outbox_retention, {"days": days})


async def read_changes(connection: Connection, since: datetime | None) -> list[TenantChange]:
    """The tenants that changed at or after `since`; with None those that are not as all others. For the API's role."""
    cursor = await connection.execute(_queries.changed, {"since": "-infinity" if since is None else since})
    return [
        TenantChange(tenant_id, TenantState(state), rate, changed_at)
        for tenant_id, state, rate, changed_at in await cursor.fetchall()
    ]


async def _record(connection: Connection, query: Any, **parameters: Any) -> TenantRecord | None:
    row = await (await connection.execute(query, parameters)).fetchone()
    if row is None:
        return None
    values = dict(zip(TenantRecord.__struct_fields__, row, strict=True))
    return TenantRecord(**values | {"state": TenantState(values["state"])})
