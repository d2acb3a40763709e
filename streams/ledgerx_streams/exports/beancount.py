"""A ledger as a Beancount file: its accounts, its transactions, and its balances as assertions.

Every layer of every account is an account there, so that all of them are asserted. Assertions stand where the file has
the whole ledger up to the cut; with filters there are none.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from ledgerx.csv_cells import moment
from ledgerx.database import Pool, Queries, tenant_scope
from ledgerx.filters import TransactionFilters
from ledgerx.journal import AccountType, Entry, Layer
from ledgerx.money import from_minor
from ledgerx.state import Sums
from ledgerx_streams.exports.beancount_names import account_name, commodity
from ledgerx_streams.exports.pages import ACCOUNTS_AT_ONCE, entry_pages, read_sums
from ledgerx_streams.exports.tables import Cut

_queries = Queries("ledgerx_streams", "sql/exports.sql")
# The share of the progress that goes to the accounts, before and after the transactions.
_SHARE = 0.05


class _Account(NamedTuple):
    account_id: int
    code: str
    asset: str
    scale: int
    type: AccountType
    opened_on: str


class Written(NamedTuple):
    """A piece of the file, the transactions in it, and how far through the file it leads."""

    text: bytes
    transactions: int
    progress: float


class _Seen:
    """What later parts of the file have to know of the earlier ones: one bit for each entry of the journal, at most."""

    def __init__(self, seq: int) -> None:
        self._pending = bytearray(seq // 8 + 1)
        self.last_day = "0001-01-01"

    def pend(self, account_id: int) -> None:
        """Note that an account has lines of holds."""
        self._pending[account_id // 8] |= 1 << account_id % 8

    def has_pending(self, account_id: int) -> bool:
        """Whether it has."""
        return bool(self._pending[account_id // 8] >> account_id % 8 & 1)


async def beancount_pieces(pool: Pool, cut: Cut) -> AsyncGenerator[Written, None]:
    """The file, piece by piece."""
    seen = _Seen(cut.seq)
    whole = cut.filters.of_transactions == TransactionFilters()
    yield Written(_head(cut, whole=whole).encode(), 0, 0)
    assets: set[str] = set()
    async for accounts in _account_pages(pool, cut):
        yield Written(_openings(accounts, assets), 0, _SHARE * accounts[-1].account_id / cut.seq)
    async for entries, progress in entry_pages(pool, cut):
        if entries:
            days, types = await _days_and_types(pool, cut.tenant_id, entries)
            text = await asyncio.to_thread(_transactions, entries, days, types, seen)
            yield Written(text, len(entries), _SHARE + (1 - 2 * _SHARE) * progress)
    async for accounts in _account_pages(pool, cut):
        sums = await read_sums(pool, cut, [account.account_id for account in accounts]) if whole else None
        yield Written(_closings(accounts, sums, seen), 0, 1 - _SHARE + _SHARE * accounts[-1].account_id / cut.seq)


def _head(cut: Cut, *, whole: bool) -> str:
    at = "before the first entry" if cut.recorded_at is None else f"recorded at {moment(cut.recorded_at)}"
    lines = [
        f"; LedgerX export of the tenant {cut.tenant_id}",
        f"; True at the entry {cut.seq} of its journal, {at}",
    ]
    if not whole:
        filters = msgspec.json.encode(cut.filters).decode()
        lines.append(f"; Not the whole ledger, and so without balances: {filters}")
    lines += [
        f'option "title" "LedgerX, entry {cut.seq}"',
        *(f'option "name_{root}" "{name}"' for root, name in _OPTIONS.items()),
    ]
    return "\n".join(lines) + "\n\n"


# Beancount's defaults, said all the same: an including file may have others.
_OPTIONS = {
    "assets": "Assets",
    "liabilities": "Liabilities",
    "equity": "Equity",
    "income": "Income",
    "expenses": "Expenses",
}


async def _account_pages(pool: Pool, cut: Cut) -> AsyncGenerator[Sequence[_Account], None]:
    """All accounts opened by the cut, in the order of opening."""
    after = 0
    while True:
        parameters = {"tenant_id": cut.tenant_id, "after": after, "upto": cut.seq, "limit": ACCOUNTS_AT_ONCE}
        async with pool.connection() as connection:
            async with tenant_scope(connection, cut.tenant_id, read_only=True):
                cursor = await connection.execute(_queries.accounts, parameters)
            found = await cursor.fetchall()
        if not found:
            return
        yield [
            _Account(account_id, code, asset, scale, AccountType(account_type), opened_on)
            for account_id, code, asset, scale, account_type, opened_on in found
        ]
        after = found[-1][0]


async def _days_and_types(
    pool: Pool, tenant_id: UUID, entries: Sequence[Entry]
) -> tuple[Mapping[int, str], Mapping[int, AccountType]]:
    """The day of each entry, and the type of each account in them."""
    seqs = [entry.seq for entry in entries]
    account_ids = {line.account_id for entry in entries for line in entry.postings}
    async with pool.connection() as connection:
        async with tenant_scope(connection, tenant_id, read_only=True):
            days = await connection.execute(_queries.days, {"tenant_id": tenant_id, "seqs": seqs})
            types = await connection.execute(
                _queries.types, {"tenant_id": tenant_id, "account_ids": sorted(account_ids)}
            )
        return (
            dict(await days.fetchall()),
            {account_id: AccountType(account_type) for account_id, account_type in await types.fetchall()},
        )


def _openings(accounts: Iterable[_Account], assets: set[str]) -> bytes:
    lines = []
    for account in accounts:
        if account.asset not in assets:
            assets.add(account.asset)
            lines.append(
                f"0001-01-01 commodity {commodity(account.asset)}\n  ledgerx-asset: {_quoted(account.asset)}\n"
            )
        lines.append(_opening(account, Layer.POSTED))
    return "".join(lines).encode()


def _opening(account: _Account, layer: Layer) -> str:
    name = account_name(account.code, account.type, layer)
    return f"{account.opened_on} open {name} {commodity(account.asset)}\n  ledgerx-account: {_quoted(account.code)}\n"


def _transactions(
    entries: Iterable[Entry], days: Mapping[int, str], types: Mapping[int, AccountType], seen: _Seen
) -> bytes:
    return "".join([_transaction(entry, days[entry.seq], types, seen) for entry in entries]).encode()


def _transaction(entry: Entry, day: str, types: Mapping[int, AccountType], seen: _Seen) -> str:
    seen.last_day = max(seen.last_day, day)
    facts: dict[str, str | int | datetime | None] = {
        "ledgerx-id": entry.seq,
        "ledgerx-kind": entry.kind.value,
        "recorded-at": entry.recorded_at,
        "effective-at": entry.effective_at,
        "reference": entry.reference,
        "category": entry.category,
        "metadata": entry.metadata,
        "target": entry.target_seq,
        "expires-at": entry.expires_at,
    }
    lines = [f"\n{day} * {_quoted(entry.description or '')}\n"]
    lines += [f"  {name}: {_value(value)}\n" for name, value in facts.items() if value is not None]
    for line in entry.postings:
        if line.layer is not Layer.POSTED:
            seen.pend(line.account_id)
        name = account_name(line.account, types[line.account_id], line.layer)
        lines.append(f"  {name}  {from_minor(line.amount, line.scale)} {commodity(line.asset)}\n")
    return "".join(lines)


def _closings(accounts: Sequence[_Account], sums: Sequence[Sums] | None, seen: _Seen) -> bytes:
    """Assertions of every layer, and the accounts of the layers of holds, which are known only now."""
    day = (date.fromisoformat(seen.last_day) + timedelta(days=1)).isoformat()
    lines = []
    for number, account in enumerate(accounts):
        for layer in Layer if seen.has_pending(account.account_id) else (Layer.POSTED,):
            if layer is not Layer.POSTED:
                lines.append(_opening(account, layer))
            if sums is not None:
                amount = from_minor(_of_layer(sums[number], layer), account.scale)
                name = account_name(account.code, account.type, layer)
                # Beancount would tolerate a difference of a last digit otherwise.
                lines.append(f"{day} balance {name}  {amount} ~ 0 {commodity(account.asset)}\n")
    return ("\n" + "".join(lines)).encode()


def _of_layer(sums: Sums, layer: Layer) -> int:
    return {
        Layer.POSTED: sums.posted,
        Layer.PENDING_DEBIT: sums.pending_debit,
        Layer.PENDING_CREDIT: sums.pending_credit,
    }[layer]


def _value(value: str | int | datetime) -> str:
    if isinstance(value, datetime):
        return _quoted(moment(value))
    return str(value) if isinstance(value, int) else _quoted(value)


def _quoted(text: str) -> str:
    """A string of Beancount's; its escapes are those of C."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'
