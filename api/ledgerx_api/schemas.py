"""What goes over the wire: the requests and answers of the API, and how they turn into commands and out of entries."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledgerx.commands import Direction, Line, OpenAccount, Post
from ledgerx.errors import InvalidField
from ledgerx.journal import AccountState, AccountType, Entry, Layer
from ledgerx.metadata import canonical_metadata
from ledgerx.money import from_minor
from ledgerx.reading import AccountLine, AccountRecord
from ledgerx.state import Balance as BalanceNow
from ledgerx_api.parameters import utc

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
_NO_NUL = r"^[^\x00]*$"
Asset = Annotated[
    str, Meta(min_length=1, max_length=32, pattern=_NO_NUL, description="An asset, such as USD.", examples=["USD"])
]
Text = Annotated[str, Meta(min_length=1, max_length=255, pattern=_NO_NUL)]
Metadata = Annotated[
    msgspec.Raw,
    Meta(
        description="A JSON object of at most 16 KiB; its numbers are integers of at most 53 bits.",
        extra_json_schema={"type": "object"},
    ),
]


def _no_metadata() -> msgspec.Raw:
    return msgspec.Raw(b"null")


class NewAccount(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account to open."""

    code: Code
    asset: Asset
    type: AccountType
    min_balance: Amount | None = None
    max_balance: Amount | None = None
    metadata: Metadata = msgspec.field(default_factory=_no_metadata)


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
    metadata: msgspec.Raw | None
    opened_at: datetime
    version: int


class NewPosting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a transaction to record; a stated asset must be the account's."""

    account: Text
    direction: Direction
    amount: Amount
    asset: Asset | None = None


class NewTransaction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A transaction to record: `postings`, or the short form `debit`, `credit` and `amount` for two lines."""

    postings: Annotated[list[NewPosting], Meta(min_length=2, max_length=1000)] | UnsetType = UNSET
    debit: Text | UnsetType = UNSET
    credit: Text | UnsetType = UNSET
    amount: Amount | UnsetType = UNSET
    asset: Asset | None = None
    kind: Literal["post"] = "post"
    reference: Text | None = None
    category: Text | None = None
    description: Annotated[str, Meta(max_length=1000, pattern=_NO_NUL)] | None = None
    metadata: Metadata = msgspec.field(default_factory=_no_metadata)
    effective_at: datetime | None = None


class Posting(msgspec.Struct, frozen=True):
    """One line of a transaction."""

    account: str
    direction: Direction
    amount: str
    asset: str
    scale: int


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """A balance in units of the asset, on the account's normal side; `available` is `posted` less `pending_out`."""

    posted: str
    pending_in: str
    pending_out: str
    available: str


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded transaction; `id` is its number in the tenant's journal and `hash` its link in the chain (base64).

    `balances` are those of the accounts with limits that it touched, as it left them; only its first answer has them.
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
    actor: str
    idempotency_key: str | None
    hash: bytes
    balances: dict[str, Balance] | UnsetType = UNSET


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
        metadata=_canonical(data.metadata),
        **command,
    )


def post(data: NewTransaction, **command: Any) -> Post:
    """The command behind `NewTransaction`; `command` are the fields of `Command`.

    Raises `InvalidField` when it is neither of the two forms, or a member cannot be kept.
    """
    return Post(
        lines=_lines(data),
        reference=data.reference,
        category=data.category,
        description=data.description,
        metadata=_canonical(data.metadata),
        effective_at=utc(data.effective_at, "effective_at"),
        **command,
    )


def _lines(data: NewTransaction) -> tuple[Line, ...]:
    if data.postings is not UNSET:
        if data.debit is not UNSET or data.credit is not UNSET or data.amount is not UNSET or data.asset is not None:
            raise InvalidField("send either postings, or debit, credit and amount")
        return tuple([Line(line.account, line.direction, line.amount, line.asset) for line in data.postings])
    if data.debit is UNSET or data.credit is UNSET or data.amount is UNSET:
        raise InvalidField("send postings, or all of debit, credit and amount")
    return (
        Line(data.debit, Direction.DEBIT, data.amount, data.asset),
        Line(data.credit, Direction.CREDIT, data.amount, data.asset),
    )


def account(record: AccountRecord) -> Account:
    """An account as the API shows it."""
    return _account(record.account.state, record.metadata, record.opened_at, record.account.seq)


def opened_account(entry: Entry) -> Account:
    """An account as its opening entry made it."""
    state = entry.change
    if state is None:
        raise TypeError("not an account entry")
    return _account(state, entry.metadata, entry.recorded_at, entry.seq)


def transaction(entry: Entry, balances: Mapping[str, tuple[BalanceNow, int]] | None = None) -> Transaction:
    """A transaction as the API shows it."""
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
                line.account, _direction(line.amount), from_minor(abs(line.amount), line.scale), line.asset, line.scale
            )
            for line in entry.postings
        ],
        actor=entry.actor,
        idempotency_key=entry.idempotency_key,
        hash=entry.hash,
        balances=UNSET
        if balances is None
        else {code: shown_balance(now, scale) for code, (now, scale) in balances.items()},
    )


def account_posting(line: AccountLine, scale: int) -> AccountPosting:
    """A line of an account as the API shows it; `scale` is that of the account's asset."""
    return AccountPosting(
        transaction=line.seq,
        kind=line.kind,
        direction=_direction(line.amount),
        amount=from_minor(abs(line.amount), scale),
        layer=Layer(line.layer).name.lower(),
        recorded_at=line.recorded_at,
        effective_at=line.effective_at or line.recorded_at,
        reference=line.reference,
        category=line.category,
        description=line.description,
        balance=shown_balance(line.running, scale),
    )


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


def _canonical(metadata: msgspec.Raw) -> str | None:
    return None if bytes(metadata) == b"null" else canonical_metadata(bytes(metadata))


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
