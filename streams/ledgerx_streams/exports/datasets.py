"""What an export can hold. Another dataset is another `Dataset` here: its columns, and a reader of its pages."""

from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec

from ledgerx import exports, shown
from ledgerx.codes import CodeRange, below, exactly
from ledgerx.database import Pool
from ledgerx.exports import ExportFilters
from ledgerx.journal import Entry, Posting
from ledgerx.money import from_minor
from ledgerx.state import Account, Sums, balance
from ledgerx_streams.exports.pages import Captured, account_pages, entry_pages, read_sums, snapshot_pages
from ledgerx_streams.exports.tables import Column, Cut, Dataset, Kind, Page, Row

_encode = msgspec.json.Encoder().encode


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
    async for accounts, progress in account_pages(pool, cut):
        account_ids = [account.account_id for account in accounts]
        sums = await read_sums(pool, cut, account_ids, cut.filters.effective_at)
        yield Page([_balance(account, one, cut) for account, one in zip(accounts, sums, strict=True)], progress)


async def _snapshots(pool: Pool, cut: Cut) -> AsyncGenerator[Page, None]:
    async for captured, progress in snapshot_pages(pool, cut):
        yield Page([_snapshot(one, cut.seq) for one in captured], progress)


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


_HELD = (
    Column("account", Kind.TEXT),
    Column("asset", Kind.FREE_TEXT),
    Column("scale", Kind.NUMBER),
    Column("type", Kind.TEXT),
    Column("normal_side", Kind.TEXT),
    Column("posted", Kind.TEXT),
    Column("pending_in", Kind.TEXT),
    Column("pending_out", Kind.TEXT),
    Column("available", Kind.TEXT),
)


def _held(account: Account, sums: Sums) -> Row:
    held = balance(sums, account.type)
    amounts = (held.posted, held.pending_in, held.pending_out, held.available)
    return (
        account.code,
        account.asset,
        account.scale,
        account.type.value,
        shown.direction(account.type.sign).value,
        *(from_minor(minor, account.scale) for minor in amounts),
    )


_BALANCES = (*_HELD, Column("sequence", Kind.NUMBER), Column("recorded_at", Kind.TIME))


def _balance(account: Account, sums: Sums, cut: Cut) -> Row:
    return (*_held(account, sums), cut.seq, cut.recorded_at)


_SNAPSHOTS = (
    *_HELD,
    Column("snapshot", Kind.NUMBER),
    Column("taken_at", Kind.TIME),
    Column("sequence", Kind.NUMBER),
)


def _snapshot(captured: Captured, seq: int) -> Row:
    return (*_held(captured.account, captured.sums), captured.seq, captured.taken_at, seq)


DATASETS = {
    exports.Dataset.TRANSACTIONS: Dataset(_TRANSACTIONS, _transactions),
    exports.Dataset.POSTINGS: Dataset(_POSTINGS, _postings),
    exports.Dataset.BALANCES: Dataset(_BALANCES, _balances),
    exports.Dataset.SNAPSHOTS: Dataset(_SNAPSHOTS, _snapshots),
}
