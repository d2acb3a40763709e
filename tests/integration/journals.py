"""Journals written by the engine, for the tests of what the streams make of them."""

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow

from ledgerx import database as db
from ledgerx.commands import (
    Amend,
    AnyCommand,
    ChangeSettings,
    CreateAsset,
    CreateCategory,
    DeleteAsset,
    DeleteCategory,
    Direction,
    Hold,
    Line,
    OpenAccount,
    Post,
)
from ledgerx.engine import Engine
from ledgerx.events import decode
from ledgerx.journal import AccountType
from ledgerx.logins import Database
from ledgerx.merkle import Tree, leaf_hash
from ledgerx.outcomes import Recorded
from ledgerx.tenancy import create_tenant
from ledgerx.tiles import additions
from ledgerx.verify import Report, verify
from ledgerx_streams.catalog import PROJECTIONS

_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
# What the projections of some tenants are, and what they have to be from the postings alone.
_BALANCES = "SELECT * FROM ledgerx.balances WHERE tenant_id = ANY(%s) ORDER BY tenant_id, account_id"
_EXPECTED_BALANCES = """
    SELECT tenant_id, account_id, coalesce(sum(amount) FILTER (WHERE layer = 0), 0),
        coalesce(sum(amount) FILTER (WHERE layer = 1), 0), coalesce(sum(amount) FILTER (WHERE layer = 2), 0), max(seq),
        count(*)
    FROM ledgerx.postings WHERE tenant_id = ANY(%s) GROUP BY tenant_id, account_id ORDER BY tenant_id, account_id
"""
_MARKS = "SELECT * FROM ledgerx.marks WHERE tenant_id = ANY(%s) ORDER BY tenant_id, account_id, seq, line"
_EXPECTED_MARKS = """
    SELECT * FROM (
        SELECT tenant_id, account_id, seq, line, row_number() OVER upto AS postings,
            coalesce(sum(amount) FILTER (WHERE layer = 0) OVER upto, 0),
            coalesce(sum(amount) FILTER (WHERE layer = 1) OVER upto, 0),
            coalesce(sum(amount) FILTER (WHERE layer = 2) OVER upto, 0)
        FROM ledgerx.postings WHERE tenant_id = ANY(%s)
        WINDOW upto AS (PARTITION BY tenant_id, account_id ORDER BY seq, line)
    ) AS running WHERE postings %% 1000 = 0 ORDER BY tenant_id, account_id, seq, line
"""
_VOLUMES = """
    SELECT * FROM ledgerx.daily_volumes WHERE tenant_id = ANY(%s) AND postings <> 0
    ORDER BY tenant_id, account_id, day, category
"""
_EXPECTED_VOLUMES = """
    SELECT tenant_id, account_id, (coalesce(e.effective_at, recorded_at) AT TIME ZONE time_zone)::date AS day,
        coalesce(CASE WHEN now.seq IS NULL THEN e.category ELSE now.category END, '') COLLATE "C" AS category,
        sum(greatest(amount, 0)), sum(greatest(-amount, 0)), count(*)
    FROM ledgerx.postings AS p JOIN ledgerx.entries AS e USING (tenant_id, seq) JOIN ledgerx.tenants USING (tenant_id)
    LEFT JOIN LATERAL (
        SELECT seq, category FROM ledgerx.entries
        WHERE tenant_id = p.tenant_id AND target_seq = p.seq AND kind = 'amend' ORDER BY seq DESC LIMIT 1
    ) AS now ON true
    WHERE tenant_id = ANY(%s) AND layer = 0
    GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
_DATED_MARKS = """
    SELECT tenant_id, account_id, seq, line, postings
    FROM ledgerx.dated_marks WHERE tenant_id = ANY(%s) ORDER BY 1, 2, 3, 4
"""
_EXPECTED_DATED_MARKS = """
    SELECT * FROM (
        SELECT tenant_id, account_id, seq, line, row_number() OVER (
            PARTITION BY tenant_id, account_id ORDER BY seq, line
        ) AS postings
        FROM ledgerx.postings WHERE tenant_id = ANY(%s) AND effective_at IS NOT NULL
    ) AS numbered WHERE postings %% 1000 = 0 ORDER BY 1, 2, 3, 4
"""
# What each block holds, and what it has to from the postings between its key and the next one's.
_BLOCKS = """
    SELECT tenant_id, account_id, effective_at, seq, line, postings, first_seq, posted
    FROM ledgerx.dated_blocks WHERE tenant_id = ANY(%s) ORDER BY 1, 2, 3, 4, 5
"""
_EXPECTED_BLOCKS = """
    SELECT b.tenant_id, b.account_id, b.effective_at, b.seq, b.line, count(*), min(p.seq), sum(p.amount)
    FROM (
        SELECT *, lead(ROW(effective_at, seq, line)) OVER (
            PARTITION BY tenant_id, account_id ORDER BY effective_at, seq, line
        ) AS ending
        FROM ledgerx.dated_blocks
    ) AS b
    JOIN ledgerx.postings AS p ON p.tenant_id = b.tenant_id AND p.account_id = b.account_id
        AND ROW(p.effective_at, p.seq, p.line) >= ROW(b.effective_at, b.seq, b.line)
        AND (b.ending IS NULL OR ROW(p.effective_at, p.seq, p.line) < b.ending)
    WHERE b.tenant_id = ANY(%s) AND p.effective_at IS NOT NULL
    GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""
_AUDITS = "SELECT tenant_id, seq, hash FROM ledgerx.audits WHERE tenant_id = ANY(%s) ORDER BY tenant_id"
_EXPECTED_AUDITS = "SELECT tenant_id, seq, hash FROM ledgerx.heads WHERE tenant_id = ANY(%s) ORDER BY tenant_id"
_HASHES = "SELECT tenant_id, hash FROM ledgerx.entries WHERE tenant_id = ANY(%s) ORDER BY tenant_id, seq"
_TILES = "SELECT tenant_id, level, index, hashes FROM ledgerx.merkle_tiles WHERE tenant_id = ANY(%s)"
_PROJECTED = (
    (_BALANCES, _EXPECTED_BALANCES),
    (_MARKS, _EXPECTED_MARKS),
    (_VOLUMES, _EXPECTED_VOLUMES),
    (_DATED_MARKS, _EXPECTED_DATED_MARKS),
    (_BLOCKS, _EXPECTED_BLOCKS),
    (_AUDITS, _EXPECTED_AUDITS),
)


class Journal:
    """The journal of one tenant."""

    def __init__(self, database: Database, engine: Engine, tenant_id: UUID) -> None:
        self.tenant_id = tenant_id
        self._database = database
        self._engine = engine

    async def open_accounts(self) -> None:
        """Open `bank` and `users:0` to `users:4`, in one batch of six entries."""
        codes = [("bank", AccountType.ASSET), *((f"users:{number}", AccountType.LIABILITY) for number in range(5))]
        await self._record(*(OpenAccount(**_request(), code=code, asset="USD", type=kind) for code, kind in codes))

    async def register(self) -> None:
        """Record changes that touch no account."""
        commands = CreateAsset(**_request(), code="PTS", scale=0), CreateCategory(**_request(), code="c")
        await self._record(*commands, ChangeSettings(**_request(), strict_categories=True))
        await self._record(DeleteCategory(**_request(), code="c"), DeleteAsset(**_request(), code="PTS"))
        await self._record(ChangeSettings(**_request(), strict_categories=False))

    async def hold(self, *, expires_in_s: float) -> None:
        """Record a hold of `bank` and a user."""
        lines = (Line("bank", Direction.DEBIT, "1.00"), Line("users:0", Direction.CREDIT, "1.00"))
        expires_at = datetime.now(UTC) + timedelta(seconds=expires_in_s)
        await self._record(Hold(**_request(), lines=lines, expires_at=expires_at))

    async def amend(self, target: int, category: str | None) -> None:
        """Move a transaction to a category."""
        await self._record(Amend(**_request(), target=target, category=category))

    async def post(self, transactions: int, *, lines: int = 1) -> None:
        """Record transactions as one batch, each with as many debits of `bank` and one credit of a user.

        Two of three have an effective time of their own, before or after one another, and every other a category.
        """
        await self._record(
            *(
                Post(
                    **_request(),
                    lines=(
                        *[Line("bank", Direction.DEBIT, "0.01")] * lines,
                        Line(f"users:{number % 5}", Direction.CREDIT, f"{lines / 100:.2f}"),
                    ),
                    effective_at=_NOON + timedelta(hours=number * 31 % 48) if number % 3 else None,
                    category="c" if number % 2 else None,
                )
                for number in range(transactions)
            )
        )

    def payloads(self) -> list[bytes]:
        """The values of the journal topic so far, one for each batch."""
        with psycopg.connect(self._database.admin_url) as connection:
            rows = connection.execute(
                "SELECT payload FROM ledgerx.outbox WHERE tenant_id = %s ORDER BY first_seq", (self.tenant_id,)
            )
            return [payload.encode() for (payload,) in rows]

    @property
    def last(self) -> int:
        """The number of the last entry."""
        return decode(self.payloads()[-1]).last

    async def _record(self, *commands: AnyCommand) -> None:
        outcomes = await asyncio.gather(*(self._engine.run(self.tenant_id, command) for command in commands))
        assert all(isinstance(outcome, Recorded) for outcome in outcomes)


@asynccontextmanager
async def open_engine(database: Database) -> AsyncIterator[Engine]:
    """An engine on `database`."""
    async with db.pool(database.api_url, application_name="test", max_size=2) as pool:
        yield Engine(pool)


async def new_journal(database: Database, engine: Engine) -> Journal:
    """A new tenant's journal with its accounts opened."""
    async with await db.connect(database.owner_url, application_name="test") as connection:
        tenant_id = await create_tenant(connection, f"test/{secrets.token_hex(4)}")
    journal = Journal(database, engine, tenant_id)
    await journal.open_accounts()
    return journal


def ends(*journals: Journal) -> dict[tuple[UUID, str], int]:
    """The heads of the projections that hold all of `journals`."""
    return {(journal.tenant_id, projection.name): journal.last for journal in journals for projection in PROJECTIONS}


def assert_projected(database: Database, *journals: Journal) -> None:
    """Assert that the projections hold all of `journals`, and what their postings say."""
    assert ends(*journals).items() <= heads(database).items()
    tenant_ids = [journal.tenant_id for journal in journals]
    with psycopg.connect(database.admin_url) as connection:

        def rows(query: LiteralString) -> list[TupleRow]:
            return connection.execute(query, (tenant_ids,)).fetchall()

        for projected, expected in _PROJECTED:
            assert rows(projected) == rows(expected)
        trees: dict[UUID, Tree] = defaultdict(Tree)
        expected_tiles: dict[tuple[UUID, int, int], bytes] = defaultdict(bytes)
        for tenant_id, entry_hash in rows(_HASHES):
            for place, added in additions(trees[tenant_id].append(leaf_hash(entry_hash))).items():
                expected_tiles[tenant_id, *place] += added
        assert {(tenant_id, *place): hashes for tenant_id, *place, hashes in rows(_TILES)} == expected_tiles


def heads(database: Database) -> dict[tuple[UUID, str], int]:
    """Where each tenant's projections stand."""
    with psycopg.connect(database.admin_url) as connection:
        rows = connection.execute("SELECT tenant_id, projection, seq FROM ledgerx.projections")
        return {(tenant_id, projection): seq for tenant_id, projection, seq in rows}


def _request() -> dict[str, Any]:
    return {"idempotency_key": secrets.token_hex(8), "fingerprint": b"test", "actor": "test"}


async def report_of(database: Database, tenant_id: UUID) -> Report:
    """What is found when a tenant's journal and projections are verified."""
    async with await db.connect(database.owner_url, application_name="test") as connection:
        return await verify(connection, tenant_id)
