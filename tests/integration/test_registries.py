"""Assets, categories and settings on a real Postgres: races, what is kept, and those who declare them."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from ledgerx import database as db
from ledgerx.commands import (
    AnyCommand,
    ChangeSettings,
    CreateAsset,
    CreateCategory,
    DeleteAsset,
    DeleteCategory,
    UpdateAsset,
    UpdateCategory,
)
from ledgerx.database import Pool
from ledgerx.engine import Engine
from ledgerx.errors import BatchRefused, NotFound
from ledgerx.journal import AccountState
from ledgerx.logins import Database
from ledgerx.outcomes import Outcome, Recorded, Refused, Replayed
from ledgerx.registries import (
    WantedAsset,
    ensure_assets,
    ensure_strict_categories,
    read_asset,
    read_assets,
    read_category,
    read_registry,
)
from ledgerx.tenancy import create_tenant
from tests.commands import envelope, opening, transfer
from tests.integration.journals import report_of
from tests.integration.ledger_client import new_tenant
from tests.integration.up_process import ledgerx


@pytest.fixture
async def pool(shared_database: Database) -> AsyncIterator[Pool]:
    async with db.pool(shared_database.api_url, application_name="test", max_size=4) as pool:
        yield pool


@pytest.fixture
async def engines(pool: Pool) -> AsyncIterator[list[Engine]]:
    """Two engines, as two processes have them."""
    engines = [Engine(pool), Engine(pool)]
    yield engines
    for engine in engines:
        await engine.drain()


@pytest.fixture
async def tenant(shared_database: Database, engines: list[Engine]) -> UUID:
    """A tenant with two accounts in US dollars."""
    tenant_id = (await new_tenant(shared_database)).tenant_id
    await engines[0].run_atomic(tenant_id, [opening("bank"), opening("user")])
    return tenant_id


async def run(engines: list[Engine], tenant_id: UUID, *commands: AnyCommand) -> list[Outcome]:
    """Give the commands to the engines in turn, all at once."""
    return await asyncio.gather(
        *(engines[number % len(engines)].run(tenant_id, command) for number, command in enumerate(commands))
    )


def told(outcomes: list[Outcome]) -> list[str]:
    return [outcome.error.code if isinstance(outcome, Refused) else "" for outcome in outcomes]


async def test_what_is_registered_is_kept_and_answered_again(
    shared_database: Database, pool: Pool, engines: list[Engine], tenant: UUID
) -> None:
    registered: list[AnyCommand] = [
        CreateAsset(code="BTC", scale=8, name="Bitcoin", **envelope("a1")),
        CreateAsset(code="GONE", scale=1, **envelope("a2")),
        UpdateAsset(code="GONE", name="gone", **envelope("a3")),
        DeleteAsset(code="GONE", **envelope("a4")),
        CreateCategory(code="food", description="d", **envelope("c1")),
        UpdateCategory(code="food", name="Food", **envelope("c2")),
        CreateCategory(code="gone", **envelope("c3")),
        DeleteCategory(code="gone", **envelope("c4")),
        ChangeSettings(strict_categories=True, **envelope("s1")),
    ]
    outcomes = await engines[0].run_atomic(tenant, registered)
    assert told(list(outcomes)) == [""] * 9
    again = await engines[1].run_all(tenant, registered)
    assert [outcome.entry for outcome in again if isinstance(outcome, Replayed)] == [
        outcome.entry for outcome in outcomes if isinstance(outcome, Recorded)
    ]
    asset = await read_asset(pool, tenant, "BTC")
    assert (asset.scale, asset.name, asset.seq) == (8, "Bitcoin", 3)
    with pytest.raises(NotFound):
        await read_asset(pool, tenant, "GONE")
    assert (await read_category(pool, tenant, "food")).name == "Food"
    registry = await read_registry(pool, tenant)
    assert (registry.assets, registry.categories, registry.strict_categories) == (1, 1, True)
    report = await report_of(shared_database, tenant)
    assert report.findings == []


async def test_no_category_gets_in_that_is_deleted_meanwhile(
    shared_database: Database, engines: list[Engine], tenant: UUID
) -> None:
    await run(engines, tenant, CreateCategory(code="a", **envelope("a")))
    await run(engines, tenant, ChangeSettings(strict_categories=True, **envelope("strict")))
    commands: list[AnyCommand] = []
    for n in range(40):
        commands += [transfer(f"{n}:{m}", category="a") for m in range(4)]
        commands.append(DeleteCategory(code="a", **envelope(f"delete {n}")))
        commands.append(CreateCategory(code="a", **envelope(f"create {n}")))
    outcomes = await run(engines, tenant, *commands)
    codes = set(told(outcomes))
    assert codes <= {"", "unknown_category", "not_found", "category_exists"}
    # An audit knows which categories there were at each transaction.
    report = await report_of(shared_database, tenant)
    assert report.findings == []
    assert report.transactions == sum(
        isinstance(outcome, Recorded) and bool(outcome.entry.postings) for outcome in outcomes
    )


async def test_categories_become_strict_for_all_engines_at_once(
    shared_database: Database, engines: list[Engine], tenant: UUID
) -> None:
    commands: list[AnyCommand] = []
    for n in range(30):
        commands += [transfer(f"{n}:{m}", category="unknown") for m in range(5)]
        commands.append(ChangeSettings(strict_categories=n % 2 == 0, **envelope(f"set {n}")))
    outcomes = await run(engines, tenant, *commands)
    assert set(told(outcomes)) == {"", "unknown_category"}
    assert (await report_of(shared_database, tenant)).findings == []


async def test_an_asset_gets_one_scale_in_a_race(
    shared_database: Database, engines: list[Engine], tenant: UUID
) -> None:
    commands: list[AnyCommand] = []
    for n in range(20):
        commands += [
            CreateAsset(code="X", scale=n % 5, **envelope(f"create {n}")),
            opening(f"x:{n}", asset="X"),
            CreateAsset(code="EUR", scale=n % 5, **envelope(f"euro {n}")),
            opening(f"e:{n}", asset="EUR"),
            DeleteAsset(code=("X", "EUR")[n % 2], **envelope(f"delete {n}")),
        ]
    outcomes = await run(engines, tenant, *commands)
    last: list[AnyCommand] = [
        CreateAsset(code="X", scale=3, **envelope("last")),
        opening("x", asset="X"),
        opening("e", asset="EUR"),
    ]
    outcomes += await engines[0].run_all(tenant, last)
    changes = [outcome.entry.change for outcome in outcomes if isinstance(outcome, Recorded)]
    accounts = [change for change in changes if isinstance(change, AccountState)]
    assert {account.asset for account in accounts} == {"X", "EUR"}
    assert len({(account.asset, account.scale) for account in accounts}) == 2
    assert (await report_of(shared_database, tenant)).findings == []


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (CreateAsset(code="usd", scale=2, **envelope("1")), "invalid_field"),
        (CreateAsset(code="A" * 33, scale=2, **envelope("1")), "invalid_field"),
        (CreateAsset(code="A-", scale=2, **envelope("1")), "invalid_field"),
        (CreateAsset(code="A", scale=19, **envelope("1")), "invalid_field"),
        (CreateAsset(code="A", scale=-1, **envelope("1")), "invalid_field"),
        (CreateAsset(code="A", scale=2**40, **envelope("1")), "malformed"),
        (CreateAsset(code="A", scale=2, name="\0", **envelope("1")), "malformed"),
        (CreateCategory(code="a b", **envelope("1")), "invalid_field"),
        (CreateCategory(code="", **envelope("1")), "invalid_field"),
    ],
)
async def test_what_the_database_refuses_harms_no_neighbour(
    shared_database: Database, engines: list[Engine], tenant: UUID, command: AnyCommand, code: str
) -> None:
    outcomes = await run(engines[:1], tenant, transfer("before"), command, transfer("after"))
    assert told(outcomes) == ["", code, ""]
    assert (await report_of(shared_database, tenant)).findings == []


async def test_trying_registers_nothing(pool: Pool, engines: list[Engine], tenant: UUID) -> None:
    commands: list[AnyCommand] = [
        CreateAsset(code="X", scale=1, **envelope("1")),
        opening("x", asset="X"),
        CreateCategory(code="a", **envelope("2")),
        ChangeSettings(strict_categories=True, **envelope("3")),
        transfer("4", category="a"),
        transfer("5", category="b"),
    ]
    assert told(list(await engines[0].try_all(tenant, commands))) == [""] * 5 + ["unknown_category"]
    assert (await read_registry(pool, tenant)).assets == 0


async def test_assets_are_listed_in_the_order_of_their_codes(pool: Pool, engines: list[Engine], tenant: UUID) -> None:
    for code, scale in (("BTC", 8), ("JPY", 2), ("A", 0), ("ZZZ", 1)):
        await run(engines, tenant, CreateAsset(code=code, scale=scale, **envelope(code)))
    own = await read_assets(pool, tenant, after="", limit=9, registered=True)
    assert [(asset.code, asset.scale) for asset in own] == [("A", 0), ("BTC", 8), ("JPY", 2), ("ZZZ", 1)]
    others = await read_assets(pool, tenant, after="", limit=999, registered=False)
    both = await read_assets(pool, tenant, after="", limit=999)
    assert [asset.code for asset in both] == sorted(asset.code for asset in [*own, *others])
    assert {asset.code: asset.seq is None for asset in others} == {asset.code: True for asset in others}
    assert (
        {"EUR", "USD"}
        < {asset.code for asset in others}
        == {asset.code for asset in both} - {*"A", "BTC", "JPY"} - {"ZZZ"}
    )
    for registered, everything in ((True, own), (False, others), (None, both)):
        paged, after = [], ""
        while page := await read_assets(pool, tenant, after=after, limit=3, registered=registered):
            paged += page
            after = page[-1].code
        assert paged == everything


# Verification.


@pytest.fixture
async def admin(shared_database: Database) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
    async with await psycopg.AsyncConnection.connect(shared_database.admin_url, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE ledgerx.assets SET scale = 9 WHERE tenant_id = %s", 'the asset "BTC"'),
        ("UPDATE ledgerx.assets SET name = 'other' WHERE tenant_id = %s", 'the asset "BTC"'),
        ("UPDATE ledgerx.assets SET code = 'BTX' WHERE tenant_id = %s", 'the asset "BTC"'),
        ("DELETE FROM ledgerx.assets WHERE tenant_id = %s", 'the asset "BTC"'),
        ("UPDATE ledgerx.categories SET description = 'x' WHERE tenant_id = %s", 'the category "food"'),
        ("DELETE FROM ledgerx.categories WHERE tenant_id = %s", 'the category "food"'),
        ("INSERT INTO ledgerx.categories VALUES (%s, 'new', null, null, 1)", 'the category "new"'),
        ("UPDATE ledgerx.heads SET strict_categories = false WHERE tenant_id = %s", "the head"),
        ("UPDATE ledgerx.heads SET categories = 0 WHERE tenant_id = %s", "the head"),
        ("UPDATE ledgerx.heads SET settings_seq = 0 WHERE tenant_id = %s", "the head"),
    ],
)
async def test_verify_finds_a_registry_that_was_tampered_with(
    shared_database: Database,
    engines: list[Engine],
    tenant: UUID,
    admin: psycopg.AsyncConnection[tuple[Any, ...]],
    statement: LiteralString,
    found: str,
) -> None:
    await engines[0].run_atomic(
        tenant,
        [
            CreateAsset(code="BTC", scale=8, **envelope("1")),
            CreateCategory(code="food", **envelope("2")),
            ChangeSettings(strict_categories=True, **envelope("3")),
        ],
    )
    assert (await report_of(shared_database, tenant)).ok
    assert (await admin.execute(statement, (tenant,))).rowcount == 1
    assert (await report_of(shared_database, tenant)).findings[0].what.startswith(found)


# Those who declare a tenant.


async def test_declared_assets_are_brought_about_once(pool: Pool, engines: list[Engine], tenant: UUID) -> None:
    async def ensure(*wanted: WantedAsset) -> int:
        return await ensure_assets(pool, engines[0], tenant, wanted, actor="operator")

    btc, pts = WantedAsset(code="BTC", scale=8), WantedAsset(code="PTS", scale=0, name="Points")
    assert [await ensure(btc, pts), await ensure(pts, btc), await ensure(btc), await ensure()] == [2, 0, 0, 0]
    assert await ensure(WantedAsset(code="PTS", scale=2, name="Points"), btc) == 2
    assert await ensure(WantedAsset(code="BTC", scale=8, name="Bitcoin")) == 1
    await run(engines, tenant, opening("points", asset="PTS"))
    with pytest.raises(BatchRefused) as caught:
        await ensure(WantedAsset(code="NEW", scale=1), pts)
    assert caught.value.extra["problem"]["code"] == "asset_in_use"
    own = await read_assets(pool, tenant, after="", limit=9, registered=True)
    assert [(asset.code, asset.scale, asset.name) for asset in own] == [("BTC", 8, "Bitcoin"), ("PTS", 2, "Points")]


async def test_strict_categories_are_brought_about_once(pool: Pool, engines: list[Engine], tenant: UUID) -> None:
    changes = [
        await ensure_strict_categories(pool, engines[0], tenant, strict=strict, actor="operator")
        for strict in (False, True, True, False)
    ]
    assert changes == [False, True, False, True]
    assert (await read_registry(pool, tenant)).settings_seq == 4
    with pytest.raises(NotFound):
        await ensure_strict_categories(pool, engines[0], uuid4(), strict=True, actor="operator")


async def test_the_command_sets_them_and_an_exported_journal_knows(
    shared_database: Database, pool: Pool, engines: list[Engine], tmp_path: Path
) -> None:
    name = f"test/{secrets.token_hex(6)}"
    async with await db.connect(shared_database.owner_url, application_name="test") as connection:
        tenant_id = await create_tenant(connection, name)
    done = await ledgerx(shared_database, "tenant", "categories", name, "strict")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    await engines[0].run_all(
        tenant_id,
        [
            CreateAsset(code="BTC", scale=8, name="₿", **envelope("1")),
            opening("a", asset="BTC", max_balance="0.00000002"),
            opening("b", asset="BTC"),
            CreateCategory(code="food", **envelope("2")),
            transfer("3", "0.00000001", debit="b", credit="a", category="food"),
        ],
    )
    path = tmp_path / "journal.jsonl"
    written = await ledgerx(shared_database, "export-journal", "--tenant", name, "--output", str(path))
    assert written.returncode == 0, written.stderr
    assert '"change":{"asset":"BTC","name":"₿","scale":8}' in path.read_text()
    stored = await ledgerx(shared_database, "verify", "--tenant", name, "--json")
    offline = await ledgerx(None, "verify", "--file", str(path), "--json")
    assert (offline.returncode, offline.stdout) == (0, stored.stdout)
    path.write_text(path.read_text().replace('{"asset":"BTC","name":"₿","scale":8}', '{"asset":"BTC","scale":"8"}'))
    forged = await ledgerx(None, "verify", "--file", str(path))
    assert forged.returncode == 1
    assert "cannot be read" in forged.stdout
    unknown = await ledgerx(shared_database, "tenant", "categories", "nobody", "free")
    assert (unknown.returncode, unknown.stderr) == (1, 'ledgerx: there is no tenant named "nobody"\n')
    assert (await read_registry(pool, tenant_id)).strict_categories
