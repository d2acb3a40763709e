"""What reads answer beside the things themselves: balances at any time, aggregates and the trial balance."""

from collections.abc import Iterable
from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from ledgerx.balances import BalanceAt, Total, Totals
from ledgerx.commands import Direction
from ledgerx.journal import AccountType
from ledgerx.money import from_minor
from ledgerx.state import Balance as BalanceNow
from ledgerx.state import balance
from ledgerx_api.schemas import Balance, shown_amounts


class AccountBalance(Balance, frozen=True, kw_only=True):
    """An account's balance, true at the entry `sequence` of the journal, recorded at `recorded_at`.

    `version` is the number of the latest transaction that touched the account, 0 for none, as `if_balance_version`
    wants it; only the present balance has one. `as_of` and `effective_at` are those asked for. Before the first entry
    `sequence` is 0 and `recorded_at` null.
    """

    account: str
    asset: str
    scale: int
    sequence: int
    recorded_at: datetime | None
    version: int | UnsetType = UNSET
    as_of: datetime | UnsetType = UNSET
    effective_at: datetime | UnsetType = UNSET


class AssetBalance(Balance, frozen=True, kw_only=True):
    """The balance of a number of accounts of one asset and normal side together."""

    asset: str
    scale: int
    normal_side: Direction
    accounts: int


class AggregateBalance(msgspec.Struct, frozen=True, kw_only=True):
    """Balances by asset and normal side, true at the entry `sequence` of the journal."""

    items: list[AssetBalance]
    sequence: int
    recorded_at: datetime


class TypeTotal(msgspec.Struct, frozen=True, kw_only=True):
    """The accounts of one type: `debits` are their posted balances on the debit side, `credits` on the credit side."""

    type: AccountType
    accounts: int
    debits: str
    credits: str


class AssetTrialBalance(msgspec.Struct, frozen=True, kw_only=True):
    """The trial balance of one asset; `debits` and `credits` are equal."""

    asset: str
    scale: int
    debits: str
    credits: str
    types: list[TypeTotal]


class TrialBalance(msgspec.Struct, frozen=True, kw_only=True):
    """Posted balances of all accounts by asset, true at the entry `sequence` of the journal."""

    items: list[AssetTrialBalance]
    sequence: int
    recorded_at: datetime


def account_balance(
    found: BalanceAt, *, as_of: datetime | None = None, effective_at: datetime | None = None
) -> AccountBalance:
    """A balance as the API shows it, with the times asked for."""
    return AccountBalance(
        account=found.code,
        asset=found.asset,
        scale=found.scale,
        sequence=found.seq,
        recorded_at=found.recorded_at,
        version=UNSET if found.version is None else found.version,
        as_of=as_of or UNSET,
        effective_at=effective_at or UNSET,
        **shown_amounts(found.balance, found.scale),
    )


def aggregate_balance(found: Totals) -> AggregateBalance:
    """Totals by asset and normal side."""
    sides: dict[tuple[str, int], list[Total]] = {}
    for total in found.totals:
        sides.setdefault((total.asset, -total.type.sign), []).append(total)
    return AggregateBalance(
        items=[_asset_balance(totals) for _, totals in sorted(sides.items())],
        sequence=found.seq,
        recorded_at=found.recorded_at,
    )


def trial_balance(found: Totals) -> TrialBalance:
    """Totals by asset and type, with those of each asset."""
    assets: dict[str, list[Total]] = {}
    for total in found.totals:
        assets.setdefault(total.asset, []).append(total)
    return TrialBalance(
        items=[_asset_trial_balance(totals) for totals in assets.values()],
        sequence=found.seq,
        recorded_at=found.recorded_at,
    )


def _asset_balance(totals: list[Total]) -> AssetBalance:
    first = totals[0]
    return AssetBalance(
        asset=first.asset,
        scale=first.scale,
        normal_side=Direction.DEBIT if first.type.sign > 0 else Direction.CREDIT,
        accounts=sum(total.accounts for total in totals),
        **shown_amounts(_together(totals), first.scale),
    )


def _together(totals: Iterable[Total]) -> BalanceNow:
    balances = [balance(total.sums, total.type) for total in totals]
    return BalanceNow(
        sum(one.posted for one in balances),
        sum(one.pending_in for one in balances),
        sum(one.pending_out for one in balances),
    )


def _asset_trial_balance(totals: list[Total]) -> AssetTrialBalance:
    first = totals[0]
    return AssetTrialBalance(
        asset=first.asset,
        scale=first.scale,
        debits=from_minor(sum(total.debits for total in totals), first.scale),
        credits=from_minor(sum(total.credits for total in totals), first.scale),
        types=[
            TypeTotal(
                type=total.type,
                accounts=total.accounts,
                debits=from_minor(total.debits, total.scale),
                credits=from_minor(total.credits, total.scale),
            )
            for total in totals
        ],
    )
