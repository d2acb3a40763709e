"""What the named constraints of the schema mean to a client.

They say once more what the edge and `decide` check; who meets one of these errors met the second line of defence.
"""

import psycopg
import structlog

from ledgerx.errors import AccountExists, HoldAlreadyResolved, InvalidField, LedgerError, Malformed

_log = structlog.get_logger()

_ERRORS: dict[str, tuple[type[LedgerError], str]] = {
    "accounts_code_key": (AccountExists, "the account exists already"),
    "accounts_code_check": (InvalidField, "an account code has 1 to 255 of the characters A-Z a-z 0-9 . _ - :"),
    "accounts_scale_check": (InvalidField, "a scale is 0 to 30"),
    "accounts_limits_check": (InvalidField, "min_balance is above max_balance"),
    "assets_code_check": (InvalidField, "an asset has 1 to 32 of the characters A-Z 0-9 . _ -, a letter first"),
    "assets_scale_check": (InvalidField, "the scale of an asset is 0 to 18"),
    "categories_code_check": (InvalidField, "a category has 1 to 255 of the characters A-Z a-z 0-9 . _ - :"),
    "postings_amount_check": (InvalidField, "an amount is not zero"),
    "postings_line_check": (InvalidField, "a transaction has at most 1,000 postings"),
    "entries_resolution": (HoldAlreadyResolved, "the hold is resolved already"),
}


def domain_error(error: psycopg.Error) -> LedgerError:
    """The error that a client sees for a `DataError` or `IntegrityError` of the database."""
    constraint = error.diag.constraint_name
    if constraint in _ERRORS:
        kind, detail = _ERRORS[constraint]
        return kind(detail)
    if isinstance(error, psycopg.DataError):
        return Malformed("the request holds a value that the database cannot store")
    _log.error("unexpected constraint violation", constraint=constraint, sqlstate=error.sqlstate)
    return LedgerError()
