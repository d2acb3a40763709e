"""The scrubber on stored journals, sound and tampered with by somebody above the rules, and the audit of messages."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, LiteralString
from uuid import UUID

import msgspec
import psycopg
import pytest

from ledgerx import database as db
from ledgerx.batch import run_batch
from ledgerx.commands import AnyCommand, Direction, Hold, Line, UpdateAccount
from ledgerx.database import Pool
from ledgerx.events import JournalMessage, PostingRecord, decode
from ledgerx.findings import KeptFinding, clear_findings, read_findings
from ledgerx.journal import Layer, chain
from ledgerx.logins import Database
from ledgerx.outcomes import Recorded
from ledgerx.rows import read_entries
from ledgerx_streams import scrubber as module
from ledgerx_streams.projections.audit import AUDIT
from ledgerx_streams.projections.balances import BALANCES
from ledgerx_streams.projector import Projector
from ledgerx_streams.scrubber import Scrubber
from tests.commands import envelope, opening, transfer
from tests.integration.ledger_client import new_tenant
from tests.integration.streaming import stream

ENTRIES = 600


async def run(database: Database, tenant_id: UUID, *commands: AnyCommand) -> None:
    async with await db.connect(database.api_url, application_name="test") as connection:
        outcomes = await run_batch(connection, tenant_id, commands, clock=lambda: datetime.now(UTC))
    assert all(isinstance(outcome, Recorded) for outcome in outcomes)


@pytest.fixture
async def tenant(shared_database: Database) -> UUID:
    """Two accounts, of which 2 has limits, and transactions: entries 1 to 600, of three tiles, just recorded."""
    tenant_id = (await new_tenant(shared_database)).tenant_id
    hold = Hold(
        **envelope("hold"), lines=(Line("user", Direction.DEBIT, "0.50"), Line("bank", Direction.CREDIT, "0.50"))
    )
    posts = [transfer(f"{n}", description="d", metadata='{"n":1}') for n in range(ENTRIES - 3)]
    await run(shared_database, tenant_id, opening("bank"), opening("user", min_balance="0"), *posts, hold)
    await stream(shared_database, tenant_id)
    return tenant_id


@pytest.fixture
async def pool(shared_database: Database) -> AsyncIterator[Pool]:
    async with db.pool(shared_database.streams_url, application_name="test", max_size=4) as pool:
        yield pool


@pytest.fixture
async def admin(shared_database: Database) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
    """A superuser whose statements no trigger sees."""
    async with await psycopg.AsyncConnection.connect(shared_database.admin_url, autocommit=True) as connection:
        await connection.execute("SET session_replication_role = replica")
        yield connection


async def pass_over(pool: Pool, tenant_id: UUID, *, full_first: bool = False) -> int:
    """Read all that is due of a tenant, and return how many entries that is."""
    scrubber, read = Scrubber(pool, entries_per_s=1), 0
    while page := await scrubber.scrub_page(tenant_id, full_first=full_first):
        read += page
    return read


async def found(database: Database, tenant_id: UUID) -> list[KeptFinding]:
    async with await db.connect(database.owner_url, application_name="test") as connection:
        return list(await read_findings(connection, tenant_id))


async def test_a_sound_journal_is_read_by_both_passes_and_nothing_is_found(
    shared_database: Database, tenant: UUID, pool: Pool
) -> None:
    assert await pass_over(pool, tenant) == 2 * ENTRIES
    assert await pass_over(pool, tenant) == 0
    assert await found(shared_database, tenant) == []


@pytest.mark.parametrize(
    ("statement", "seq"),
    [
        ("UPDATE ledgerx.postings SET amount = amount + 1 WHERE tenant_id = %s AND seq = 550 AND line = 0", 550),
        ("UPDATE ledgerx.postings SET account_id = 1 WHERE tenant_id = %s AND seq = 550", 550),
        ("UPDATE ledgerx.postings SET amount = 2 * amount WHERE tenant_id = %s AND seq = 550", 550),
        ("DELETE FROM ledgerx.postings WHERE tenant_id = %s AND seq = 550", 550),
        ("DELETE FROM ledgerx.entries WHERE tenant_id = %s AND seq = 550", 550),
        ("DELETE FROM ledgerx.entries WHERE tenant_id = %s AND seq = 256", 256),
        ("DELETE FROM ledgerx.entries WHERE tenant_id = %s AND seq = 600", None),
        ("UPDATE ledgerx.entries SET actor = 'you' WHERE tenant_id = %s AND seq = 257", 257),
        ("UPDATE ledgerx.entries SET actor = 'you' WHERE tenant_id = %s AND seq = 1", 1),
        ("UPDATE ledgerx.entries SET description = 'other' WHERE tenant_id = %s AND seq = 600", 600),
        ("UPDATE ledgerx.entries SET hash = sha256('') WHERE tenant_id = %s AND seq = 300", 300),
        ("UPDATE ledgerx.entries SET change = '{\"account\":' WHERE tenant_id = %s AND seq = 2", 2),
        ("UPDATE ledgerx.accounts SET code = 'renamed' WHERE tenant_id = %s AND account_id = 2", 2),
        ("UPDATE ledgerx.accounts SET min_balance = -500 WHERE tenant_id = %s AND account_id = 2", 2),
        ("UPDATE ledgerx.accounts SET owner = 'me' WHERE tenant_id = %s AND account_id = 1", 1),
        ("UPDATE ledgerx.guarded_balances SET posted = posted - 1 WHERE tenant_id = %s", None),
        ("DELETE FROM ledgerx.guarded_balances WHERE tenant_id = %s", None),
        ("UPDATE ledgerx.heads SET hash = sha256('') WHERE tenant_id = %s", None),
        ("UPDATE ledgerx.heads SET seq = 599 WHERE tenant_id = %s", None),
        ("UPDATE ledgerx.merkle_tiles SET hashes = sha256('') WHERE tenant_id = %s AND level = 0 AND index = 1", 257),
        ("UPDATE ledgerx.audits SET hash = sha256('') WHERE tenant_id = %s", 600),
        ("UPDATE ledgerx.audit_balances SET posted = posted + 1 WHERE tenant_id = %s", None),
    ],
)
async def test_tampering_is_found_by_the_next_pass_over_what_was_recorded_recently(
    shared_database: Database,
    tenant: UUID,
    pool: Pool,
    admin: psycopg.AsyncConnection[tuple[Any, ...]],
    statement: LiteralString,
    seq: int | None,
) -> None:
    await admin.execute("UPDATE ledgerx.audits SET full_due_at = 'infinity' WHERE tenant_id = %s", (tenant,))
    assert (await admin.execute(statement, (tenant,))).rowcount > 0
    await pass_over(pool, tenant)
    first = (await found(shared_database, tenant))[0]
    assert (first.seq, first.found_by) == (seq, "scrubber")


async def test_a_journal_that_was_written_anew_with_a_chain_of_its_own_is_found(
    shared_database: Database, tenant: UUID, pool: Pool, admin: psycopg.AsyncConnection[tuple[Any, ...]]
) -> None:
    """Who can compute all hashes anew has still signed, and been followed, before."""
    async with (
        await db.connect(shared_database.owner_url, application_name="test") as connection,
        db.tenant_scope(connection, tenant),
    ):
        [before, last] = await read_entries(connection, tenant, [599, 600])
    rewritten = msgspec.structs.replace(last, actor="you")
    new_hash = chain(before.hash, rewritten)
    await admin.execute(
        "UPDATE ledgerx.entries SET actor = 'you', hash = %s WHERE tenant_id = %s AND seq = 600", (new_hash, tenant)
    )
    await admin.execute("UPDATE ledgerx.heads SET hash = %s WHERE tenant_id = %s", (new_hash, tenant))
    await pass_over(pool, tenant)
    assert {(one.seq, one.what) for one in await found(shared_database, tenant)} == {
        (600, "the entry is another one than the audit has followed"),
        (600, "the entry is another one than that in the Merkle tree"),
    }


async def test_the_full_pass_reads_what_is_old(
    shared_database: Database,
    tenant: UUID,
    pool: Pool,
    admin: psycopg.AsyncConnection[tuple[Any, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RECENT_S", 0.0)
    await admin.execute("UPDATE ledgerx.entries SET actor = 'you' WHERE tenant_id = %s AND seq = 100", (tenant,))
    await admin.execute("UPDATE ledgerx.audits SET full_due_at = 'infinity' WHERE tenant_id = %s", (tenant,))
    assert await pass_over(pool, tenant) == 0
    assert await found(shared_database, tenant) == []

    await admin.execute("UPDATE ledgerx.audits SET full_due_at = now() WHERE tenant_id = %s", (tenant,))
    assert await pass_over(pool, tenant, full_first=True) == ENTRIES
    assert [one.seq for one in await found(shared_database, tenant)] == [100]


async def test_a_finding_is_told_once_and_kept_until_it_is_cleared(
    shared_database: Database, tenant: UUID, pool: Pool, admin: psycopg.AsyncConnection[tuple[Any, ...]]
) -> None:
    await admin.execute("UPDATE ledgerx.entries SET actor = 'you' WHERE tenant_id = %s AND seq = 5", (tenant,))
    due = "UPDATE ledgerx.audits SET recent_due_at = now(), full_due_at = 'infinity' WHERE tenant_id = %s"
    for _ in range(2):
        await admin.execute(due, (tenant,))
        await pass_over(pool, tenant)
    [one] = await found(shared_database, tenant)
    assert one.seen_at > one.found_at
    async with await db.connect(shared_database.owner_url, application_name="test") as connection:
        assert await clear_findings(connection, tenant) == 1
    assert await found(shared_database, tenant) == []
    await admin.execute(due, (tenant,))
    await pass_over(pool, tenant)
    assert len(await found(shared_database, tenant)) == 1


async def test_a_second_is_shared_by_tenants_and_no_longer_than_is_allowed(
    shared_database: Database, tenant: UUID, pool: Pool, admin: psycopg.AsyncConnection[tuple[Any, ...]]
) -> None:
    await admin.execute("UPDATE ledgerx.audits SET recent_due_at = 'infinity', full_due_at = 'infinity'")
    due = "UPDATE ledgerx.audits SET recent_due_at = now() WHERE tenant_id = %s"
    await admin.execute(due, (tenant,))
    assert await Scrubber(pool, entries_per_s=1).scrub_due() == 256
    assert await Scrubber(pool, entries_per_s=10_000).scrub_due() == ENTRIES - 256
    assert await Scrubber(pool, entries_per_s=10_000).scrub_due() == 0


async def test_a_tenant_that_somebody_else_reads_is_passed_over(
    tenant: UUID, pool: Pool, admin: psycopg.AsyncConnection[tuple[Any, ...]]
) -> None:
    async with admin.transaction():
        await admin.execute("SELECT FROM ledgerx.audits WHERE tenant_id = %s FOR UPDATE", (tenant,))
        assert await pass_over(pool, tenant) == 0
    assert await pass_over(pool, tenant) > 0


async def test_sums_of_accounts_with_limits_are_the_audits_however_far_it_is_behind(
    shared_database: Database, tenant: UUID, pool: Pool
) -> None:
    record = partial(run, shared_database, tenant)
    await record(transfer("later", "7.00"), opening("new", min_balance="0"), transfer("more", credit="new"))
    await pass_over(pool, tenant)
    await record(UpdateAccount(**envelope("limits"), code="bank", min_balance="-90000"), transfer("again"))
    await stream(shared_database, tenant, AUDIT)
    await record(UpdateAccount(**envelope("none"), code="user", min_balance=None), transfer("last"))
    await pass_over(pool, tenant, full_first=True)
    await stream(shared_database, tenant, AUDIT, BALANCES)
    await pass_over(pool, tenant, full_first=True)
    assert await found(shared_database, tenant) == []


def messages_of(database: Database, tenant_id: UUID) -> list[JournalMessage]:
    with psycopg.connect(database.admin_url) as connection:
        rows = connection.execute(
            "SELECT payload FROM ledgerx.outbox WHERE tenant_id = %s ORDER BY first_seq", (tenant_id,)
        )
        return [decode(payload.encode()) for (payload,) in rows]


async def test_the_audit_finds_what_is_wrong_with_messages_and_goes_on(
    shared_database: Database, tenant: UUID, pool: Pool
) -> None:
    await run(shared_database, tenant, *(transfer(f"more{n}") for n in range(3)))
    message = messages_of(shared_database, tenant)[-1]

    def taking(amount: int, account_id: int, seq: int) -> Any:
        account = {1: "bank", 2: "user"}[account_id]
        lines = (PostingRecord(account, account_id, "USD", 2, f"{amount}", Layer.POSTED),)
        return msgspec.structs.replace(message.entries[seq - message.first], postings=lines)

    entries = (taking(10**9, 2, 601), message.entries[1], msgspec.structs.replace(message.entries[2], actor="you"))
    await Projector(AUDIT, pool).apply(tenant, [msgspec.structs.replace(message, entries=entries)])

    told = [(one.seq, one.what, one.found_by) for one in await found(shared_database, tenant)]
    assert sorted(told) == [
        (601, "account 2 is beyond its limits", "audit"),
        (601, "debits and credits differ", "audit"),
        (601, "the hash does not match the entry and the hash before it", "audit"),
        (602, "account 2 is beyond its limits", "audit"),
        (603, "account 2 is beyond its limits", "audit"),
        (603, "the hash does not match the entry and the hash before it", "audit"),
    ]


async def test_a_fork_is_a_finding_of_that_tenant_alone(shared_database: Database, tenant: UUID, pool: Pool) -> None:
    other = (await new_tenant(shared_database)).tenant_id
    for one in (tenant, other):
        await run(shared_database, one, opening("x0"), opening("x1"))
    projector = Projector(AUDIT, pool)
    forked = msgspec.structs.replace(messages_of(shared_database, tenant)[-1], previous_hash=bytes(32))
    await projector.apply(tenant, [forked])
    await projector.apply(other, messages_of(shared_database, other))

    assert [one.what for one in await found(shared_database, tenant)] == [
        "the projection audit stopped: what comes after the entry 600 is of another journal"
    ]
    assert await found(shared_database, other) == []
