"""What an export can hold, read in pages: each dataset has columns, and rows of plain values in their order.

Everything is as it was at the entry of the export. The journal is only ever appended to, so the pages need no common
snapshot: each is a short statement or two, and no vacuum and no writer waits for an export. Another dataset is another
`Dataset` here: its columns, and a reader of its pages.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime
from enum import Enum, auto
from typing import Any, NamedTuple, TypeAlias
from uuid import UUID

import msgspec

from ledgerx import exports, rows, shown
from ledgerx.codes import CodeRange, below, exactly
from ledgerx.database import Pool, Queries, tenant_scope
from ledgerx.exports import ExportFilters
from ledgerx.journal import Entry, Posting
from ledgerx.money import from_minor
from ledgerx.reading import AccountRecord
from ledgerx.search import Found, find_accounts, plan_scan, scan_between
from ledgerx.state import Account, Balance, Sums, balance

# Bounds what is in memory: entries looked at in one go, the lines read at once of those that fit, and accounts.
ENTRIES_AT_ONCE = 2_000
LINES_AT_ONCE = 2_000
ACCOUNTS_AT_ONCE = 200

_queries = Queries("ledgerx_streams", "sql/exports.sql")
_encode = msgspec.json.Encoder().encode

Row: TypeAlias = Sequence[Any]


class Kind(Enum):
    """What the values of a column are: `str`, what clients wrote themselves, `int`, `datetime`, `msgspec.Raw`."""

    TEXT = auto()
    FREE_TEXT = auto()
    NUMBER = auto()
    TIME = auto()
    JSON = auto()


class Column(NamedTuple):
    """A column; where it is `optional` JSON leaves it out instead of null, as the API does."""

    name: str
    kind: Kind
    optional: bool = False


class Page(NamedTuple):
    """Some rows, and how far through the dataset they lead, from 0 to 1."""

    rows: Sequence[Row]
    progress: float


class Cut(msgspec.Struct, frozen=True, kw_only=True):
    """Whose data is exported, at which entry it is true, and what of it is wanted."""

    tenant_id: UUID
    seq: int
    recorded_at: datetime | None
    filters: ExportFilters


class Dataset(NamedTuple):
    """Columns, and what reads the rows page by page."""

    columns: Sequence[Column]
    pages: Callable[[Pool, Cut], AsyncGenerator[Page, None]]


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


async def account_pages(pool: Pool, cut: Cut) -> AsyncGenerator[tuple[Sequence[tuple[Account, Balance]], float], None]:
    """The accounts that fit with their balances at the cut, by code, and the progress after each page of them."""
    done = 0
    total = await _accounts_in_all(pool, cut.tenant_id)
    after = ""
    more = True
    while more:
        found = await _accounts(pool, cut, after)
        accounts = [record.account for record in found.items if record.account.account_id <= cut.seq]
        sums = await read_sums(pool, cut, [account.account_id for account in accounts], cut.filters.effective_at)
        balances = [balance(one, account.type) for account, one in zip(accounts, sums, strict=True)]
        done += len(found.items)
        more, after = found.following is not None, found.following or after
        yield list(zip(accounts, balances, strict=True)), min(done / total, 1) if total and more else 1


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


async def _transactions(pool: Pool, cut: Cut) -> AsyncGenerator[Page, None]:
    async for entries, progress in entry_pages(pool, cut):
        yield Page([_transaction(entry, cut.seq) for entry in entries], progress)


async def _postings(pool: Pool, cut: Cut) -> AsyncGenerator[Page, None]:
    fits = _line_filter(cut.filters)
    async for entries, progress in entry_pages(pool, cut):
        page = [
            _posting(entry, number, line, cut.seq)
            for entry in entries
            for number, line in enumerate(entry.postings)
            if fits(line)
        ]
        yield Page(page, progress)


async def _balances(pool: Pool, cut: Cut) -> AsyncGenerator[Page, None]:
    async for found, progress in account_pages(pool, cut):
        yield Page([_balance(account, now, cut) for account, now in found], progress)


def _line_filter(filters: ExportFilters) -> Callable[[Posting], bool]:
    """Whether a line of a transaction that fits is one of those for which it does."""
    ranges: Sequence[CodeRange] | None = None
    if filters.account is not None:
        ranges = exactly(filters.account)
    elif filters.prefix is not None:
        ranges = below(filters.prefix)
    low, high = filters.amount_from, filters.amount_to

    def fits(line: Posting) -> bool:
        if ranges is not None and not any(line.account in one for one in ranges):
            return False
        return _at_least(line, low) and _at_most(line, high)

    return fits


def _at_least(line: Posting, text: str | None) -> bool:
    return text is None or abs(line.amount) * 10 ** _decimals(text) >= _scaled(text, line.scale)


def _at_most(line: Posting, text: str | None) -> bool:
    return text is None or abs(line.amount) * 10 ** _decimals(text) <= _scaled(text, line.scale)


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])


def _scaled(text: str, scale: int) -> int:
    """An amount in minor units times ten to the power of the decimals that it is written with: exact for any number."""
    power: int = 10**scale
    return int(text.replace(".", "")) * power


# When a transaction was recorded and takes effect, and what was said of it.
_SAID = (
    Column("recorded_at", Kind.TIME),
    Column("effective_at", Kind.TIME),
    Column("reference", Kind.FREE_TEXT),
    Column("category", Kind.FREE_TEXT),
    Column("description", Kind.FREE_TEXT),
    Column("metadata", Kind.JSON),
)


def _said(entry: Entry) -> Row:
    return (
        entry.recorded_at,
        entry.effective_at or entry.recorded_at,
        entry.reference,
        entry.category,
        entry.description,
        None if entry.metadata is None else msgspec.Raw(entry.metadata.encode()),
    )


_TRANSACTIONS = (
    Column("id", Kind.NUMBER),
    Column("kind", Kind.TEXT),
    *_SAID,
    Column("postings", Kind.JSON),
    Column("actor", Kind.TEXT),
    Column("idempotency_key", Kind.FREE_TEXT),
    Column("hash", Kind.TEXT),
    Column("target", Kind.NUMBER, optional=True),
    Column("expires_at", Kind.TIME, optional=True),
    Column("sequence", Kind.NUMBER),
)


def _transaction(entry: Entry, seq: int) -> Row:
    return (
        entry.seq,
        entry.kind.value,
        *_said(entry),
        msgspec.Raw(_encode([shown.posting(line) for line in entry.postings])),
        entry.actor,
        entry.idempotency_key,
        msgspec.to_builtins(entry.hash),
        entry.target_seq,
        entry.expires_at,
        seq,
    )


_POSTINGS = (
    Column("transaction", Kind.NUMBER),
    Column("line", Kind.NUMBER),
    Column("kind", Kind.TEXT),
    Column("account", Kind.TEXT),
    Column("direction", Kind.TEXT),
    Column("amount", Kind.TEXT),
    Column("asset", Kind.FREE_TEXT),
    Column("scale", Kind.NUMBER),
    Column("layer", Kind.TEXT),
    *_SAID,
    Column("target", Kind.NUMBER, optional=True),
    Column("sequence", Kind.NUMBER),
)


def _posting(entry: Entry, number: int, line: Posting, seq: int) -> Row:
    return (
        entry.seq,
        number,
        entry.kind.value,
        line.account,
        shown.direction(line.amount).value,
        from_minor(abs(line.amount), line.scale),
        line.asset,
        line.scale,
        shown.LAYERS[line.layer],
        *_said(entry),
        entry.target_seq,
        seq,
    )


_BALANCES = (
    Column("account", Kind.TEXT),
    Column("asset", Kind.FREE_TEXT),
    Column("scale", Kind.NUMBER),
    Column("type", Kind.TEXT),
    Column("normal_side", Kind.TEXT),
    Column("posted", Kind.TEXT),
    Column("pending_in", Kind.TEXT),
    Column("pending_out", Kind.TEXT),
    Column("available", Kind.TEXT),
    Column("sequence", Kind.NUMBER),
    Column("recorded_at", Kind.TIME),
)


def _balance(account: Account, now: Balance, cut: Cut) -> Row:
    return (
        account.code,
        account.asset,
        account.scale,
        account.type.value,
        shown.direction(account.type.sign).value,
        *(from_minor(minor, account.scale) for minor in (now.posted, now.pending_in, now.pending_out, now.available)),
        cut.seq,
        cut.recorded_at,
    )


DATASETS = {
    exports.Dataset.TRANSACTIONS: Dataset(_TRANSACTIONS, _transactions),
    exports.Dataset.POSTINGS: Dataset(_POSTINGS, _postings),
    exports.Dataset.BALANCES: Dataset(_BALANCES, _balances),
}
