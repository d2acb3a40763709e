"""What lists are asked for."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from ledgerx.codes import CodeRange, below, exactly
from ledgerx.journal import AccountStatus, AccountType, Kind

AMOUNT = r"^[0-9]{1,30}(\.[0-9]{1,30})?$"
Amount = Annotated[str, msgspec.Meta(pattern=AMOUNT)]


class TransactionFilters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What transactions are asked for; None asks for nothing.

    `metadata` is a JSON object whose members the transaction's has to have. Times are from the first to before the
    second, amounts in units of the asset and inclusive; accounts and amounts are those of one posting.
    """

    account: str | None = None
    prefix: str | None = None
    category: str | None = None
    kind: Kind | None = None
    reference: str | None = None
    metadata: str | None = None
    recorded_from: datetime | None = None
    recorded_to: datetime | None = None
    effective_from: datetime | None = None
    effective_to: datetime | None = None
    amount_from: Amount | None = None
    amount_to: Amount | None = None


class AccountFilters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What accounts are asked for; None asks for nothing. `metadata` is as in `TransactionFilters`."""

    prefix: str | None = None
    owner: str | None = None
    type: AccountType | None = None
    asset: str | None = None
    status: AccountStatus | None = None
    metadata: str | None = None


def ranges_of(filters: TransactionFilters) -> Sequence[CodeRange] | None:
    """The codes of accounts that are asked for; None asks for no account."""
    if filters.account is not None:
        return exactly(filters.account)
    return None if filters.prefix is None else below(filters.prefix)
