"""Verification of snapshots: sound ones, before and after some were dropped, and tampered ones."""

import asyncio
import os
import subprocess
from datetime import datetime, timedelta
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from ledgerx import database as db
from ledgerx import snapshot_comparison
from ledgerx.logins import Database
from ledgerx.tenancy import ClientCredentials
from ledgerx_streams.snapshots import Snapshots
from tests.integration.journals import report_of
from tests.integration.ledger_client import LedgerClient
from tests.integration.streaming import snapshot_due
from tests.integration.up_process import COMMAND

# Entries of the snapshots; the accounts are 1, 2 and 3, of which the last changes before the first one only.
FIRST, SECOND, THIRD = 5, 7, 9
RETENTION = timedelta(days=400)


@pytest.fixture
async def tenant(client: LedgerClient, credentials: ClientCredentials, shared_database: Database) -> UUID:
    await client.open_account("idle")
    await client.transfer("idle", "9.00", credit="idle")
    for number in range(3):
        await client.transfer(f"{number}", "1.50")
        async with snapshot_due(shared_database, credentials.tenant_id):
            await client.transfer(f"after {number}", "0.25")
    return credentials.tenant_id


@pytest.mark.parametrize("accounts_per_page", [1, 2, 10_000])
async def test_what_was_captured_is_sound(
    shared_database: Database, tenant: UUID, monkeypatch: pytest.MonkeyPatch, accounts_per_page: int
) -> None:
    monkeypatch.setattr(snapshot_comparison, "ACCOUNTS_PER_PAGE", accounts_per_page)
    report = await report_of(shared_database, tenant)
    assert report.findings == []
    assert report.projections["snapshots"] == THIRD


async def test_what_is_left_after_some_were_dropped_is_sound(
    client: LedgerClient, shared_database: Database, tenant: UUID
) -> None:
    taken = (await client.get("/v1/accounts/user/snapshots")).body["items"]
    async with db.pool(shared_database.streams_url, application_name="test", max_size=1) as pool:
        await Snapshots(pool)._prune(tenant, datetime.fromisoformat(taken[0]["taken_at"]) + RETENTION)
    left = (await client.get("/v1/accounts/user/snapshots")).body["items"]
    assert [one["sequence"] for one in left] == [THIRD, SECOND]
    assert (await report_of(shared_database, tenant)).findings == []


@pytest.mark.parametrize(
    ("statement", "seq", "found"),
    [
        (
            "UPDATE ledgerx.snapshot_balances SET posted = posted - 1 WHERE tenant_id = %s AND account_id = 3",
            FIRST,
            "another balance of account 3",
        ),
        (
            "UPDATE ledgerx.snapshot_balances SET pending_debit = 1 WHERE tenant_id = %s AND account_id + seq = 9",
            SECOND,
            "another balance of account 2",
        ),
        (
            "DELETE FROM ledgerx.snapshot_balances WHERE tenant_id = %s AND account_id = 3",
            FIRST,
            "lacks account 3",
        ),
        (
            "DELETE FROM ledgerx.snapshot_balances WHERE tenant_id = %s AND account_id = 1 AND seq = 9",
            THIRD,
            "lacks account 1",
        ),
        (
            "UPDATE ledgerx.snapshots SET taken_at = taken_at - interval '1 hour' WHERE tenant_id = %s AND seq = 7",
            SECOND,
            "has an entry that came later",
        ),
        (
            "UPDATE ledgerx.snapshots SET taken_at = taken_at + interval '1 hour' WHERE tenant_id = %s AND seq = 7",
            SECOND + 1,
            "lacks the entry 8",
        ),
        (
            "UPDATE ledgerx.snapshots SET seq = 99 WHERE tenant_id = %s AND seq = 9",
            99,
            "an entry that the journal does not have",
        ),
    ],
)
async def test_tampered_snapshots_are_found(
    shared_database: Database, tenant: UUID, statement: LiteralString, seq: int, found: str
) -> None:
    tamper(shared_database, statement, tenant)
    finding = (await report_of(shared_database, tenant)).findings[0]
    assert finding.seq == seq
    assert found in finding.what


async def test_the_command_exits_with_1_and_says_which(shared_database: Database, tenant: UUID) -> None:
    tamper(shared_database, "UPDATE ledgerx.snapshot_balances SET posted = 1 WHERE tenant_id = %s AND seq = 7", tenant)
    with psycopg.connect(shared_database.admin_url) as connection:
        [(name,)] = connection.execute("SELECT name FROM ledgerx.tenants WHERE tenant_id = %s", (tenant,)).fetchall()
    command = (*COMMAND, "verify", "--tenant", name)
    environment = os.environ | {"LEDGERX_DATABASE_URL": shared_database.owner_url}
    ended = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 1
    assert "\n7: the snapshot has another balance of account 1 than its postings\n" in ended.stdout
    assert ended.stdout.endswith("NOT verified\n")


def tamper(database: Database, statement: LiteralString, tenant_id: UUID) -> None:
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        assert connection.execute(statement, (tenant_id,)).rowcount > 0
