"""What is recorded, as clients see it: in answers and in events."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from ledgerx.commands import Direction
from ledgerx.journal import AccountState, AccountType, Entry, Layer, SettingsState
from ledgerx.journal import Posting as JournalPosting
from ledgerx.money import from_minor
from ledgerx.state import Balance as BalanceNow

LAYERS = {layer: layer.name.lower() for layer in Layer}


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account. `version` is the journal's number of its latest change."""

    code: str
    asset: str
    scale: int
    type: AccountType
    normal_side: Direction
    status: str
    min_balance: str | None
    max_balance: str | None
    owner: str | None
    metadata: msgspec.Raw | None
    opened_at: datetime
    version: int


class Posting(msgspec.Struct, frozen=True):
    """One line of a transaction. The `layer` of a line that is not posted is `pending_debit` or `pending_credit`.

    `account` is null in the line that stands for those of other people's accounts.
    """

    account: str | None
    direction: Direction
    amount: str
    asset: str
    scale: int
    layer: str | UnsetType = UNSET


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """A balance in units of the asset, on the account's normal side; `available` is `posted` less `pending_out`."""

    posted: str
    pending_in: str
    pending_out: str
    available: str


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded transaction; `id` is its number in the tenant's journal and `hash` its link in the chain (base64).

    `target` is the transaction that it resolves or reverses. `balances` are those of the accounts with limits that it
    touched, as it left them; only its first answer has them. The links `resolved_by`, `reversed_by` and `amended_by`,
    at most 100 in all, come with a single transaction. With `dry_run` nothing was recorded, and `id`, `recorded_at`
    and `hash` are what they would be now.

    Members see the postings of their own accounts, and one for each asset (and one that is pending, if any is) that
    balances them, in the place of all others. To them `hash` is null, and so are `actor` and `idempotency_key` of what
    others made.
    """

    id: int
    kind: str
    recorded_at: datetime
    effective_at: datetime
    reference: str | None
    category: str | None
    description: str | None
    metadata: msgspec.Raw | None
    postings: list[Posting]
    actor: str | None
    idempotency_key: str | None
    hash: bytes | None
    target: int | UnsetType = UNSET
    expires_at: datetime | UnsetType = UNSET
    balances: dict[str, Balance] | UnsetType = UNSET
    resolved_by: int | UnsetType = UNSET
    reversed_by: list[int] | UnsetType = UNSET
    amended_by: list[int] | UnsetType = UNSET
    dry_run: bool | UnsetType = UNSET


class ChangedAsset(msgspec.Struct, frozen=True, kw_only=True):
    """An asset as an entry of the journal left it, or took it away."""

    code: str
    scale: int
    name: str | None


class ChangedCategory(msgspec.Struct, frozen=True, kw_only=True):
    """A category as an entry of the journal left it, or took it away."""

    code: str
    name: str | None
    description: str | None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The tenant's settings. With `strict_categories` a category that is not registered is refused."""

    strict_categories: bool


def account(state: AccountState, metadata: str | None, opened_at: datetime, version: int) -> Account:
    """An account in this state."""
    return Account(
        code=state.account,
        asset=state.asset,
        scale=state.scale,
        type=state.type,
        normal_side=direction(state.type.sign),
        status=state.status,
        min_balance=_limit(state.min_balance, state.scale),
        max_balance=_limit(state.max_balance, state.scale),
        owner=state.owner,
        metadata=_raw(metadata),
        opened_at=opened_at,
        version=version,
    )


def opened_account(entry: Entry) -> Account:
    """An account as its opening entry made it."""
    state = entry.change
    if not isinstance(state, AccountState):
        raise TypeError("not an account entry")
    return account(state, entry.metadata, entry.recorded_at, entry.seq)


def transaction(entry: Entry, balances: Mapping[str, tuple[BalanceNow, int]] | None = None, **more: Any) -> Transaction:
    """A transaction as clients see it, what was redacted as null; `more` are further members."""
    return Transaction(
        id=entry.seq,
        kind=entry.kind,
        recorded_at=entry.recorded_at,
        effective_at=entry.effective_at or entry.recorded_at,
        reference=entry.reference,
        category=entry.category,
        description=entry.description,
        metadata=_raw(entry.metadata),
        postings=[posting(line) for line in entry.postings],
        actor=entry.actor or None,
        idempotency_key=entry.idempotency_key,
        hash=entry.hash or None,
        target=UNSET if entry.target_seq is None else entry.target_seq,
        expires_at=UNSET if entry.expires_at is None else entry.expires_at,
        balances=UNSET
        if balances is None
        else {code: shown_balance(now, scale) for code, (now, scale) in balances.items()},
        **more,
    )


def posting(line: JournalPosting) -> Posting:
    """A line of a transaction as clients see it."""
    return Posting(
        line.account or None,
        direction(line.amount),
        from_minor(abs(line.amount), line.scale),
        line.asset,
        line.scale,
        UNSET if line.layer is Layer.POSTED else LAYERS[line.layer],
    )


def shown_balance(now: BalanceNow, scale: int) -> Balance:
    """A balance as clients see it."""
    return Balance(**shown_amounts(now, scale))


def shown_amounts(now: BalanceNow, scale: int) -> dict[str, str]:
    """The members of `Balance`."""
    return {
        "posted": from_minor(now.posted, scale),
        "pending_in": from_minor(now.pending_in, scale),
        "pending_out": from_minor(now.pending_out, scale),
        "available": from_minor(now.available, scale),
    }


def settings(now: SettingsState) -> Settings:
    """The settings as clients see them."""
    return Settings(strict_categories=now.strict_categories)


def direction(amount: int) -> Direction:
    """The side of an amount other than zero: debits are positive."""
    return Direction.DEBIT if amount > 0 else Direction.CREDIT


def _limit(minor: str | None, scale: int) -> str | None:
    return None if minor is None else from_minor(int(minor), scale)


def _raw(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())
