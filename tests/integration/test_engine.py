"""The engine on a real Postgres: what it promises under races, failures and overload."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

from ledgerx import database as db
from ledgerx import events
from ledgerx.commands import (
    AnyCommand,
    CloseAccount,
    Direction,
    Line,
    Post,
    UpdateAccount,
)
from ledgerx.engine import Engine
from ledgerx.errors import Overloaded
from ledgerx.journal import AccountType, Entry, genesis
from ledgerx.logins import Database
from ledgerx.outcomes import Outcome, Recorded, Refused, Replayed
from ledgerx.verify import Report
from tests.commands import envelope, opening, transfer
from tests.integration.journals import report_of
from tests.integration.ledger_client import new_tenant

APPLICATION = "test-engine"
Connection = psycopg.AsyncConnection[tuple[Any, ...]]
MakeEngine = Callable[..., Awaitable[Engine]]


@pytest.fixture
async def make_engine(shared_database: Database) -> AsyncIterator[MakeEngine]:
    """Makes engines, each with a pool of its own."""
    async with AsyncExitStack() as stack:

        async def make(*, connections: int = 4, **options: Any) -> Engine:
            pool = db.pool(shared_database.api_url, application_name=APPLICATION, max_size=connections)
            await stack.enter_async_context(pool)
            engine = Engine(pool, **options)
            stack.push_async_callback(engine.drain)
            return engine

        yield make


@pytest.fixture
async def engine(make_engine: MakeEngine) -> Engine:
    return await make_engine()


@pytest.fixture
async def admin(shared_database: Database) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(shared_database.admin_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def tenant(shared_database: Database, engine: Engine) -> UUID:
    """A tenant with a bank without limits and a user that cannot go below zero."""
    return await tenant_with_accounts(shared_database, engine)


async def tenant_with_accounts(database: Database, engine: Engine) -> UUID:
    tenant_id = (await new_tenant(database)).tenant_id
    await run_all([engine], tenant_id, [opening("bank", kind=AccountType.ASSET), opening("user", min_balance="0")])
    return tenant_id


async def run_all(engines: Sequence[Engine], tenant_id: UUID, commands: Iterable[AnyCommand]) -> list[Outcome]:
    """Give the commands to the engines in turn, all at once."""
    return await asyncio.gather(
        *(engines[number % len(engines)].run(tenant_id, command) for number, command in enumerate(commands))
    )


async def verified(database: Database, tenant_id: UUID) -> Report:
    report = await report_of(database, tenant_id)
    assert report.ok, report.findings
    return report


@asynccontextmanager
async def locked_head(admin: Connection, tenant_id: UUID) -> AsyncIterator[None]:
    """Hold the lock of a tenant's head as another session would."""
    async with admin.transaction():
        await admin.execute("SELECT FROM ledgerx.heads WHERE tenant_id = %s FOR UPDATE", (tenant_id,))
        yield


async def backends(admin: Connection, condition: str = "true") -> list[int]:
    """The engines' sessions that meet a condition."""
    cursor = await admin.execute(
        f"SELECT pid FROM pg_stat_activity WHERE application_name = %s AND {condition}",  # noqa: S608 - a test's own
        (APPLICATION,),
    )
    return [pid for (pid,) in await cursor.fetchall()]


async def eventually_some(admin: Connection, condition: str) -> list[int]:
    while not (found := await backends(admin, condition)):  # noqa: ASYNC110 - another process sets no event
        await asyncio.sleep(0.01)
    return found


async def kill(admin: Connection, pids: Iterable[int]) -> None:
    await admin.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", (list(pids),))


def entries_of(outcomes: Iterable[Outcome]) -> list[Entry]:
    assert not [outcome for outcome in outcomes if isinstance(outcome, Refused)]
    return [outcome.entry for outcome in outcomes if not isinstance(outcome, Refused)]


def refusals(outcomes: Iterable[Outcome]) -> list[str]:
    return [outcome.error.code for outcome in outcomes if isinstance(outcome, Refused)]


def count(outcomes: Iterable[Outcome]) -> Counter[type]:
    return Counter(map(type, outcomes))


async def test_two_engines_keep_one_gapless_journal(
    shared_database: Database, make_engine: MakeEngine, engine: Engine, tenant: UUID
) -> None:
    commands: list[AnyCommand] = []
    for n in range(60):
        code = f"c:{n % 6}"
        commands += [
            opening(code, key=f"open {n}", min_balance="-3" if n % 2 else None),
            transfer(f"in {n}", "2", credit=code),
            transfer(f"out {n}", "3", debit=code, credit="bank"),
            transfer(f"in {n}", "2", credit=code),
            UpdateAccount(
                code=code, min_balance=None if n % 3 else f"-{n}", max_balance=None, **envelope(f"limit {n}")
            ),
            CloseAccount(code=code, **envelope(f"close {n}"))
            if n % 3 == 2
            else UpdateAccount(code=code, frozen=n % 3 == 0, **envelope(f"freeze {n}")),
            UpdateAccount(code=code, frozen=False, **envelope(f"unfreeze {n}")),
        ]
    random.Random(7).shuffle(commands)  # noqa: S311 - a load, not a secret
    outcomes = await run_all([engine, await make_engine()], tenant, commands)
    recorded = [outcome.entry.seq for outcome in outcomes if isinstance(outcome, Recorded)]
    assert sorted(recorded) == list(range(3, len(recorded) + 3))
    assert (await verified(shared_database, tenant)).head == len(recorded) + 2


async def test_the_outbox_holds_every_entry_once_and_in_order(
    make_engine: MakeEngine, engine: Engine, tenant: UUID, admin: Connection
) -> None:
    long = "x" * 16_000
    commands = [transfer(f"{n}", metadata=f'{{"a":"{long}"}}') for n in range(150)]
    recorded = entries_of(await run_all([engine, await make_engine()], tenant, commands))
    cursor = await admin.execute(
        "SELECT payload FROM ledgerx.outbox WHERE tenant_id = %s ORDER BY first_seq", (tenant,)
    )
    messages = [events.decode(payload.encode()) for (payload,) in await cursor.fetchall()]
    assert all(one.hash == two.previous_hash for one, two in pairwise(messages))
    assert messages[0].previous_hash == genesis(tenant)
    sent = [events.entry(record) for message in messages for record in message.entries]
    assert sent[2:] == sorted(recorded, key=lambda entry: entry.seq)


async def test_a_limit_holds_against_concurrent_spenders(
    shared_database: Database, make_engine: MakeEngine, engine: Engine, tenant: UUID
) -> None:
    await run_all([engine], tenant, [transfer("fund", "10")])
    spends = [transfer(f"spend {n}", debit="user", credit="bank") for n in range(64)]
    outcomes = await run_all([engine, await make_engine()], tenant, spends)
    assert count(outcomes) == {Recorded: 10, Refused: 54}
    assert set(refusals(outcomes)) == {"insufficient_funds"}
    await verified(shared_database, tenant)


async def test_one_key_makes_one_transaction_however_often_it_is_sent(
    make_engine: MakeEngine, engine: Engine, tenant: UUID
) -> None:
    outcomes = await run_all([engine, await make_engine()], tenant, [transfer("k")] * 50)
    assert count(outcomes) == {Recorded: 1, Replayed: 49}
    assert len({entry.seq for entry in entries_of(outcomes)}) == 1


async def test_a_replayed_entry_is_the_entry_as_it_was_recorded(engine: Engine, tenant: UUID) -> None:
    command = transfer(
        "k",
        "12.34",
        reference="r",
        category="c",
        description="€ 😀 \u0001",
        metadata='{"a":[1,null]}',
        effective_at=datetime(1, 1, 1, tzinfo=UTC),
    )
    recorded = await engine.run(tenant, command)
    replayed = await engine.run(tenant, command)
    assert isinstance(recorded, Recorded)
    assert replayed == Replayed(recorded.entry)


async def test_amounts_of_thirty_digits_add_up_exactly(shared_database: Database, engine: Engine, tenant: UUID) -> None:
    outcomes = await run_all([engine], tenant, [transfer(f"{n}", "9" * 28) for n in range(20)])
    assert [outcome.balances["user"][0].posted for outcome in outcomes if isinstance(outcome, Recorded)] == [
        (10**30 - 100) * n for n in range(1, 21)
    ]
    await verified(shared_database, tenant)


async def test_a_transaction_of_a_thousand_lines_is_kept_in_order(engine: Engine, tenant: UUID) -> None:
    pair = (Line("bank", Direction.DEBIT, "1"), Line("user", Direction.CREDIT, "1"))
    command = Post(lines=pair * 500, **envelope("k"))
    recorded, replayed = entries_of([await engine.run(tenant, command), await engine.run(tenant, command)])
    assert len(recorded.postings) == 1_000
    assert recorded == replayed


@pytest.mark.parametrize(
    ("poison", "code"),
    [
        (msgspec.structs.replace(transfer("poison"), actor="nul \0"), "malformed"),
        (msgspec.structs.replace(transfer("poison"), metadata='"nul \0"'), "malformed"),
        (transfer("nul \0"), "malformed"),
        (transfer("poison", credit="nul \0"), "malformed"),
        (opening("no code!"), "invalid_field"),
    ],
)
async def test_a_command_that_the_database_refuses_does_not_harm_its_neighbours(
    shared_database: Database, engine: Engine, tenant: UUID, poison: AnyCommand, code: str
) -> None:
    neighbours = [transfer(f"{n}") for n in range(20)]
    outcomes = await run_all([engine], tenant, [*neighbours[:7], poison, *neighbours[7:]])
    assert refusals(outcomes) == [code]
    assert isinstance(outcomes[7], Refused)
    assert (await verified(shared_database, tenant)).transactions == 20


async def test_a_connection_survives_any_number_of_refusals(make_engine: MakeEngine, tenant: UUID) -> None:
    # Statements are prepared as they are used; one that was skipped after an error must not count as prepared.
    single = await make_engine(connections=1)
    for n in range(12):
        refused, recorded = await run_all([single], tenant, [opening(f"no code {n}!"), transfer(f"{n}")])
        assert (refusals([refused]), type(recorded)) == (["invalid_field"], Recorded)


async def test_an_unknown_tenant_is_not_found(engine: Engine) -> None:
    assert refusals([await engine.run(uuid4(), transfer("k"))]) == ["not_found"]


async def test_many_tenants_share_few_connections(
    shared_database: Database, make_engine: MakeEngine, engine: Engine
) -> None:
    narrow = await make_engine(connections=2)
    tenants = [await tenant_with_accounts(shared_database, engine) for _ in range(8)]
    answered = await asyncio.gather(
        *(run_all([narrow], tenant_id, [transfer(f"{n}") for n in range(20)]) for tenant_id in tenants)
    )
    assert all(len(entries_of(outcomes)) == 20 for outcomes in answered)


async def test_a_full_queue_refuses_and_writes_nothing(
    shared_database: Database, make_engine: MakeEngine, tenant: UUID
) -> None:
    small = await make_engine(max_waiting=5)
    asked = [small.run(tenant, transfer(f"{n}")) for n in range(12)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Recorded] * 5 + [Overloaded] * 7
    assert (await verified(shared_database, tenant)).transactions == 5
    assert isinstance(await small.run(tenant, transfer("later")), Recorded)


async def test_draining_answers_all_that_was_taken_and_takes_nothing_new(make_engine: MakeEngine, tenant: UUID) -> None:
    engine = await make_engine(max_batch=10)
    asked = asyncio.gather(*(engine.run(tenant, transfer(f"{n}")) for n in range(100)))
    await asyncio.sleep(0)
    await engine.drain()
    assert asked.done()
    assert count(await asked) == {Recorded: 100}
    with pytest.raises(Overloaded):
        await engine.run(tenant, transfer("late"))


async def test_a_caller_that_goes_away_leaves_the_others_their_answers(
    shared_database: Database, admin: Connection, engine: Engine, tenant: UUID
) -> None:
    async with locked_head(admin, tenant):
        asked = [asyncio.create_task(engine.run(tenant, transfer(f"{n}"))) for n in range(4)]
        await eventually_some(admin, "wait_event_type = 'Lock'")
        asked[1].cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Recorded, asyncio.CancelledError, Recorded, Recorded]
    assert (await verified(shared_database, tenant)).transactions == 4


async def test_callers_that_wait_together_are_not_answered_together(
    admin: Connection, engine: Engine, tenant: UUID
) -> None:
    """They would come back together, and the database would stand idle meanwhile."""
    async with locked_head(admin, tenant):
        first = asyncio.create_task(engine.run(tenant, transfer("first")))
        await eventually_some(admin, "wait_event_type = 'Lock'")
        others = [asyncio.create_task(engine.run(tenant, transfer(f"{n}"))) for n in range(30)]
        await asyncio.sleep(0)
    assert count(await asyncio.gather(first, *others)) == {Recorded: 31}
    cursor = await admin.execute(
        "SELECT last_seq - first_seq + 1 FROM ledgerx.outbox WHERE tenant_id = %s ORDER BY first_seq", (tenant,)
    )
    accounts, *batches = [row[0] for row in await cursor.fetchall()]
    assert (accounts, batches) == (2, [1, 20, 8, 2])


async def test_killed_sessions_lose_nothing_and_write_nothing_twice(
    shared_database: Database, make_engine: MakeEngine, engine: Engine, tenant: UUID, admin: Connection
) -> None:
    engines = [engine, await make_engine(max_batch=7)]
    load = asyncio.gather(
        *(run_all(engines, tenant, [transfer(f"{wave} {n}") for n in range(50)]) for wave in range(4))
    )
    kills = 0
    while not load.done() and kills < 12:
        kills += len(busy := await backends(admin, "state <> 'idle'"))
        await kill(admin, busy)
        await asyncio.sleep(0.005)
    entries = [entry for outcomes in await load for entry in entries_of(outcomes)]
    assert kills
    assert len({entry.seq for entry in entries}) == len(entries) == 200
    assert (await verified(shared_database, tenant)).transactions == 200


async def test_a_commit_whose_answer_is_lost_is_found_again(
    shared_database: Database, engine: Engine, tenant: UUID, admin: Connection
) -> None:
    # A commit that waits for a standby that never comes is durable already when its session is killed.
    await admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    await admin.execute("SELECT pg_reload_conf()")
    try:
        asked = asyncio.create_task(engine.run(tenant, transfer("k")))
        waiting = await eventually_some(admin, "wait_event = 'SyncRep'")
        await kill(admin, waiting)
        await eventually_some(admin, f"wait_event = 'SyncRep' AND pid <> {waiting[0]}")
    finally:
        await admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await admin.execute("SELECT pg_reload_conf()")
    assert isinstance(await asked, Replayed)
    assert (await verified(shared_database, tenant)).transactions == 1


async def test_a_blocked_tenant_is_told_in_bounded_time_and_nothing_is_written_twice(
    shared_database: Database,
    make_engine: MakeEngine,
    tenant: UUID,
    admin: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(db, "LOCK_TIMEOUT_MS", 100)
    monkeypatch.setattr("ledgerx.engine.PATIENCE_S", 0.3)
    impatient = await make_engine()
    commands = [transfer(f"{n}") for n in range(5)]
    async with locked_head(admin, tenant):
        assert refusals(await run_all([impatient], tenant, commands)) == ["unavailable"] * 5
    assert count(await run_all([impatient], tenant, commands)) == {Recorded: 5}
    assert (await verified(shared_database, tenant)).transactions == 5


async def test_a_blocked_tenant_does_not_block_another(
    shared_database: Database, engine: Engine, tenant: UUID, admin: Connection
) -> None:
    other = await tenant_with_accounts(shared_database, engine)
    async with locked_head(admin, tenant):
        blocked = asyncio.create_task(engine.run(tenant, transfer("k")))
        await eventually_some(admin, "wait_event_type = 'Lock'")
        assert isinstance(await engine.run(other, transfer("k")), Recorded)
        assert not blocked.done()
    assert isinstance(await blocked, Recorded)


async def test_time_never_runs_backwards_within_a_tenant(
    shared_database: Database, make_engine: MakeEngine, tenant: UUID
) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=1)
    clocks = [ahead, ahead - timedelta(days=1), ahead + timedelta(microseconds=1), ahead]
    skewed = await make_engine(clock=iter(clocks).__next__)
    times = [entries_of([await skewed.run(tenant, transfer(f"{n}"))])[0].recorded_at for n in range(4)]
    assert times == [ahead, ahead, clocks[2], clocks[2]]
    await verified(shared_database, tenant)


async def test_engines_side_by_side_open_no_more_accounts_than_the_tenant_may_have(
    shared_database: Database, make_engine: MakeEngine
) -> None:
    engines = [await make_engine(max_accounts=50, max_batch=7) for _ in range(3)]
    tenant_id = (await new_tenant(shared_database)).tenant_id
    outcomes = await run_all(engines, tenant_id, [opening(f"user:{n}") for n in range(120)])
    assert refusals(outcomes) == ["too_many_accounts"] * 70
    assert (await verified(shared_database, tenant_id)).entries == 50
    # The same requests again open nothing more; with a larger quota the others are opened too.
    again = await run_all(engines, tenant_id, [opening(f"user:{n}") for n in range(120)])
    assert Counter(map(type, again)) == {Replayed: 50, Refused: 70}
    wider = await make_engine(max_accounts=119)
    assert refusals(await run_all([wider], tenant_id, [opening(f"user:{n}") for n in range(120)])) == [
        "too_many_accounts"
    ]
