"""Verification of stored journals, sound and tampered with by somebody above the rules."""

from collections.abc import AsyncIterator
from typing import LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from ledgerx import database as db
from ledgerx.batch import run_batch
from ledgerx.errors import NotFound
from ledgerx.logins import Database
from ledgerx.verify import verify
from tests.commands import opening, transfer
from tests.integration.journals import report_of
from tests.integration.ledger_client import new_tenant
from tests.unit.memory_ledger import NOON


@pytest.fixture
async def tenant(shared_database: Database) -> UUID:
    """Two accounts, then 1,100 transactions: more than one page, entries 1 to 1,102, one of an account with limits."""
    tenant_id = (await new_tenant(shared_database)).tenant_id
    commands = [opening("bank"), opening("user", min_balance="0")]
    posts = [transfer(f"{n}", description="d", metadata='{"n":1}') for n in range(1_100)]
    async with await db.connect(shared_database.api_url, application_name="test") as connection:
        await run_batch(connection, tenant_id, [*commands, *posts], clock=lambda: NOON)
    return tenant_id


@pytest.fixture
async def admin(shared_database: Database) -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    """A superuser whose statements no trigger sees."""
    async with await psycopg.AsyncConnection.connect(shared_database.admin_url, autocommit=True) as connection:
        await connection.execute("SET session_replication_role = replica")
        yield connection


async def test_a_sound_journal_is_counted(shared_database: Database, tenant: UUID) -> None:
    seen: list[tuple[int, int]] = []
    async with await db.connect(shared_database.owner_url, application_name="test") as connection:
        report = await verify(connection, tenant, progress=lambda done, total: seen.append((done, total)))
    assert report.ok
    assert (report.entries, report.transactions, report.postings, report.accounts) == (1_102, 1_100, 2_200, 2)
    assert seen == [(1_000, 1_102), (1_102, 1_102)]


async def test_an_empty_journal_is_sound(shared_database: Database) -> None:
    report = await report_of(shared_database, (await new_tenant(shared_database)).tenant_id)
    assert report.ok
    assert (report.entries, report.head) == (0, 0)


async def test_an_unknown_tenant_is_not_found(shared_database: Database) -> None:
    with pytest.raises(NotFound):
        await report_of(shared_database, uuid4())


@pytest.mark.parametrize(
    ("statement", "seq"),
    [
        ("UPDATE ledgerx.postings SET amount = amount + 1 WHERE tenant_id = %s AND seq = 1050 AND line = 0", 1050),
        ("UPDATE ledgerx.postings SET account_id = 1 WHERE tenant_id = %s AND seq = 1050", 1050),
        ("UPDATE ledgerx.postings SET amount = 2 * amount WHERE tenant_id = %s AND seq = 1050", 1050),
        ("DELETE FROM ledgerx.postings WHERE tenant_id = %s AND seq = 1050 AND line = 1", 1050),
        ("DELETE FROM ledgerx.postings WHERE tenant_id = %s AND seq = 1050", 1050),
        ("DELETE FROM ledgerx.entries WHERE tenant_id = %s AND seq = 1050", 1050),
        ("DELETE FROM ledgerx.entries WHERE tenant_id = %s AND seq = 1102", 1102),
        ("UPDATE ledgerx.entries SET actor = 'you' WHERE tenant_id = %s AND seq = 1050", 1050),
        ("UPDATE ledgerx.entries SET description = 'other' WHERE tenant_id = %s AND seq = 1050", 1050),
        ("UPDATE ledgerx.entries SET recorded_at = recorded_at + interval '1us' WHERE tenant_id = %s AND seq = 3", 3),
        ("UPDATE ledgerx.entries SET effective_at = now() WHERE tenant_id = %s AND seq = 3", 3),
        ("UPDATE ledgerx.accounts SET code = 'renamed' WHERE tenant_id = %s AND account_id = 2", 3),
        ("UPDATE ledgerx.entries SET change = replace(change, '\"0\"', '\"-5\"') WHERE tenant_id = %s AND seq = 2", 2),
        ("UPDATE ledgerx.guarded_balances SET posted = posted - 1 WHERE tenant_id = %s", None),
        ("UPDATE ledgerx.heads SET hash = sha256('') WHERE tenant_id = %s", None),
        ("UPDATE ledgerx.heads SET seq = 1103 WHERE tenant_id = %s", 1103),
        ("UPDATE ledgerx.heads SET accounts = 1 WHERE tenant_id = %s", None),
    ],
)
async def test_tampering_is_found_where_it_was_done(
    shared_database: Database,
    tenant: UUID,
    admin: psycopg.AsyncConnection[tuple[object, ...]],
    statement: LiteralString,
    seq: int | None,
) -> None:
    assert (await admin.execute(statement, (tenant,))).rowcount > 0
    report = await report_of(shared_database, tenant)
    assert not report.ok
    assert report.findings[0].seq == seq
