"""Verification of what grows with the journal beside it: volumes, dated postings and search terms, tampered with."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from ledgerx import comparisons
from ledgerx import database as db
from ledgerx.batch import run_batch
from ledgerx.commands import Amend, UpdateAccount
from ledgerx.events import decode
from ledgerx.logins import Database
from ledgerx_streams.projections import dated
from ledgerx_streams.projections.volumes import VOLUMES
from ledgerx_streams.projector import Projector
from tests.commands import envelope, opening, transfer
from tests.integration.journals import report_of
from tests.integration.ledger_client import new_tenant
from tests.integration.up_process import COMMAND

Admin = psycopg.AsyncConnection[tuple[object, ...]]

NOON = datetime(2100, 1, 1, 12, tzinfo=UTC)
# On this day the clocks of St. John's went back at one minute past midnight: it was Sunday, Saturday again, and Sunday.
BACK = datetime(2006, 10, 29, 2, 30, tzinfo=UTC)
ZONE = "America/St_Johns"
TARGET = 10


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[Admin]:
    """A superuser whose statements no trigger sees."""
    async with await psycopg.AsyncConnection.connect(database.admin_url, autocommit=True) as connection:
        await connection.execute("SET session_replication_role = replica")
        yield connection


@pytest.fixture
async def tenant(database: Database, monkeypatch: pytest.MonkeyPatch) -> UUID:
    """Accounts 1 and 2, and 60 transactions with categories, metadata and times, in blocks of 4 with marks at each 5th.

    The projection holds all entries but the last, which amends.
    """
    monkeypatch.setattr(dated, "POSTINGS_PER_BLOCK", 4)
    for module in ("ledgerx.verify", "ledgerx_streams.projections.dated"):
        monkeypatch.setattr(f"{module}.POSTINGS_PER_MARK", 5)
    tenant_id = (await new_tenant(database, time_zone=ZONE)).tenant_id
    posts = [
        transfer(
            f"{number}",
            category=("food", "rent", None)[number % 3],
            metadata=f'{{"n":{number}}}',
            effective_at=None if number % 4 == 0 else BACK + timedelta(seconds=number * 7919 % 7200),
        )
        for number in range(60)
    ]
    async with await db.connect(database.api_url, application_name="test") as connection:
        for batch in (
            [opening("bank", metadata='{"kind":"a"}'), opening("user")],
            posts[:30],
            [Amend(target=TARGET, category="toys", metadata='{"m":"é"}', **envelope("amend"))],
            [UpdateAccount(code="user", metadata='{"kind":"b"}', **envelope("update"))],
            posts[30:],
            [Amend(target=TARGET + 1, category="late", **envelope("amend again"))],
        ):
            await run_batch(connection, tenant_id, batch, clock=lambda: NOON)
    async with db.pool(database.streams_url, application_name="test", max_size=1) as pool:
        projector = Projector(VOLUMES, pool)
        with psycopg.connect(database.admin_url) as connection:
            payloads = connection.execute("SELECT payload FROM ledgerx.outbox ORDER BY first_seq").fetchall()
        for (payload,) in payloads[:-1]:
            await projector.apply(tenant_id, [decode(payload.encode())])
    return tenant_id


@pytest.mark.parametrize("postings_per_page", [1, 7, 5_000])
async def test_what_the_streams_and_the_engine_kept_is_sound_in_pages_of_any_size(
    database: Database, tenant: UUID, monkeypatch: pytest.MonkeyPatch, postings_per_page: int
) -> None:
    monkeypatch.setattr(comparisons, "POSTINGS_PER_PAGE", postings_per_page)
    report = await report_of(database, tenant)
    assert report.findings == []
    assert report.projections == {"volumes": report.head - 1}


THE_VOLUME = 'the volumes of account 1 on 2006-10-29 in the category "rent" differ'


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        (
            """
            UPDATE ledgerx.daily_volumes SET debits = debits + 1
            WHERE account_id = 1 AND day = '2006-10-29' AND category = 'rent'
            """,
            THE_VOLUME,
        ),
        (
            """
            UPDATE ledgerx.daily_volumes SET credits = 7
            WHERE account_id = 1 AND day = '2006-10-29' AND category = 'rent'
            """,
            THE_VOLUME,
        ),
        (
            """
            UPDATE ledgerx.daily_volumes SET postings = postings + 1
            WHERE account_id = 1 AND day = '2006-10-29' AND category = 'rent'
            """,
            THE_VOLUME,
        ),
        (
            "DELETE FROM ledgerx.daily_volumes WHERE account_id = 1 AND day = '2006-10-29' AND category = 'rent'",
            THE_VOLUME,
        ),
        (
            "UPDATE ledgerx.daily_volumes SET category = 'yoyo' WHERE account_id = 2 AND category = 'toys'",
            'the volumes of account 2 on 2006-10-29 in the category "toys" differ',
        ),
        (
            "INSERT INTO ledgerx.daily_volumes SELECT tenant_id, 99, '2100-01-01', '', 1, 0, 1 FROM ledgerx.heads",
            "the volumes of account 99 on 2100-01-01 without a category differ",
        ),
        (
            "INSERT INTO ledgerx.daily_volumes SELECT tenant_id, 1, '3000-01-01', '', 1, 0, 1 FROM ledgerx.heads",
            "the volumes of account 1 on 3000-01-01 without a category differ",
        ),
        ("UPDATE ledgerx.projections SET hash = sha256('')", "the volumes projection has a hash"),
        ("UPDATE ledgerx.dated_tails SET postings = 3 WHERE account_id = 2", "the count of account 2 differs"),
        ("DELETE FROM ledgerx.dated_marks WHERE account_id = 1 AND postings = 10", "the mark of account 1"),
        (
            """
            UPDATE ledgerx.dated_blocks SET posted = 0
            WHERE ctid = (
                SELECT ctid FROM ledgerx.dated_blocks WHERE account_id = 1 ORDER BY effective_at LIMIT 1 OFFSET 3
            )
            """,
            "the block of dated postings of account 1 from ",
        ),
        (
            """
            UPDATE ledgerx.dated_blocks SET first_seq = 1
            WHERE ctid = (
                SELECT ctid FROM ledgerx.dated_blocks WHERE account_id = 1 ORDER BY effective_at LIMIT 1 OFFSET 3
            )
            """,
            "the block of dated postings of account 1 from ",
        ),
        (
            """
            UPDATE ledgerx.dated_blocks SET mark = mark + 5
            WHERE ctid = (
                SELECT ctid FROM ledgerx.dated_blocks WHERE account_id = 1 ORDER BY effective_at LIMIT 1 OFFSET 3
            )
            """,
            "the block of dated postings of account 1 from ",
        ),
        (
            """
            DELETE FROM ledgerx.dated_blocks
            WHERE ctid = (
                SELECT ctid FROM ledgerx.dated_blocks WHERE account_id = 1 ORDER BY effective_at LIMIT 1 OFFSET 3
            )
            """,
            "the size of all blocks of account 1",
        ),
        (
            "DELETE FROM ledgerx.dated_blocks WHERE account_id = 1 AND effective_at < '2000-01-01'",
            "the size of all blocks of account 1",
        ),
        (
            """
            UPDATE ledgerx.dated_versions SET posted = posted + 1
            WHERE ctid = (SELECT ctid FROM ledgerx.dated_versions WHERE account_id = 2 LIMIT 1 OFFSET 4)
            """,
            "the block of dated postings of account 2 from ",
        ),
        (
            """
            DELETE FROM ledgerx.dated_versions
            WHERE ctid = (SELECT ctid FROM ledgerx.dated_versions WHERE account_id = 2 LIMIT 1 OFFSET 4)
            """,
            "the block of dated postings of account 2 from ",
        ),
    ],
)
async def test_tampered_projections_are_found(
    database: Database,
    tenant: UUID,
    admin: Admin,
    monkeypatch: pytest.MonkeyPatch,
    statement: LiteralString,
    found: str,
) -> None:
    monkeypatch.setattr(comparisons, "POSTINGS_PER_PAGE", 7)
    assert (await admin.execute(statement)).rowcount == 1
    assert (await report_of(database, tenant)).findings[0].what.startswith(found)


@pytest.mark.parametrize(
    ("statement", "seq", "found"),
    [
        ("DELETE FROM ledgerx.search_terms WHERE key = 'n' AND value = '7'", 10, 'the search term "n": 7 is missing'),
        (
            "UPDATE ledgerx.search_terms SET value = '\"e\"' WHERE key = 'm'",
            TARGET,
            'the search term "m": "é" is missing',
        ),
        (
            "DELETE FROM ledgerx.search_terms WHERE subject = 'category' AND value = 'late'",
            TARGET + 1,
            'the search term of the category "late" is missing',
        ),
        (
            "UPDATE ledgerx.search_terms SET seq = 1 WHERE subject = 'account' AND seq = 2",
            2,
            'the search term "kind": "b" is missing',
        ),
        (
            "INSERT INTO ledgerx.search_terms SELECT tenant_id, 'transaction', 'n', '7', 9 FROM ledgerx.heads",
            9,
            'the search term "n": 7 is of no entry',
        ),
        (
            "INSERT INTO ledgerx.search_terms SELECT tenant_id, 'account', 'kind', '\"a\"', 2 FROM ledgerx.heads",
            2,
            'the search term "kind": "a" is of no entry',
        ),
        (
            "INSERT INTO ledgerx.search_terms SELECT tenant_id, 'category', '', 'food', 10 FROM ledgerx.heads",
            10,
            'the search term of the category "food" is of no entry',
        ),
        (
            "INSERT INTO ledgerx.search_terms SELECT tenant_id, 'transaction', 'n', '7', 999 FROM ledgerx.heads",
            999,
            'the search term "n": 7 is of no entry',
        ),
    ],
)
async def test_tampered_search_terms_are_found(
    database: Database, tenant: UUID, admin: Admin, statement: LiteralString, seq: int, found: str
) -> None:
    assert (await admin.execute(statement)).rowcount == 1
    finding = (await report_of(database, tenant)).findings[0]
    assert (finding.seq, finding.what) == (seq, found)


async def test_the_command_says_where_and_exits_with_1(database: Database, tenant: UUID, admin: Admin) -> None:
    # Marks are made small for this test, and the command knows nothing of that.
    await admin.execute(
        "TRUNCATE ledgerx.dated_marks, ledgerx.dated_tails, ledgerx.dated_blocks, ledgerx.dated_versions"
    )
    await admin.execute("UPDATE ledgerx.daily_volumes SET debits = debits + 1 WHERE account_id = 1")
    await admin.execute("DELETE FROM ledgerx.search_terms WHERE key = 'n' AND value = '7'")
    cursor = await admin.execute("SELECT name FROM ledgerx.tenants WHERE tenant_id = %s", (tenant,))
    [(name,)] = await cursor.fetchall()
    done = await asyncio.to_thread(
        subprocess.run,
        [*COMMAND, "verify", "--tenant", str(name)],
        capture_output=True,
        text=True,
        env=os.environ | {"LEDGERX_DATABASE_URL": database.owner_url},
        check=False,
    )
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert '10: the search term "n": 7 is missing' in lines
    assert f"{THE_VOLUME} from the sum of its postings" in lines
    assert lines[-1] == "NOT verified"
