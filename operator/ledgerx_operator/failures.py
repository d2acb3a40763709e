"""Why something is not as it was declared, and whether time or only a change can mend it."""

import psycopg
import structlog
from httpx2 import HTTPError
from lightkube import ApiError
from psycopg_pool import PoolTimeout

from ledgerx.errors import LedgerError, Unavailable

_MAX_MESSAGE = 1_000
_log = structlog.get_logger()


class Failure(Exception):
    """Base: `reason` is a condition's, in PascalCase; the message is for people and holds no secret."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message[:_MAX_MESSAGE])
        self.reason = reason
        self.message = message[:_MAX_MESSAGE]


class NotYet(Failure):
    """Passes by itself, or by what somebody does elsewhere: tried again, ever more seldom."""


class Refusal(Failure):
    """Stays until the object is changed, or what it is checked against at the next look for drift."""


def failure_of(error: Exception) -> Failure:
    """What an error means to whoever declared the object."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, Unavailable):
        return NotYet("DatabaseUnavailable", error.detail)
    if isinstance(error, LedgerError):
        return Refusal("".join(word.title() for word in error.code.split("_")), error.detail)
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        _log.warning("the database refused", error=first_line(error))
        return NotYet("DatabaseRefused", "the database refuses it, see the operator's log")
    if isinstance(error, psycopg.OperationalError | PoolTimeout):
        # Where the database is, and who logs in, is nothing for the namespaces of tenants.
        _log.warning("the database does not answer", error=first_line(error))
        return NotYet("DatabaseUnavailable", "the database does not answer")
    if isinstance(error, ApiError):
        return NotYet("ClusterRefused", f"{error.status.reason}: {error.status.message}")
    if isinstance(error, HTTPError):
        return NotYet("ClusterUnavailable", type(error).__name__)
    _log.error("reconciliation failed", exc_info=error)
    return NotYet("InternalError", f"{type(error).__name__}, see the operator's log")


def first_line(error: Exception) -> str:
    """What an error of psycopg says in one line."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
