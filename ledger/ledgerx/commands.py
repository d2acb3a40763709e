"""Commands: what a caller asks of the ledger, decoded and not yet decided."""

from datetime import datetime
from enum import StrEnum

import msgspec

from ledgerx.journal import AccountType


class Direction(StrEnum):
    """The side of a posting."""

    DEBIT = "debit"
    CREDIT = "credit"


class Line(msgspec.Struct, frozen=True, gc=False):
    """One posting as asked for: `amount` is a decimal string in units of the account's asset, such as "12.34".

    `asset` is what the caller believes the account holds; None believes anything.
    """

    account: str
    direction: Direction
    amount: str
    asset: str | None = None


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """What every command carries.

    `idempotency_key` is unique to the request within its tenant; callers that were given none make a random one, for
    the engine relies on it to run a command again when it cannot know the outcome. `fingerprint` tells two requests
    with one key apart.
    """

    idempotency_key: str
    fingerprint: bytes
    actor: str
    traceparent: str | None = None


class Post(Command, frozen=True, kw_only=True):
    """Record a transaction. `metadata` is canonical JSON text (RFC 8785)."""

    lines: tuple[Line, ...]
    reference: str | None = None
    category: str | None = None
    description: str | None = None
    metadata: str | None = None
    effective_at: datetime | None = None


class OpenAccount(Command, frozen=True, kw_only=True):
    """Open an account. Limits are decimal strings on the account's normal side; None is no limit."""

    code: str
    asset: str
    type: AccountType
    min_balance: str | None = None
    max_balance: str | None = None
    metadata: str | None = None


class LimitAccount(Command, frozen=True, kw_only=True):
    """Set both limits of an account to these values; None takes a limit away."""

    code: str
    min_balance: str | None
    max_balance: str | None


class FreezeAccount(Command, frozen=True, kw_only=True):
    """Stop an account from taking postings."""

    code: str


class UnfreezeAccount(Command, frozen=True, kw_only=True):
    """Let a frozen account take postings again."""

    code: str


class CloseAccount(Command, frozen=True, kw_only=True):
    """Close an account for good; every layer of it must be zero."""

    code: str


AnyCommand = Post | OpenAccount | LimitAccount | FreezeAccount | UnfreezeAccount | CloseAccount
