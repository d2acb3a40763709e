"""Balances: of one account, now or at any point of both times, and of many accounts at once.

Each is one statement: true at one entry of the journal, however far behind the streams are.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from ledgerx import rows
from ledgerx.codes import EVERY_CODE, CodeRange
from ledgerx.database import Pool, Queries
from ledgerx.errors import NotFound
from ledgerx.journal import AccountType
from ledgerx.reading import fetch
from ledgerx.state import Balance, Sums, balance
from ledgerx.together import Together

# Of balances that are asked for one by one.
BALANCES_AT_ONCE = 100

_queries = Queries("ledgerx", "sql/balances.sql")
_reading = Queries("ledgerx", "sql/reading.sql")


class BalanceAt(msgspec.Struct, frozen=True, kw_only=True):
    """An account's balance, true at the entry `seq` recorded at `recorded_at`; 0 and None before the first entry.

    `version` is the number of the latest transaction that touched the account, 0 for none; None where the balance is
    not that of the journal's head.
    """

    code: str
    asset: str
    scale: int
    balance: Balance
    seq: int
    recorded_at: datetime | None
    version: int | None = None


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of a number of accounts of one asset and type.

    `debits` are the posted balances of those that stand on the debit side, summed; `debits - sums.posted` those of the
    others.
    """

    asset: str
    scale: int
    type: AccountType
    accounts: int
    sums: Sums
    debits: int

    @property
    def credits(self) -> int:
        """The posted balances of the accounts that stand on the credit side."""
        return self.debits - self.sums.posted


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Totals by asset and type, in that order, true at the entry `seq` recorded at `recorded_at`."""

    seq: int
    recorded_at: datetime
    totals: Sequence[Total]


class Balances:
    """Balances of accounts at the journal's head. Those that are asked for at the same time are read together."""

    def __init__(self) -> None:
        self._together = Together(_read_balances, at_once=BALANCES_AT_ONCE, side_by_side=2)

    async def read(self, pool: Pool, tenant_id: UUID, code: str, *, confined_to: str | None) -> BalanceAt:
        """The balance of an account. Raises `NotFound`, also outside of `confined_to`."""
        # Postgres knows no NUL, and would refuse those who ask at the same time as well.
        found = None if "\0" in code else await self._together.get((pool, tenant_id, confined_to), code)
        if found is None:
            raise NotFound(f'there is no account "{code}"')
        return found


async def _read_balances(whose: tuple[Pool, UUID, str | None], codes: Collection[str]) -> dict[str, BalanceAt]:
    pool, tenant_id, owner = whose
    balances = {}
    for row in await fetch(pool, tenant_id, _reading.sums, codes=sorted(codes), owner=owner):
        _, code, account_type, scale, asset, seq, recorded_at, *sums, version = row
        balances[code] = BalanceAt(
            code=code,
            asset=asset,
            scale=scale,
            balance=balance(rows.sums(*sums), AccountType(account_type)),
            seq=seq,
            recorded_at=recorded_at,
            version=version,
        )
    return balances


async def read_balance_at(
    pool: Pool,
    tenant_id: UUID,
    code: str,
    *,
    confined_to: str | None,
    as_of: datetime | None = None,
    effective_at: datetime | None = None,
) -> BalanceAt:
    """The balance of an account, of what was recorded by `as_of` and takes effect by `effective_at`.

    Both times are inclusive, and None does not restrict. Raises `NotFound`, also outside of `confined_to`.
    """
    times = {"as_of": as_of, "effective_at": effective_at}
    found = await fetch(pool, tenant_id, _queries.balance_at, code=code, owner=confined_to, **times)
    if not found:
        raise NotFound(f'there is no account "{code}"')
    code, asset, scale, account_type, posted, pending_debit, pending_credit, seq, recorded_at = found[0]
    return BalanceAt(
        code=code,
        asset=asset,
        scale=scale,
        balance=balance(rows.sums(posted, pending_debit, pending_credit), AccountType(account_type)),
        seq=seq,
        recorded_at=recorded_at,
    )


async def read_totals(
    pool: Pool, tenant_id: UUID, ranges: Sequence[CodeRange] = EVERY_CODE, *, confined_to: str | None
) -> Totals:
    """The totals of the accounts with codes in `ranges`, of those of the owner `confined_to`, at the journal's head."""
    found = await fetch(
        pool,
        tenant_id,
        _queries.totals,
        lows=[one.low for one in ranges],
        highs=[one.high for one in ranges],
        owner=confined_to,
    )
    seq, recorded_at = found[0][:2]
    return Totals(
        seq=seq,
        recorded_at=recorded_at,
        totals=[
            Total(
                asset=asset,
                scale=scale,
                type=AccountType(account_type),
                accounts=accounts,
                sums=rows.sums(*sums),
                debits=int(debits),
            )
            for _, _, asset, scale, account_type, accounts, debits, *sums in found
            if asset is not None
        ],
    )
