"""What goes over the wire: the requests and answers of the API, and how they turn into commands and out of entries."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledgerx.commands import Direction, OpenAccount, UpdateAccount
from ledgerx.journal import RESOLUTIONS, AccountState, AccountType, Entry, Kind, Layer
from ledgerx.metadata import canonical_metadata
from ledgerx.money import from_minor
from ledgerx.outcomes import Recorded, Replayed
from ledgerx.reading import AccountLine, AccountRecord, LinkedEntry
from ledgerx.state import Balance as BalanceNow

Code = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9._:\-]{1,255}$",
        description="Hierarchical by colons, such as `users:42:wallet`; unique in the tenant.",
        examples=["users:42:wallet"],
    ),
]
Amount = Annotated[
    str,
    Meta(
        max_length=64,
        description="A decimal string in units of the asset, at most its scale and 30 digits.",
        examples=["12.34"],
    ),
]
# Postgres stores no NUL; whoever sends one is told so before the engine is troubled.
NO_NUL = r"^[^\x00]*$"
Asset = Annotated[
    str, Meta(min_length=1, max_length=32, pattern=NO_NUL, description="An asset, such as USD.", examples=["USD"])
]
Text = Annotated[str, Meta(min_length=1, max_length=255, pattern=NO_NUL)]
_LAYERS = {layer: layer.name.lower() for layer in Layer}
Metadata = Annotated[
    msgspec.Raw,
    Meta(
        description="A JSON object of at most 16 KiB; its numbers are integers of at most 53 bits.",
        extra_json_schema={"type": "object"},
    ),
]


def no_metadata() -> msgspec.Raw:
    """What stands for metadata that was not given."""
    return msgspec.Raw(b"null")


class NewAccount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account to open."""

    code: Code
    asset: Asset
    type: AccountType
    min_balance: Amount | None = None
    max_balance: Amount | None = None
    owner: Text | None = None
    metadata: Metadata = msgspec.field(default_factory=no_metadata)


class AccountChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of an account; what is left out stays. A frozen account takes no postings.

    Limits must hold for the present balance; null takes one away. `metadata` replaces all of it.
    """

    min_balance: Amount | UnsetType | None = UNSET
    max_balance: Amount | UnsetType | None = UNSET
    frozen: bool | UnsetType = UNSET
    owner: Text | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET


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


class AccountPosting(msgspec.Struct, frozen=True, kw_only=True):
    """One posting of an account with the account's balance just after it."""

    transaction: int
    kind: str
    direction: Direction
    amount: str
    layer: str
    recorded_at: datetime
    effective_at: datetime
    reference: str | None
    category: str | None
    description: str | None
    balance: Balance


def open_account(data: NewAccount, **command: Any) -> OpenAccount:
    """The command behind `NewAccount`; `command` are the fields of `Command`."""
    return OpenAccount(
        code=data.code,
        asset=data.asset,
        type=data.type,
        min_balance=data.min_balance,
        max_balance=data.max_balance,
        owner=data.owner,
        metadata=canonical(data.metadata),
        **command,
    )


def update_account(code: str, data: AccountChanges, **command: Any) -> UpdateAccount:
    """The command behind `AccountChanges`; `command` are the fields of `Command`, and `if_versions`."""
    return UpdateAccount(
        code=code,
        min_balance=data.min_balance,
        max_balance=data.max_balance,
        frozen=data.frozen,
        owner=data.owner,
        metadata=UNSET if data.metadata is UNSET else canonical(data.metadata) or "{}",
        **command,
    )


def account(record: AccountRecord) -> Account:
    """An account as the API shows it."""
    return _account(record.account.state, record.metadata, record.opened_at, record.account.seq)


def opened_account(entry: Entry) -> Account:
    """An account as its opening entry made it."""
    state = entry.change
    if not isinstance(state, AccountState):
        raise TypeError("not an account entry")
    return _account(state, entry.metadata, entry.recorded_at, entry.seq)


def transaction(entry: Entry, balances: Mapping[str, tuple[BalanceNow, int]] | None = None, **more: Any) -> Transaction:
    """A transaction as the API shows it, what was redacted as null; `more` are further members."""
    return Transaction(
        id=entry.seq,
        kind=entry.kind,
        recorded_at=entry.recorded_at,
        effective_at=entry.effective_at or entry.recorded_at,
        reference=entry.reference,
        category=entry.category,
        description=entry.description,
        metadata=_raw(entry.metadata),
        postings=[
            Posting(
                line.account or None,
                _direction(line.amount),
                from_minor(abs(line.amount), line.scale),
                line.asset,
                line.scale,
                UNSET if line.layer is Layer.POSTED else _LAYERS[line.layer],
            )
            for line in entry.postings
        ],
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


def outcome(found: Recorded | Replayed, *, dry_run: bool = False) -> Transaction:
    """The transaction that a command made, or would have made."""
    balances = found.balances if isinstance(found, Recorded) else None
    return transaction(found.entry, balances, dry_run=True if dry_run else UNSET)


def linked_transaction(found: LinkedEntry) -> Transaction:
    """A transaction with what became of it."""
    links: dict[str, Any] = {}
    for seq, kind in found.links:
        if kind in RESOLUTIONS:
            links["resolved_by"] = seq
        else:
            links.setdefault("reversed_by" if kind is Kind.REVERSE else "amended_by", []).append(seq)
    return transaction(found.entry, **links)


def account_posting(line: AccountLine, scale: int) -> AccountPosting:
    """A line of an account as the API shows it; `scale` is that of the account's asset."""
    return AccountPosting(
        transaction=line.seq,
        kind=line.kind,
        direction=_direction(line.amount),
        amount=from_minor(abs(line.amount), scale),
        layer=_LAYERS[line.layer],
        recorded_at=line.recorded_at,
        effective_at=line.effective_at or line.recorded_at,
        reference=line.reference,
        category=line.category,
        description=line.description,
        balance=shown_balance(line.running, scale),
    )


def canonical(metadata: msgspec.Raw) -> str | None:
    """What is kept of a given metadata member; None for null. Raises `InvalidField`."""
    return None if bytes(metadata) == b"null" else canonical_metadata(bytes(metadata))


def shown_balance(now: BalanceNow, scale: int) -> Balance:
    """A balance as the API shows it."""
    return Balance(**shown_amounts(now, scale))


def shown_amounts(now: BalanceNow, scale: int) -> dict[str, str]:
    """The members of `Balance`."""
    return {
        "posted": from_minor(now.posted, scale),
        "pending_in": from_minor(now.pending_in, scale),
        "pending_out": from_minor(now.pending_out, scale),
        "available": from_minor(now.available, scale),
    }


def _account(state: AccountState, metadata: str | None, opened_at: datetime, version: int) -> Account:
    return Account(
        code=state.account,
        asset=state.asset,
        scale=state.scale,
        type=state.type,
        normal_side=_direction(state.type.sign),
        status=state.status,
        min_balance=_limit(state.min_balance, state.scale),
        max_balance=_limit(state.max_balance, state.scale),
        owner=state.owner,
        metadata=_raw(metadata),
        opened_at=opened_at,
        version=version,
    )


def _direction(amount: int) -> Direction:
    return Direction.DEBIT if amount > 0 else Direction.CREDIT


def _limit(minor: str | None, scale: int) -> str | None:
    return None if minor is None else from_minor(int(minor), scale)


def _raw(text: str | None) -> msgspec.Raw | None:
    return None if text is None else msgspec.Raw(text.encode())
