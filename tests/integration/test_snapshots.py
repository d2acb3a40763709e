"""Snapshots of journals whose entries are recorded at times of the tests' own."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from ledgerx import database as db
from ledgerx.batch import run_batch
from ledgerx.commands import AnyCommand
from ledgerx.database import Pool
from ledgerx.errors import InvalidField, NotFound
from ledgerx.logins import Database
from ledgerx.outcomes import Recorded
from ledgerx.snapshots import (
    NEWEST,
    AccountSnapshot,
    SnapshotSettings,
    read_account_snapshots,
    read_snapshot_settings,
    set_snapshot_settings,
)
from ledgerx.tenancy import ClientCredentials
from ledgerx_streams import snapshots as module
from ledgerx_streams.projections.balances import BALANCES
from ledgerx_streams.snapshots import Snapshots
from tests.commands import opening, transfer
from tests.integration.ledger_client import LedgerClient, new_tenant
from tests.integration.streaming import snapshot_due, stream

# A full hour, and later than the journals begin.
NOON = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=2)
# What each snapshot has, and what it has to: the accounts that changed since the one before, at its entry.
_CAPTURED = """
    SELECT account_id, seq, posted, pending_debit, pending_credit FROM ledgerx.snapshot_balances
    WHERE tenant_id = %s ORDER BY 2, 1
"""
_EXPECTED = """
    SELECT p.account_id, s.seq, coalesce(sum(p.amount) FILTER (WHERE p.layer = 0), 0),
        coalesce(sum(p.amount) FILTER (WHERE p.layer = 1), 0), coalesce(sum(p.amount) FILTER (WHERE p.layer = 2), 0)
    FROM (SELECT tenant_id, seq, lag(seq, 1, 0::bigint) OVER (ORDER BY seq) AS before FROM ledgerx.snapshots
        WHERE tenant_id = %s) AS s
    JOIN ledgerx.postings AS p ON p.tenant_id = s.tenant_id AND p.seq <= s.seq
    GROUP BY p.account_id, s.seq, s.before HAVING max(p.seq) > s.before ORDER BY 2, 1
"""


def hours(number: float) -> datetime:
    return NOON + timedelta(hours=number)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    async with db.pool(database.streams_url, application_name="test", max_size=4) as pool:
        yield pool


@pytest.fixture
async def tenant(database: Database) -> UUID:
    """Two accounts opened half an hour before noon; the first moment to come is noon."""
    tenant_id = (await new_tenant(database)).tenant_id
    await record(database, tenant_id, hours(-0.5), opening("bank"), opening("user"))
    execute(database, "UPDATE ledgerx.snapshot_schedules SET boundary = %s WHERE tenant_id = %s", NOON, tenant_id)
    return tenant_id


async def record(database: Database, tenant_id: UUID, at: datetime, *commands: AnyCommand) -> None:
    async with await db.connect(database.api_url, application_name="test") as connection:
        outcomes = await run_batch(connection, tenant_id, commands, clock=lambda: at)
    assert all(isinstance(outcome, Recorded) for outcome in outcomes)


def execute(database: Database, statement: Any, *parameters: Any) -> list[Any]:
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        cursor = connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []


async def shown(database: Database, tenant_id: UUID, code: str = "user") -> Sequence[AccountSnapshot]:
    async with db.pool(database.api_url, application_name="test", max_size=1) as pool:
        found = await read_account_snapshots(pool, tenant_id, code, confined_to=None, before=NEWEST, limit=500)
    return found.items


def posted(snapshots: Sequence[AccountSnapshot]) -> list[tuple[datetime, int, int]]:
    return [(one.taken_at, one.seq, one.balance.posted) for one in snapshots]


def assert_captured(database: Database, tenant_id: UUID) -> None:
    assert execute(database, _CAPTURED, tenant_id) == execute(database, _EXPECTED, tenant_id)


async def test_a_snapshot_is_at_the_last_entry_before_its_moment(database: Database, tenant: UUID, pool: Pool) -> None:
    await record(database, tenant, hours(-0.1), transfer("1", "5"))
    await record(database, tenant, NOON, transfer("2", "70"))
    await record(database, tenant, hours(0.5), opening("new"), transfer("3", "900", credit="new"))
    await record(database, tenant, hours(1.5), transfer("4", "8000"))
    await stream(database, tenant)

    await Snapshots(pool).take_due(hours(1.9))

    # Of `user` the second one has no row of its own beside that of entry 4; `new` begins where it was opened.
    assert posted(await shown(database, tenant)) == [(hours(1), 6, 7_500), (NOON, 3, 500)]
    assert posted(await shown(database, tenant, "new")) == [(hours(1), 6, 90_000)]
    assert_captured(database, tenant)


async def test_an_account_that_did_not_change_has_the_balance_of_before(
    database: Database, tenant: UUID, pool: Pool
) -> None:
    await record(database, tenant, hours(-0.1), opening("idle"), opening("empty"), transfer("1", "5", credit="idle"))
    await record(database, tenant, hours(0.1), transfer("2", "70"))
    await record(database, tenant, hours(1.1), transfer("3", "70"))
    await stream(database, tenant)
    await Snapshots(pool).take_due(hours(1.2))

    assert posted(await shown(database, tenant, "idle")) == [(hours(1), 6, 500), (NOON, 5, 500)]
    assert posted(await shown(database, tenant, "empty")) == [(hours(1), 6, 0), (NOON, 5, 0)]
    [idle] = execute(database, "SELECT count(*) FROM ledgerx.snapshot_balances WHERE account_id = 3")
    assert idle == (1,)


async def test_missed_moments_are_made_up_for_and_those_without_news_have_no_snapshot(
    database: Database, tenant: UUID, pool: Pool
) -> None:
    for hour in (0.5, 3.5, 4.2, 30.0):
        await record(database, tenant, hours(hour), transfer(f"{hour}"), transfer(f"again {hour}"))
    await stream(database, tenant)

    await Snapshots(pool).take_due(hours(100))

    taken = [(one.taken_at - NOON).total_seconds() / 3_600 for one in await shown(database, tenant)]
    assert taken == [31, 5, 4, 1, 0]
    assert_captured(database, tenant)
    [(boundary,)] = execute(database, "SELECT boundary FROM ledgerx.snapshot_schedules WHERE tenant_id = %s", tenant)
    # That moment is not over for sure.
    assert boundary == hours(100)


async def test_nothing_is_captured_while_entries_from_before_the_moment_may_come(
    database: Database, tenant: UUID, pool: Pool
) -> None:
    await record(database, tenant, hours(-0.1), transfer("1"))
    await stream(database, tenant)
    await Snapshots(pool).take_due(NOON + timedelta(seconds=module.SETTLE_S - 1))
    assert await shown(database, tenant) == []

    await record(database, tenant, NOON - timedelta(microseconds=1), transfer("2"))
    await stream(database, tenant)
    await Snapshots(pool).take_due(NOON + timedelta(seconds=module.SETTLE_S))
    assert posted(await shown(database, tenant)) == [(NOON, 4, 200)]


async def test_a_snapshot_waits_for_the_balances(database: Database, tenant: UUID, pool: Pool) -> None:
    await stream(database, tenant)
    await record(database, tenant, hours(-0.1), transfer("1"))
    await record(database, tenant, hours(0.1), transfer("2"))
    await Snapshots(pool).take_due(hours(0.5))
    assert await shown(database, tenant) == []
    await stream(database, tenant, BALANCES)
    await Snapshots(pool).take_due(hours(0.5))
    assert posted(await shown(database, tenant)) == [(NOON, 3, 100)]


async def test_workers_at_once_and_one_after_the_other_take_each_snapshot_once_page_by_page(
    database: Database, tenant: UUID, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POSTINGS_PER_PAGE", 5)
    codes = [f"u{number}" for number in range(9)]
    await record(database, tenant, hours(-0.2), *(opening(code) for code in codes))
    for hour in (-0.1, 0.1, 1.1, 2.1):
        await record(
            database, tenant, hours(hour), *(transfer(f"{hour}{n}", credit=codes[n * 4 % 9]) for n in range(30))
        )
    await stream(database, tenant)
    monkeypatch.setattr(module, "_PAGES_AT_ONCE", 1)
    await Snapshots(pool).take_due(hours(2.5))
    # What is half done is not shown.
    assert await shown(database, tenant) == []
    assert execute(database, "SELECT count(*) > 0 FROM ledgerx.snapshot_balances") == [(True,)]

    monkeypatch.setattr(module, "_PAGES_AT_ONCE", 1_000)
    await asyncio.gather(*(Snapshots(pool).take_due(hours(2.5)) for _ in range(3)))
    await Snapshots(pool).take_due(hours(2.5))

    assert len(await shown(database, tenant)) == 3
    assert_captured(database, tenant)


async def test_what_is_beyond_the_retention_goes_but_for_what_is_still_in_force(
    database: Database, tenant: UUID, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ACCOUNTS_PER_PAGE", 2)
    await record(database, tenant, hours(-0.1), opening("idle"), transfer("idle", "9", credit="idle"))
    for hour in (0.5, 1.5, 2.5, 3.5, 30.5):
        await record(database, tenant, hours(hour), transfer(f"{hour}"), transfer(f"again {hour}"))
    await stream(database, tenant)
    async with await db.connect(database.owner_url, application_name="test") as connection:
        await set_snapshot_settings(connection, tenant, SnapshotSettings(schedule=("0 * * * *",), retention_days=1))
    execute(database, "UPDATE ledgerx.snapshot_schedules SET boundary = %s WHERE tenant_id = %s", NOON, tenant)
    await Snapshots(pool).take_due(hours(25.9))
    before = await shown(database, tenant, "idle")
    assert [(one.taken_at - NOON).total_seconds() / 3_600 for one in before] == [4, 3, 2, 1]

    await Snapshots(pool).take_due(hours(27.5))

    # Those of one and two are gone. Three is the latest beyond the retention.
    after = await shown(database, tenant, "idle")
    assert posted(after) == posted(before)[:2]
    assert posted(await shown(database, tenant)) == [(hours(4), 12, 800), (hours(3), 10, 600)]
    rows = execute(database, "SELECT account_id, seq FROM ledgerx.snapshot_balances ORDER BY account_id, seq")
    assert rows == [(1, 10), (1, 12), (2, 10), (2, 12), (3, 4)]


async def test_settings_hold_from_the_next_moment_on(database: Database, tenant: UUID, pool: Pool) -> None:
    async with await db.connect(database.owner_url, application_name="test") as connection:
        assert await read_snapshot_settings(connection, tenant) == SnapshotSettings(
            schedule=("0 * * * *", "0 0 * * *"), retention_days=400
        )
        changed = SnapshotSettings(schedule=("30 * * * *",), retention_days=7)
        await set_snapshot_settings(connection, tenant, changed)
        assert await read_snapshot_settings(connection, tenant) == changed
        for schedule, retention_days in (((), 7), (("x",), 7), (("0 0 * * *",), 0), (("0 0 * * *",), 40_000)):
            with pytest.raises(InvalidField):
                await set_snapshot_settings(
                    connection, tenant, SnapshotSettings(schedule=schedule, retention_days=retention_days)
                )
        with pytest.raises(NotFound):
            await read_snapshot_settings(connection, UUID(int=0))
    [(boundary,)] = execute(database, "SELECT boundary FROM ledgerx.snapshot_schedules WHERE tenant_id = %s", tenant)
    assert boundary.minute == 30
    assert boundary < hours(-0.4)


async def test_snapshots_are_listed_page_by_page(
    client: LedgerClient, credentials: ClientCredentials, shared_database: Database
) -> None:
    for number in range(3):
        await client.transfer(f"{number}", "1.50")
        async with snapshot_due(shared_database, credentials.tenant_id):
            await client.transfer(f"after {number}", "0.25")
    pages = [page async for page in client.pages("/v1/accounts/user/snapshots", 2)]
    assert [len(page) for page in pages] == [2, 1]
    listed = [one for page in pages for one in page]
    assert [(one["sequence"], one["balance"]["posted"]) for one in listed] == [(7, "5.00"), (5, "3.25"), (3, "1.50")]
    assert (await client.get("/v1/accounts/nobody/snapshots")).told == (404, "not_found")
