"""Requests that move money or take it back, and how they turn into commands."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledgerx.commands import Amend, Capture, Direction, Hold, Line, Post, Release, Reverse
from ledgerx.errors import InvalidField
from ledgerx_api.parameters import utc
from ledgerx_api.schemas import NO_NUL, Amount, Asset, Metadata, Text, canonical, no_metadata

MAX_CONDITIONS = 100
Description = Annotated[str, Meta(max_length=1000, pattern=NO_NUL)]


class NewPosting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a transaction to record; a stated asset must be the account's."""

    account: Text
    direction: Direction
    amount: Amount
    asset: Asset | None = None


Postings = Annotated[list[NewPosting], Meta(min_length=2, max_length=1000)]


class Movement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be said of any transaction.

    `if_balance_version` are conditions by account code: the `version` that `GET /v1/accounts/{code}/balance` answers,
    which is the number of the latest transaction that touched the account, on whichever layer, 0 for none. Where one of
    them is another, nothing is recorded.
    """

    reference: Text | None = None
    category: Text | None = None
    description: Description | None = None
    metadata: Metadata = msgspec.field(default_factory=no_metadata)
    effective_at: datetime | None = None
    if_balance_version: Annotated[
        dict[Text, Annotated[int, Meta(ge=0, le=2**63 - 1)]], Meta(max_length=MAX_CONDITIONS)
    ] = {}


class NewTransaction(Movement, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A transaction to record: `postings`, or the short form `debit`, `credit` and `amount` for two lines.

    A `hold` reserves the amounts until it is captured, released, or past `expires_at`.
    """

    postings: Postings | UnsetType = UNSET
    debit: Text | UnsetType = UNSET
    credit: Text | UnsetType = UNSET
    amount: Amount | UnsetType = UNSET
    asset: Asset | None = None
    kind: Literal["post", "hold"] = "post"
    expires_at: datetime | None = None


class BatchItem(NewTransaction, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A transaction of a batch. Without a key of its own it has `<key of the batch>#<index>`, from 0."""

    idempotency_key: str | None = None


class PartOf(Movement, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to capture or reverse a transaction: whole, or only `postings`, which read as they do in that transaction."""

    postings: Postings | UnsetType = UNSET


# What a request without a body asks for.
WHOLE = PartOf()
PLAIN = Movement()


class Annotations(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a transaction's annotations; what is left out stays, null takes away."""

    category: Text | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET


def transact(data: NewTransaction, **command: Any) -> Post:
    """The command behind `NewTransaction`; `command` are the fields of `Command`.

    Raises `InvalidField` when it is neither of the two forms, or a member cannot be kept.
    """
    if data.kind == "hold":
        return Hold(lines=_lines(data), expires_at=utc(data.expires_at, "expires_at"), **_annotations(data), **command)
    if data.expires_at is not None:
        raise InvalidField("only a hold expires")
    return Post(lines=_lines(data), **_annotations(data), **command)


def capture(target: int, data: PartOf, **command: Any) -> Capture:
    """Capture the hold `target`."""
    return Capture(target=target, lines=_part(data), **_annotations(data), **command)


def reverse(target: int, data: PartOf, **command: Any) -> Reverse:
    """Reverse the transaction `target`."""
    return Reverse(target=target, lines=_part(data), **_annotations(data), **command)


def release(target: int, data: Movement, **command: Any) -> Release:
    """Release the hold `target`."""
    return Release(target=target, **_annotations(data), **command)


def amend(target: int, data: Annotations, **command: Any) -> Amend:
    """Give the transaction `target` other annotations."""
    return Amend(
        target=target,
        category=data.category,
        description=data.description,
        metadata=UNSET if data.metadata is UNSET else canonical(data.metadata),
        **command,
    )


def _annotations(data: Movement) -> dict[str, Any]:
    return {
        "reference": data.reference,
        "category": data.category,
        "description": data.description,
        "metadata": canonical(data.metadata),
        "effective_at": utc(data.effective_at, "effective_at"),
        "if_versions": data.if_balance_version,
    }


def _part(data: PartOf) -> tuple[Line, ...] | None:
    return None if data.postings is UNSET else _given(data.postings)


def _lines(data: NewTransaction) -> tuple[Line, ...]:
    if data.postings is not UNSET:
        if data.debit is not UNSET or data.credit is not UNSET or data.amount is not UNSET or data.asset is not None:
            raise InvalidField("send either postings, or debit, credit and amount")
        return _given(data.postings)
    if data.debit is UNSET or data.credit is UNSET or data.amount is UNSET:
        raise InvalidField("send postings, or all of debit, credit and amount")
    return (
        Line(data.debit, Direction.DEBIT, data.amount, data.asset),
        Line(data.credit, Direction.CREDIT, data.amount, data.asset),
    )


def _given(postings: Sequence[NewPosting]) -> tuple[Line, ...]:
    return tuple([Line(line.account, line.direction, line.amount, line.asset) for line in postings])
