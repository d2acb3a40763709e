"""A large journal, made in the database: one account that every transaction touches, and its projections.

Its hashes chain nothing; reads and projections do not look at that. One in `rare` transactions has a category and
metadata of its own, the next is a hold, and the next of a large amount: filters find these seldom, the others often.
"""

from datetime import datetime
from typing import LiteralString
from uuid import UUID

import psycopg

from ledgerx import database as db
from ledgerx.logins import Database
from ledgerx.tenancy import create_tenant
from ledgerx_streams.backfill import ENTRIES_PER_PAGE, read_page
from ledgerx_streams.projections.balances import BALANCES
from ledgerx_streams.projections.volumes import VOLUMES
from ledgerx_streams.projector import Projector

FIRST_AT = datetime.fromisoformat("2100-01-01T00:00:00Z")
USERS = 1_000
# So many transactions are of each rare kind.
RARE = 10
# Nobody reads what an opening entry says here.
_CHANGE = (
    '{"account":"a","account_id":1,"asset":"USD","max_balance":null,"min_balance":null,"scale":2,"status":"open",'
    '"type":"asset"}'
)
# Entry 1 is `bank`, the next are `users:0` and so on; each transaction is one cent from a user to the bank. Every
# `dated`th has an effective time of its own, from 30 days before to 10 days after it was recorded.
_FILL: tuple[LiteralString, ...] = (
    """
    INSERT INTO ledgerx.entries (tenant_id, seq, recorded_at, kind, actor, change, hash)
    SELECT %(tenant_id)s, n, %(first_at)s, 'open_account', 'test', %(change)s, sha256(n::text::bytea)
    FROM generate_series(1, %(users)s + 1) AS n
    """,
    """
    INSERT INTO ledgerx.accounts (tenant_id, account_id, code, asset, scale, type, opened_at, seq)
    SELECT %(tenant_id)s, n, CASE n WHEN 1 THEN 'bank' ELSE 'users:' || n - 2 END, 'USD', 2,
        CASE n WHEN 1 THEN 'asset' ELSE 'liability' END, %(first_at)s, n
    FROM generate_series(1, %(users)s + 1) AS n
    """,
    """
    INSERT INTO ledgerx.entries (
        tenant_id, seq, recorded_at, effective_at, kind, actor, idempotency_key, reference, category, metadata, hash
    )
    SELECT %(tenant_id)s, n, %(first_at)s::timestamptz + n * interval '1 minute',
        CASE WHEN n %% %(dated)s = 0 THEN
            %(first_at)s::timestamptz + n * interval '1 minute'
            - (n::bigint * 7919 %% 57600 - 14400) * interval '1 minute' END,
        CASE WHEN n %% %(rare)s = 1 THEN 'hold' ELSE 'post' END, 'test', 'k' || n, 'r' || n,
        CASE WHEN n %% %(rare)s = 0 THEN 'rare' ELSE 'c' || n %% 7 END,
        CASE WHEN n %% %(rare)s = 0 THEN '{"channel":"post"}' WHEN n %% 10 = 0 THEN '{"channel":"web"}' END,
        sha256(n::text::bytea)
    FROM generate_series(%(users)s + 2, %(last)s) AS n
    """,
    """
    INSERT INTO ledgerx.search_terms (tenant_id, subject, key, value, seq)
    SELECT %(tenant_id)s, 'transaction', 'channel', (metadata::jsonb -> 'channel')::text, seq
    FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND metadata IS NOT NULL
    """,
    """
    INSERT INTO ledgerx.postings (tenant_id, seq, account_id, line, layer, amount, effective_at)
    SELECT %(tenant_id)s, e.seq, CASE line WHEN 0 THEN 1 ELSE e.seq %% %(users)s + 2 END, line,
        CASE e.kind WHEN 'hold' THEN line + 1 ELSE 0 END,
        (1 - 2 * line) * CASE WHEN e.seq %% %(rare)s = 2 THEN 100000000 ELSE 1 END, e.effective_at
    FROM ledgerx.entries AS e CROSS JOIN generate_series(0, 1) AS line
    WHERE e.tenant_id = %(tenant_id)s AND e.kind IN ('post', 'hold') ORDER BY e.seq, line
    """,
    """
    INSERT INTO ledgerx.open_holds (tenant_id, seq)
    SELECT tenant_id, seq FROM ledgerx.entries WHERE tenant_id = %(tenant_id)s AND kind = 'hold'
    """,
    """
    UPDATE ledgerx.heads AS h
    SET seq = e.seq, hash = e.hash, recorded_at = e.recorded_at, accounts = %(users)s + 1
    FROM ledgerx.entries AS e
    WHERE h.tenant_id = %(tenant_id)s AND e.tenant_id = %(tenant_id)s AND e.seq = %(last)s
    """,
)


async def make_large_journal(database: Database, name: str, *, transactions: int, dated: int) -> UUID:
    """A new tenant with so many transactions, every `dated`th of them with an effective time of its own."""
    async with await db.connect(database.owner_url, application_name="test") as connection:
        tenant_id = await create_tenant(connection, name)
    await project(database, tenant_id, fill_journal(database, tenant_id, transactions=transactions, dated=dated))
    return tenant_id


def fill_journal(database: Database, tenant_id: UUID, *, transactions: int, dated: int) -> int:
    """Fill the empty journal of a tenant and return its last entry; no projection has any of it."""
    last = USERS + 1 + transactions
    parameters = {"tenant_id": tenant_id, "users": USERS, "last": last, "first_at": FIRST_AT, "dated": dated}
    parameters |= {"change": _CHANGE, "rare": transactions // RARE}
    with psycopg.connect(database.admin_url) as filling:
        for statement in _FILL:
            filling.execute(statement, parameters)
    return last


async def project(database: Database, tenant_id: UUID, last: int) -> None:
    """Bring the projections that reads go by up to an entry."""
    async with db.pool(database.streams_url, application_name="test", max_size=2, durable=False) as pool:
        projectors = [Projector(projection, pool) for projection in (BALANCES, VOLUMES)]
        for first in range(1, last + 1, ENTRIES_PER_PAGE):
            async with pool.connection() as connection:
                page = await read_page(connection, tenant_id, first=first, last=last)
            assert page is not None
            for projector in projectors:
                await projector.apply(tenant_id, [page])
