"""Query parameters that several routes take, and their checks."""

from datetime import UTC, datetime
from typing import Annotated

from litestar.params import Parameter

from ledgerx.codes import CodeRange, below, exactly
from ledgerx.errors import InvalidField
from ledgerx.filters import AMOUNT

CODE = r"^[A-Za-z0-9._:\-]{1,255}$"

# Up to 255 characters, none of them NUL.
TEXT = r"^[^\x00]{1,255}$"

AccountCode = Annotated[str, Parameter(max_length=255, description="The account's code.")]
OneAccount = Annotated[str | None, Parameter(pattern=CODE, description="The code of one account.")]
Prefix = Annotated[
    str | None,
    Parameter(
        pattern=CODE,
        description="An account and all below it: `users` is `users` and `users:42`, not `users2`; "
        "`users:` leaves out `users` itself.",
    ),
]

MetadataFilter = Annotated[
    str | None,
    Parameter(
        max_length=1024,
        description='A JSON object such as `{"order": "77"}`: all its members are those of the metadata. Strings, '
        "integers and booleans can be searched for, at the top level.",
    ),
]
AmountFilter = Annotated[str | None, Parameter(pattern=AMOUNT, description="In units of the asset, inclusive.")]


def utc(moment: datetime | None, field: str) -> datetime | None:
    """A time as UTC. Raises `InvalidField` where it has no time zone or lies outside the years 1 to 9999."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise InvalidField(f"{field} needs a time zone, such as Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidField(f"{field} lies outside the years 1 to 9999") from None


def code_ranges(account: str | None, prefix: str | None) -> tuple[CodeRange, ...] | None:
    """The codes asked for; None where neither is said. Raises `InvalidField` where both are."""
    if account is not None and prefix is not None:
        raise InvalidField("send account or prefix, not both")
    if account is not None:
        return exactly(account)
    return None if prefix is None else below(prefix)
