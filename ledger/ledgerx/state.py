"""What a decision depends on: the head of a journal, accounts, their sums, and the idempotency keys seen before."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from ledgerx.journal import (
    AccountState,
    AccountStatus,
    AccountType,
    AssetState,
    CategoryState,
    Entry,
    Layer,
    SettingsState,
)

# What an account's sums were at every so many of its postings is kept, so that no look into its past reads more lines.
POSTINGS_PER_MARK = 1_000


class Head(msgspec.Struct, frozen=True, gc=False):
    """The end of a tenant's journal."""

    seq: int
    hash: bytes
    recorded_at: datetime


class Sums(msgspec.Struct, frozen=True, gc=False):
    """An account's three layers in minor units, debits positive."""

    posted: int = 0
    pending_debit: int = 0
    pending_credit: int = 0

    def plus(self, layer: Layer, amount: int) -> "Sums":
        """These sums with one more posting."""
        if layer is Layer.POSTED:
            return Sums(self.posted + amount, self.pending_debit, self.pending_credit)
        if layer is Layer.PENDING_DEBIT:
            return Sums(self.posted, self.pending_debit + amount, self.pending_credit)
        return Sums(self.posted, self.pending_debit, self.pending_credit + amount)


class Balance(msgspec.Struct, frozen=True, gc=False):
    """An account's balance in minor units on its normal side."""

    posted: int
    pending_in: int
    pending_out: int

    @property
    def available(self) -> int:
        """What may leave the account: posted less what open holds take out."""
        return self.posted - self.pending_out

    @property
    def ceiling(self) -> int:
        """What the account may come to hold: posted and what open holds bring in."""
        return self.posted + self.pending_in


def balance(sums: Sums, account_type: AccountType) -> Balance:
    """`sums` seen from the account's normal side."""
    if account_type.sign > 0:
        return Balance(sums.posted, sums.pending_debit, -sums.pending_credit)
    return Balance(-sums.posted, -sums.pending_credit, sums.pending_debit)


class Account(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An account as it stands. Limits are minor units on its normal side; `seq` is its latest account entry."""

    account_id: int
    code: str
    asset: str
    scale: int
    type: AccountType
    status: AccountStatus
    min_balance: int | None
    max_balance: int | None
    owner: str | None = None
    seq: int

    @property
    def guarded(self) -> bool:
        """Whether the engine keeps sums for this account in order to hold its limits."""
        return self.min_balance is not None or self.max_balance is not None

    @property
    def state(self) -> AccountState:
        """What an account entry records of it."""
        return AccountState(
            account=self.code,
            account_id=self.account_id,
            asset=self.asset,
            max_balance=None if self.max_balance is None else str(self.max_balance),
            min_balance=None if self.min_balance is None else str(self.min_balance),
            owner=self.owner,
            scale=self.scale,
            status=self.status,
            type=self.type,
        )


class Asset(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An asset that the tenant has registered. `seq` is its latest entry."""

    code: str
    scale: int
    name: str | None = None
    seq: int

    @property
    def state(self) -> AssetState:
        """What an entry records of it."""
        return AssetState(asset=self.code, name=self.name, scale=self.scale)


class Category(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A category that the tenant has registered. `seq` is its latest entry."""

    code: str
    name: str | None = None
    description: str | None = None
    seq: int

    @property
    def state(self) -> CategoryState:
        """What an entry records of it."""
        return CategoryState(category=self.code, description=self.description, name=self.name)


class Registry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What stands beside the head: how many assets and categories are registered, and the tenant's settings.

    `settings_seq` is the latest entry of the settings, 0 where there is none.
    """

    assets: int = 0
    categories: int = 0
    strict_categories: bool = False
    settings_seq: int = 0

    @property
    def settings(self) -> SettingsState:
        """What an entry records of the settings."""
        return SettingsState(strict_categories=self.strict_categories)


class KnownKey(msgspec.Struct, frozen=True, gc=False):
    """An idempotency key used before, with the entry it made."""

    fingerprint: bytes
    entry: Entry


class Target(msgspec.Struct, frozen=True, gc=False):
    """A transaction that a command is about, with its annotations as amended, and what has become of it so far.

    `resolution` is the entry that ended it where it is a hold; `reversed` are the amounts taken back so far, by account
    id and by the sign that the lines have in `entry`.
    """

    entry: Entry
    resolution: int | None = None
    reversed: Mapping[tuple[int, int], int] = {}


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a batch of commands touches, as it stands under the head's lock.

    `accounts`, `keys` and `targets` hold those of the batch's codes, keys and targets that exist, with the accounts of
    the targets' lines; `sums` those of all guarded accounts among them and of every account that the batch closes or
    limits; `versions`, by account id, the number of the latest transaction of every account that a condition names.
    `accounts_left` is how many accounts the tenant may still open; None is no limit. `assets` are the registered ones
    among those that the batch names, `scales` those that accounts hold, with their scale; `categories` the registered
    ones among those that the batch changes, and, where it may meet strict categories, among those that it uses.
    `members_may_post` is whether the tenant lets members take from their accounts, loaded where a command is a
    member's.
    """

    head: Head
    accounts: Mapping[str, Account]
    sums: Mapping[int, Sums]
    keys: Mapping[str, KnownKey]
    targets: Mapping[int, Target] = {}
    versions: Mapping[int, int] = {}
    accounts_left: int | None = None
    registry: Registry = Registry()
    assets: Mapping[str, Asset] = {}
    scales: Mapping[str, int] = {}
    categories: Mapping[str, Category] = {}
    members_may_post: bool = False
