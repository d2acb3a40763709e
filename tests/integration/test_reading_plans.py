"""What reads cost on an account with many postings: index look-ups, and a bounded number of rows."""

import asyncio
from datetime import date, timedelta
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from ledgerx import database as db
from ledgerx.database import Queries, tenant_scope
from ledgerx.logins import Database
from tests.integration.large_journal import FIRST_AT, RARE, USERS, make_large_journal

TRANSACTIONS = 24_000
LAST = USERS + 1 + TRANSACTIONS
MIDDLE = FIRST_AT + timedelta(minutes=LAST // 2)
LATER = MIDDLE + timedelta(days=5)
BALANCES = Queries("ledgerx", "sql/balances.sql")
POSTING = Queries("ledgerx", "sql/posting.sql")
REGISTRIES = Queries("ledgerx", "sql/registries.sql")
READING = Queries("ledgerx", "sql/reading.sql")
SEARCH = Queries("ledgerx", "sql/search.sql")
STATEMENTS = Queries("ledgerx", "sql/statements.sql")
SUMMARIES = Queries("ledgerx", "sql/summaries.sql")

# Marks and blocks are at most a thousand postings apart; a search by halves takes some 20 steps.
TIME_TRAVEL = 3 * 1_000 + 3 * 20 + 100
PAGE: dict[str, Any] = {"before": LAST // 2, "after": 0, "limit": 51}
PERIOD: dict[str, Any] = {"since": MIDDLE, "until": MIDDLE + timedelta(days=3)}
LINES: dict[str, Any] = {
    "account_id": 1,
    "seq": LAST,
    "begin_seq": LAST // 2,
    "end_seq": LAST // 2 + 3 * 24 * 60,
    "after_at": MIDDLE,
    "after_seq": 0,
    "after_line": -1,
    "limit": 51,
}
FITTING_ENTRIES: dict[str, Any] = {
    "known": 2**63 - 1,
    **dict.fromkeys(("kind", "reference", "category", "metadata", "effective_from", "effective_to")),
}
FITTING_POSTINGS = dict.fromkeys(("account_ids", "lows", "highs", "owner", "amount_from", "amount_to"))
NEAR = list(range(9_000, 9_500))
FAR = list(range(2_000, 22_000, 40))
SUMMED = {
    "since": date(2100, 1, 9),
    "until": date(2100, 1, 12),
    "by_category": True,
    "by_account": False,
    "period": "day",
    "most": 500_000,
}
ONE_USER = {"lows": ["users:7"], "highs": ["users:7\x01"]}
USERS_RANGE = {"lows": ["users:"], "highs": ["users;"]}
# Every hundredth of the users' accounts has one owner, who is a member.
OWNED = USERS // 100
ALL: dict[str, Any] = {"owner": None}
OWN: dict[str, Any] = {"owner": "me"}


@pytest.fixture(scope="module")
def tenant(shared_database: Database) -> UUID:
    """Of the 24,000 lines of `bank` every other is dated, but the planner believes that there is none."""
    asyncio.run(make_large_journal(shared_database, "large/undated", transactions=TRANSACTIONS, dated=TRANSACTIONS + 1))
    with psycopg.connect(shared_database.admin_url, autocommit=True) as connection:
        connection.execute("ANALYZE ledgerx.entries, ledgerx.postings")
    tenant_id = asyncio.run(make_large_journal(shared_database, "large/plans", transactions=TRANSACTIONS, dated=2))
    with psycopg.connect(shared_database.admin_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE ledgerx.accounts SET owner = %s WHERE tenant_id = %s AND account_id %% 100 = 0",
            (OWN["owner"], tenant_id),
        )
    return tenant_id


@pytest.mark.parametrize(
    ("query", "parameters", "most_rows"),
    [
        (READING.sums, {**ALL, "codes": ["bank"]}, 10),
        (READING.sums, {**OWN, "codes": ["bank", "users:10"]}, 5),
        (READING.links, {**OWN, "seqs": [LAST // 2]}, 10),
        (READING.entries, {"seqs": NEAR}, 500),
        (READING.postings, {**OWN, "seqs": NEAR}, 2_000),
        (BALANCES.balance_at, {**ALL, "code": "bank", "as_of": MIDDLE, "effective_at": None}, 1_000 + 30),
        (BALANCES.balance_at, {**ALL, "code": "bank", "as_of": None, "effective_at": MIDDLE}, TIME_TRAVEL),
        (BALANCES.balance_at, {**ALL, "code": "bank", "as_of": MIDDLE, "effective_at": MIDDLE}, TIME_TRAVEL),
        (BALANCES.balance_at, {**ALL, "code": "bank", "as_of": MIDDLE, "effective_at": LATER}, TIME_TRAVEL),
        (BALANCES.balance_at, {**ALL, "code": "bank", "as_of": LATER, "effective_at": MIDDLE}, TIME_TRAVEL),
        (BALANCES.balance_at, {**OWN, "code": "bank", "as_of": None, "effective_at": MIDDLE}, 5),
        (BALANCES.balance_at, {**ALL, "code": "users:7", "as_of": None, "effective_at": MIDDLE}, 200),
        (BALANCES.totals, {**ALL, **ONE_USER}, 10),
        (BALANCES.totals, {**OWN, **USERS_RANGE}, 2 * OWNED + 10),
        (STATEMENTS.boundaries, {**ALL, "code": "bank", "seq": None, "by_effect": True, **PERIOD}, 2 * TIME_TRAVEL),
        (STATEMENTS.boundaries, {**ALL, "code": "bank", "seq": None, "by_effect": False, **PERIOD}, 2 * 1_030),
        (STATEMENTS.boundaries, {**OWN, "code": "bank", "seq": None, "by_effect": False, **PERIOD}, 5),
        (STATEMENTS.lines_by_recording, {**LINES}, 250),
        (STATEMENTS.lines_by_effect, {**LINES, "until": PERIOD["until"], "looks": 102}, 550),
        (SUMMARIES.summary, {**ALL, **SUMMED, **ONE_USER, "limit": 10_001}, 100),
        (SUMMARIES.summary, {**OWN, **SUMMED, **USERS_RANGE, "limit": 10_001}, 5 * OWNED),
        (SUMMARIES.summary, {**ALL, **SUMMED, "lows": None, "highs": None, "limit": 10_001}, 4 * 3 * 1_500 * 2),
        (SEARCH.bounds, {"recorded_from": MIDDLE, "recorded_to": MIDDLE}, 50),
        (SEARCH.bounds, {"recorded_from": None, "recorded_to": None}, 1),
        (SEARCH.accounts_in_ranges, {**ALL, **USERS_RANGE, "limit": 101}, 101),
        (SEARCH.accounts_in_ranges, {**OWN, **USERS_RANGE, "limit": 1_001}, OWNED),
        (SEARCH.accounts_in_ranges, {**OWN, **ONE_USER, "limit": 1_001}, 0),
        (SEARCH.newest_of_accounts, {**PAGE, "account_ids": [1]}, 52),
        (SEARCH.newest_of_accounts, {**PAGE, "account_ids": [1, 2, 3]}, 3 * 52),
        (SEARCH.newest_with_reference, {**PAGE, "reference": "r2000"}, 1),
        (SEARCH.newest_of_kind, {**PAGE, "kind": "hold"}, RARE),
        (SEARCH.newest_of_category, {**PAGE, "category": "c3"}, 51),
        (SEARCH.newest_with_metadata, {**PAGE, "key": "k", "value": "1"}, 0),
        (SEARCH.codes_with_metadata, {"key": "k", "value": "1", "limit": 1_001}, 0),
        (SEARCH.fitting_entries, {**FITTING_ENTRIES, "seqs": NEAR, "limit": 51}, 600),
        (SEARCH.fitting_entries, {**FITTING_ENTRIES, "seqs": FAR, "category": "c3", "limit": 51}, 600),
        (SEARCH.fitting_entries, {**FITTING_ENTRIES, "seqs": NEAR, "metadata": '{"k":1}', "limit": 51}, 600),
        (
            SEARCH.entries_with_fitting_postings,
            {**FITTING_POSTINGS, "seqs": NEAR, "account_ids": [1], "limit": 51},
            1_100,
        ),
        (
            SEARCH.entries_with_fitting_postings,
            {**FITTING_POSTINGS, "seqs": FAR, "amount_from": "1000.00", "limit": 51},
            1_100,
        ),
        (SEARCH.entries_with_fitting_postings, {**FITTING_POSTINGS, **OWN, "seqs": NEAR, "limit": 51}, 2_100),
        (SEARCH.entries_with_fitting_postings, {**FITTING_POSTINGS, **USERS_RANGE, "seqs": NEAR, "limit": 51}, 2_100),
        (
            SEARCH.accounts_in_order,
            {**ALL, **USERS_RANGE, "after": "users:5", "looks": 100, "limit": 51}
            | {"type": None, "asset": None, "status": "closed", "metadata": '{"k":1}'},
            200,
        ),
        (
            SEARCH.accounts_in_order,
            {**OWN, **USERS_RANGE, "after": "users:5", "looks": 2_000, "limit": 51}
            | {"type": None, "asset": None, "status": "open", "metadata": None},
            OWNED,
        ),
    ],
)
async def test_a_read_takes_a_bounded_number_of_rows_by_index(
    shared_database: Database, tenant: UUID, query: LiteralString, parameters: dict[str, Any], most_rows: int
) -> None:
    async with await db.connect(shared_database.api_url, application_name="test") as connection:
        touched = await rows_touched(connection, tenant, query, parameters)
    # Of one row a tenant; the others are read by an index only.
    assert {name for name, (read, _) in touched.items() if read} <= {"heads", "projections", "tenants"}
    assert sum(fetched for _, fetched in touched.values()) <= most_rows, touched


async def rows_touched(
    connection: db.Connection, tenant_id: UUID, query: LiteralString, parameters: dict[str, Any]
) -> dict[str, tuple[int, int]]:
    """How many rows a query reads in sequence, and how many it fetches by an index, of each table."""
    async with tenant_scope(connection, tenant_id):
        await connection.execute(query, {"tenant_id": tenant_id, **parameters})
        cursor = await connection.execute(
            """
            SELECT relname, seq_tup_read, coalesce(idx_tup_fetch, 0)
            FROM pg_stat_xact_user_tables WHERE schemaname = 'ledgerx'
            """
        )
        rows = await cursor.fetchall()
        # What is not handed over would be seen again by the next transaction of this connection.
        await connection.execute("SELECT pg_stat_force_next_flush()")
    return {name: (read, fetched) for name, read, fetched in rows if read + fetched}


async def test_plans_made_on_empty_tables_stay_good(database: Database) -> None:
    """The engine's connections live long: what they planned before there was anything serves a full ledger."""
    target = USERS + 500
    loads: list[tuple[LiteralString, dict[str, Any], int]] = [
        (POSTING.load_accounts, {"codes": ["bank", "users:7"]}, 4),
        (POSTING.load_keys, {"keys": ["a key", "another"]}, 0),
        (POSTING.load_versions, {"codes": ["bank", "users:7"]}, 4),
        (POSTING.load_resolutions, {"targets": [target]}, 0),
        (POSTING.load_reversed, {"targets": [target]}, 0),
        (READING.sums, {**ALL, "codes": ["bank"]}, 10),
        (READING.entries, {"seqs": [target]}, 2),
        (SEARCH.fitting_entries, {**FITTING_ENTRIES, "seqs": [target], "limit": 1}, 2),
        (
            SEARCH.entries_with_fitting_postings,
            {**FITTING_POSTINGS, "seqs": [target], "account_ids": [1], "limit": 1},
            4,
        ),
        (REGISTRIES.load_assets, {"codes": ["USD", "EUR"]}, 2),
        (REGISTRIES.load_categories, {"codes": ["c3"]}, 0),
    ]
    async with await db.connect(database.api_url, application_name="test") as connection:
        for query, parameters, _ in loads:
            await rows_touched(connection, uuid4(), query, parameters)
        tenant_id = await make_large_journal(database, "large/fresh", transactions=2_000, dated=3)
        for query, parameters, most_rows in loads:
            touched = await rows_touched(connection, tenant_id, query, parameters)
            assert {name for name, (read, _) in touched.items() if read} <= {"heads", "projections", "tenants"}
            assert sum(fetched for _, fetched in touched.values()) <= most_rows, (query, touched)
