"""What goes over the wire: the requests and answers of the API, and how they turn into commands and out of entries."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledgerx import shown
from ledgerx.commands import Direction, OpenAccount, UpdateAccount
from ledgerx.journal import RESOLUTIONS, AccountType, Kind
from ledgerx.metadata import canonical_metadata
from ledgerx.money import from_minor
from ledgerx.outcomes import Recorded, Replayed
from ledgerx.reading import AccountLine, AccountRecord, LinkedEntry
from ledgerx.shown import (
    LAYERS,
    Account,
    Balance,
    Posting,
    Transaction,
    direction,
    opened_account,
    shown_amounts,
    shown_balance,
    transaction,
)

# What events show as well is the kernel's.
__all__ = [
    "Account",
    "Balance",
    "Posting",
    "Transaction",
    "opened_account",
    "shown_amounts",
    "shown_balance",
    "transaction",
]

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
    return shown.account(record.account.state, record.metadata, record.opened_at, record.account.seq)


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
        direction=direction(line.amount),
        amount=from_minor(abs(line.amount), scale),
        layer=LAYERS[line.layer],
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
