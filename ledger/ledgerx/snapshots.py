"""Snapshots: balances captured at moments of a schedule, each exactly at the last entry recorded before its moment.

A snapshot keeps the accounts that changed since the one before. Of the others the balance of an earlier snapshot is
still in force, and no postings at all are a balance of zero. A moment before which nothing new was recorded has none.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from ledgerx import rows
from ledgerx.database import Connection, Pool, Queries, tenant_scope
from ledgerx.errors import InvalidField, NotFound
from ledgerx.journal import AccountType
from ledgerx.reading import fetch
from ledgerx.schedules import check_schedule, next_boundary
from ledgerx.state import Balance, Sums, balance

MAX_RETENTION_DAYS = 36_500
# Comes after every snapshot.
NEWEST = 2**63 - 1

_queries = Queries("ledgerx", "sql/snapshots.sql")


class AccountSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The balance of an account at the entry `seq`, the last one recorded before `taken_at`."""

    seq: int
    taken_at: datetime
    balance: Balance


class AccountSnapshots(msgspec.Struct, frozen=True, kw_only=True):
    """Snapshots of an account, the newest first."""

    code: str
    asset: str
    scale: int
    items: Sequence[AccountSnapshot]


class SnapshotSettings(msgspec.Struct, frozen=True, kw_only=True):
    """When a tenant's balances are captured, in cron expressions, and for how many days that is kept."""

    schedule: tuple[str, ...]
    retention_days: int


async def read_account_snapshots(
    pool: Pool, tenant_id: UUID, code: str, *, confined_to: str | None, before: int, limit: int
) -> AccountSnapshots:
    """At most `limit` snapshots before the one at the entry `before`.

    Raises `NotFound`, also where the account is not of the owner `confined_to`.
    """
    found = await fetch(
        pool, tenant_id, _queries.account_snapshots, code=code, owner=confined_to, before=before, limit=limit
    )
    if not found:
        raise NotFound(f'there is no account "{code}"')
    code, asset, scale, account_type = found[0][:4]
    kind = AccountType(account_type)
    items = [
        AccountSnapshot(
            seq=seq,
            taken_at=taken_at,
            balance=balance(Sums() if sums[0] is None else rows.sums(*sums), kind),
        )
        for *_, seq, taken_at, posted, pending_debit, pending_credit in found
        if seq is not None and (sums := (posted, pending_debit, pending_credit))
    ]
    return AccountSnapshots(code=code, asset=asset, scale=scale, items=items)


async def read_snapshot_settings(connection: Connection, tenant_id: UUID) -> SnapshotSettings:
    """A tenant's settings. `connection` is the schema owner's. Raises `NotFound`."""
    async with tenant_scope(connection, tenant_id):
        schedule, retention_days, *_ = await _lock(connection, tenant_id)
    return SnapshotSettings(schedule=tuple(schedule), retention_days=retention_days)


async def set_snapshot_settings(connection: Connection, tenant_id: UUID, settings: SnapshotSettings) -> None:
    """Capture a tenant's balances by other settings from now on. `connection` is the schema owner's.

    What is due or under way is captured first. Raises `InvalidField` and `NotFound`.
    """
    check_schedule(settings.schedule)
    if not 1 <= settings.retention_days <= MAX_RETENTION_DAYS:
        raise InvalidField(f"snapshots are kept for 1 to {MAX_RETENTION_DAYS} days")
    async with tenant_scope(connection, tenant_id):
        _, _, boundary, upto_seq, time_zone, now = await _lock(connection, tenant_id)
        if upto_seq is None and boundary > now:
            boundary = next_boundary(settings.schedule, now, time_zone)
        parameters = {
            "tenant_id": tenant_id,
            "schedule": list(settings.schedule),
            "retention_days": settings.retention_days,
            "boundary": boundary,
        }
        await connection.execute(_queries.set_schedule, parameters)


async def _lock(connection: Connection, tenant_id: UUID) -> rows.Row:
    cursor = await connection.execute(_queries.lock_schedule, {"tenant_id": tenant_id})
    row = await cursor.fetchone()
    if row is None:
        raise NotFound("there is no such tenant")
    return row
