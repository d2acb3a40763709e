"""What exports read: transactions, accounts and snapshots, in short pages.

Everything is as it was at the entry of the export. The journal is only ever appended to, so the pages need no common
snapshot: each is a short statement or two, and no vacuum and no writer waits for an export.
"""

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec

from ledgerx import rows
from ledgerx.database import Pool, Queries, tenant_scope
from ledgerx.journal import Entry
from ledgerx.reading import AccountRecord
from ledgerx.search import Found, find_accounts, plan_scan, scan_between
from ledgerx.state import Account, Sums
from ledgerx_streams.exports.tables import Cut

# Bounds what is in memory: entries looked at in one go, the lines read at once of those that fit, and accounts.
ENTRIES_AT_ONCE = 2_000
LINES_AT_ONCE = 2_000
ACCOUNTS_AT_ONCE = 200

_queries = Queries("ledgerx_streams", "sql/exports.sql")


class Captured(NamedTuple):
    """What an account had at the entry `seq`, the last one before the moment of a snapshot."""

    account: Account
    seq: int
    taken_at: datetime
    sums: Sums


async def entry_pages(pool: Pool, cut: Cut) -> AsyncGenerator[tuple[Sequence[Entry], float], None]:
    """The transactions that fit, as amended by the cut, oldest first, and the progress after each page of them."""
    tenant_id = cut.tenant_id
    async with pool.connection() as connection, tenant_scope(connection, tenant_id, snapshot=True):
        scan = await plan_scan(connection, tenant_id, cut.filters.of_transactions, known=cut.seq)
    for after in range(scan.after, scan.upto, ENTRIES_AT_ONCE):
        upto = min(after + ENTRIES_AT_ONCE, scan.upto)
        async with pool.connection() as connection, tenant_scope(connection, tenant_id, snapshot=True):
            seqs = await scan_between(connection, tenant_id, scan, after=after, upto=upto)
            sizes = await connection.execute(_queries.sizes, {"tenant_id": tenant_id, "seqs": seqs}, binary=True)
            found = await sizes.fetchall()
        for chosen in _groups(found):
            async with pool.connection() as connection, tenant_scope(connection, tenant_id, snapshot=True):
                entries = await rows.read_amended(connection, tenant_id, chosen, known=cut.seq)
            yield entries, (chosen[-1] - scan.after) / (scan.upto - scan.after)
        if not found:
            yield [], (upto - scan.after) / (scan.upto - scan.after)


def _groups(sizes: Sequence[Sequence[int]]) -> list[list[int]]:
    """Transactions, given by number and count of lines, in runs of at most `LINES_AT_ONCE` lines or of one."""
    groups: list[list[int]] = []
    lines = 0
    for seq, count in sizes:
        if not groups or lines + count > LINES_AT_ONCE:
            groups.append([])
            lines = 0
        groups[-1].append(seq)
        lines += count
    return groups


async def account_pages(pool: Pool, cut: Cut) -> AsyncGenerator[tuple[Sequence[Account], float], None]:
    """The accounts that fit, by code, and the progress after each page of them."""
    done = 0
    total = await _accounts_in_all(pool, cut.tenant_id)
    after = ""
    more = True
    while more:
        found = await _accounts(pool, cut, after)
        done += len(found.items)
        more, after = found.following is not None, found.following or after
        opened = [record.account for record in found.items if record.account.account_id <= cut.seq]
        yield opened, min(done / total, 1) if total and more else 1


async def snapshot_pages(pool: Pool, cut: Cut) -> AsyncGenerator[tuple[Sequence[Captured], float], None]:
    """Balances in snapshots up to the cut of the accounts that fit, by code and moment, and the progress.

    What is taken meanwhile is beyond the last of these snapshots, and none is dropped while an export of them runs.
    """
    count, first, last = await _snapshots_between(pool, cut)
    together = max(1, LINES_AT_ONCE // count) if count else ACCOUNTS_AT_ONCE
    async for accounts, progress in account_pages(pool, cut):
        for start in range(0, len(accounts), together):
            chosen = accounts[start : start + together]
            after = first - 1
            while after < last:
                captured, after = await _captured(pool, cut.tenant_id, chosen, after, last)
                yield captured, progress
        yield [], progress


async def read_sums(
    pool: Pool, cut: Cut, account_ids: Sequence[int], effective_at: datetime | None = None
) -> list[Sums]:
    """The sums of accounts at the cut, in the order of `account_ids`."""
    parameters = {
        "tenant_id": cut.tenant_id,
        "account_ids": list(account_ids),
        "effective_at": effective_at,
        "upto": cut.seq,
    }
    async with pool.connection() as connection:
        async with tenant_scope(connection, cut.tenant_id, read_only=True):
            cursor = await connection.execute(_queries.sums, parameters, binary=True)
        return [rows.sums(*row) for row in await cursor.fetchall()]


async def _accounts(pool: Pool, cut: Cut, after: str) -> Found[AccountRecord, str]:
    filters = cut.filters.of_accounts
    if cut.filters.account is not None:
        # One that is not there, or does not fit, is none.
        filters = msgspec.structs.replace(filters, prefix=cut.filters.account)
    found = await find_accounts(pool, cut.tenant_id, filters, confined_to=None, after=after, limit=ACCOUNTS_AT_ONCE)
    if cut.filters.account is None:
        return found
    return Found([record for record in found.items if record.account.code == cut.filters.account], None)


async def _accounts_in_all(pool: Pool, tenant_id: UUID) -> int:
    async with pool.connection() as connection:
        async with tenant_scope(connection, tenant_id, read_only=True):
            cursor = await connection.execute(_queries.accounts_in_all, {"tenant_id": tenant_id})
        row = await cursor.fetchone()
    count: int = 0 if row is None else row[0]
    return count


async def _snapshots_between(pool: Pool, cut: Cut) -> tuple[int, int, int]:
    """How many snapshots are wanted, and the entries of the first and the last of them."""
    filters = cut.filters
    parameters = {
        "tenant_id": cut.tenant_id,
        "upto": cut.seq,
        "taken_from": filters.taken_from,
        "taken_to": filters.taken_to,
        "as_of": filters.as_of,
    }
    async with pool.connection() as connection, tenant_scope(connection, cut.tenant_id):
        # Whoever drops snapshots is done for now, and sees this export from now on.
        await connection.execute(_queries.await_pruning, {"tenant_id": cut.tenant_id})
        cursor = await connection.execute(_queries.snapshots_between, parameters)
        [(count, first, last)] = await cursor.fetchall()
    return count, first, last


async def _captured(
    pool: Pool, tenant_id: UUID, accounts: Sequence[Account], after: int, last: int
) -> tuple[Sequence[Captured], int]:
    """Balances of accounts in the next snapshots after one, and the last of those."""
    parameters = {
        "tenant_id": tenant_id,
        "account_ids": [account.account_id for account in accounts],
        "after": after,
        "last": last,
        "limit": LINES_AT_ONCE,
    }
    async with pool.connection() as connection:
        async with tenant_scope(connection, tenant_id, read_only=True):
            cursor = await connection.execute(_queries.captured, parameters, binary=True)
        found = await cursor.fetchall()
    captured = [
        Captured(accounts[place - 1], seq, taken_at, Sums() if posted is None else rows.sums(posted, *pending))
        for place, seq, taken_at, posted, *pending in found
        if place is not None
    ]
    return captured, max((row[1] for row in found), default=last)
