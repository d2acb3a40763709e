"""Commands: what a caller asks of the ledger, decoded and not yet decided."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
import uuid_utils.compat as uuid_utils
from msgspec import UNSET, UnsetType

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
    with one key apart. `confined_to` is the owner from whose accounts alone it may take, and beside whose accounts its
    caller is told of none; None for who reaches all of the tenant.
    """

    idempotency_key: str
    fingerprint: bytes
    actor: str
    traceparent: str | None = None
    confined_to: str | None = None


class Transact(Command, frozen=True, kw_only=True):
    """A command that makes a transaction, with what its caller says of it. `metadata` is canonical JSON (RFC 8785).

    `if_versions` are the versions, by account code, at which accounts must stand: the number of the latest transaction
    that touched each, 0 for none.
    """

    reference: str | None = None
    category: str | None = None
    description: str | None = None
    metadata: str | None = None
    effective_at: datetime | None = None
    if_versions: Mapping[str, int] = {}


class Post(Transact, frozen=True, kw_only=True):
    """Record a transaction."""

    lines: tuple[Line, ...]


class Hold(Post, frozen=True, kw_only=True):
    """Reserve what a transaction would move, until it is captured, released, or past `expires_at`."""

    expires_at: datetime | None = None


class Capture(Transact, frozen=True, kw_only=True):
    """Settle the hold `target`: whole, or only `lines` of it; the rest is released."""

    target: int
    lines: tuple[Line, ...] | None = None


class Release(Transact, frozen=True, kw_only=True):
    """Give up the hold `target`."""

    target: int


class Expire(Transact, frozen=True, kw_only=True):
    """Give up the hold `target`, which is past its time."""

    target: int


class Reverse(Transact, frozen=True, kw_only=True):
    """Take back the transaction `target`: all that is left of it, or only `lines` of it."""

    target: int
    lines: tuple[Line, ...] | None = None


class Amend(Command, frozen=True, kw_only=True):
    """Give the transaction `target` other annotations; those that are UNSET stay."""

    target: int
    category: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    metadata: str | UnsetType | None = UNSET


class OpenAccount(Command, frozen=True, kw_only=True):
    """Open an account. Limits are decimal strings on the account's normal side; None is no limit."""

    code: str
    asset: str
    type: AccountType
    min_balance: str | None = None
    max_balance: str | None = None
    owner: str | None = None
    metadata: str | None = None


class UpdateAccount(Command, frozen=True, kw_only=True):
    """Change an account; what is UNSET stays. `frozen` accounts take no postings.

    `if_versions` are versions of which the account must stand at one: the number of its latest account entry.
    """

    code: str
    min_balance: str | UnsetType | None = UNSET
    max_balance: str | UnsetType | None = UNSET
    frozen: bool | UnsetType = UNSET
    owner: str | UnsetType | None = UNSET
    metadata: str | UnsetType = UNSET
    if_versions: frozenset[int] | None = None


class CloseAccount(Command, frozen=True, kw_only=True):
    """Close an account for good; every layer of it must be zero. `if_versions` as in `UpdateAccount`."""

    code: str
    if_versions: frozenset[int] | None = None


class CreateAsset(Command, frozen=True, kw_only=True):
    """Register an asset with `scale` decimals, 0 to 18.

    A currency of ISO 4217 may be given a scale of the tenant's own before an account holds it.
    """

    code: str
    scale: int
    name: str | None = None


class UpdateAsset(Command, frozen=True, kw_only=True):
    """Change a registered asset; what is UNSET stays. `if_versions` as in `UpdateAccount`."""

    code: str
    name: str | UnsetType | None = UNSET
    if_versions: frozenset[int] | None = None


class DeleteAsset(Command, frozen=True, kw_only=True):
    """Take a registered asset away that no account holds or held. `if_versions` as in `UpdateAccount`."""

    code: str
    if_versions: frozenset[int] | None = None


class CreateCategory(Command, frozen=True, kw_only=True):
    """Register a category."""

    code: str
    name: str | None = None
    description: str | None = None


class UpdateCategory(Command, frozen=True, kw_only=True):
    """Change a registered category; what is UNSET stays. `if_versions` as in `UpdateAccount`."""

    code: str
    name: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    if_versions: frozenset[int] | None = None


class DeleteCategory(Command, frozen=True, kw_only=True):
    """Take a registered category away; transactions keep it. `if_versions` as in `UpdateAccount`."""

    code: str
    if_versions: frozenset[int] | None = None


class ChangeSettings(Command, frozen=True, kw_only=True):
    """Change the tenant's settings; what is UNSET stays. `if_versions` as in `UpdateAccount`."""

    strict_categories: bool | UnsetType = UNSET
    if_versions: frozenset[int] | None = None


TargetCommand = Capture | Release | Expire | Reverse | Amend
AccountCommand = OpenAccount | UpdateAccount | CloseAccount
AssetCommand = CreateAsset | UpdateAsset | DeleteAsset
CategoryCommand = CreateCategory | UpdateCategory | DeleteCategory
AnyCommand = Post | Hold | TargetCommand | AccountCommand | AssetCommand | CategoryCommand | ChangeSettings


def random_key() -> str:
    """An idempotency key for a command that came without; any that can be foreseen a client could have taken."""
    return f"auto:{uuid_utils.uuid7()}"


def unkeyed(actor: str) -> dict[str, Any]:
    """The fields of `Command` for one that the platform gives by itself."""
    return {"idempotency_key": random_key(), "fingerprint": b"", "actor": actor}
