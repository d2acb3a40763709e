"""Exports of snapshots: what the API says of each account's, and nothing dropped while they are read."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from ledgerx import database as db
from ledgerx.database import Pool
from ledgerx.exports import Dataset
from ledgerx.journal import AccountType
from ledgerx.logins import Database
from ledgerx.tenancy import ClientCredentials
from ledgerx_streams.exports import pages
from ledgerx_streams.snapshots import Snapshots
from tests.integration.exporting import lines, written
from tests.integration.ledger_client import LedgerClient
from tests.integration.streaming import snapshot_due

# An export under a lease.
_RUNNING = """
    INSERT INTO ledgerx.exports (
        tenant_id, export_id, format, dataset, filters, seq, actor, status, worker, due_at
    )
    SELECT %s, id, 'csv', 'snapshots', '{}', 9, 'test', 'running', id, now() + interval '1 hour'
    FROM gen_random_uuid() AS id
"""
USD = {"asset": "USD", "scale": 2}


@pytest.fixture
async def pool(shared_database: Database) -> AsyncIterator[Pool]:
    async with db.pool(shared_database.streams_url, application_name="test", max_size=2) as pool:
        yield pool


@pytest.fixture
async def tenant(client: LedgerClient, credentials: ClientCredentials, shared_database: Database) -> UUID:
    """Three snapshots, an account that changes in each, one that does not in the last, and one opened in between."""
    await client.transfer("held", "5.00", kind="hold")
    for number in range(3):
        if number == 1:
            await client.open_account("late")
        await client.transfer(f"{number}", "1.50", credit="late" if number == 2 else "user")
        async with snapshot_due(shared_database, credentials.tenant_id):
            await client.transfer(f"after {number}", "0.25", credit="bank", debit="user")
    return credentials.tenant_id


async def shown(client: LedgerClient, *codes: str) -> list[dict[str, Any]]:
    """The snapshots of accounts as the API has them, in the order and by the names of an export."""
    found = []
    for code in codes:
        for one in reversed((await client.get(f"/v1/accounts/{code}/snapshots", limit=500)).body["items"]):
            moment = {"snapshot": one["sequence"], "taken_at": one["taken_at"]}
            found.append({"account": code, **USD, **one["balance"], **moment})
    return found


async def exported(pool: Pool, tenant_id: UUID, seq: int, **filters: Any) -> list[dict[str, Any]]:
    rows = lines(await written(pool, tenant_id, seq, Dataset.SNAPSHOTS, **filters))
    assert {row.pop("sequence") for row in rows} <= {seq}
    assert {row.pop("normal_side") for row in rows} <= {"debit", "credit"}
    assert {row.pop("type") for row in rows} <= set(AccountType)
    return rows


@pytest.mark.parametrize("lines_at_once", [1, 2, 4, 2_000])
async def test_snapshots_are_those_of_the_api(
    client: LedgerClient, tenant: UUID, pool: Pool, monkeypatch: pytest.MonkeyPatch, lines_at_once: int
) -> None:
    monkeypatch.setattr(pages, "LINES_AT_ONCE", lines_at_once)
    monkeypatch.setattr(pages, "ACCOUNTS_AT_ONCE", 2)
    expected = await shown(client, "bank", "late", "user")
    assert [one["account"] for one in expected] == ["bank"] * 3 + ["late"] * 2 + ["user"] * 3
    assert await exported(pool, tenant, await client.head()) == expected


async def test_snapshots_have_the_filters_of_accounts_and_a_range_of_moments(
    client: LedgerClient, tenant: UUID, pool: Pool
) -> None:
    seq = await client.head()
    first, second, third = await shown(client, "user")
    moments = [datetime.fromisoformat(one["taken_at"]) for one in (first, second, third)]

    assert await exported(pool, tenant, seq, account="user") == [first, second, third]
    assert await exported(pool, tenant, seq, prefix="us") == []
    assert await exported(pool, tenant, seq, type=AccountType.ASSET) == await shown(client, "bank")
    assert await exported(pool, tenant, seq, account="user", taken_from=moments[1]) == [second, third]
    assert await exported(pool, tenant, seq, account="user", taken_to=moments[1]) == [first]
    assert await exported(pool, tenant, seq, account="user", taken_from=moments[2] + timedelta(hours=1)) == []
    # Those that were not taken yet, though no entry came between.
    assert await exported(pool, tenant, third["snapshot"], account="user", as_of=moments[1]) == [first, second]
    assert await exported(pool, tenant, second["snapshot"], account="user") == [first, second]


async def test_no_snapshot_is_dropped_while_an_export_reads_them(
    client: LedgerClient, tenant: UUID, pool: Pool, shared_database: Database
) -> None:
    later = datetime.now(UTC) + timedelta(days=500)
    before = await shown(client, "user")
    with psycopg.connect(shared_database.admin_url, autocommit=True) as connection:
        connection.execute(_RUNNING, (tenant,))
        await Snapshots(pool)._prune(tenant, later)
        assert await shown(client, "user") == before
        connection.execute("UPDATE ledgerx.exports SET due_at = now() WHERE tenant_id = %s", (tenant,))
        await Snapshots(pool)._prune(tenant, later)
    assert await shown(client, "user") == before[-1:]
