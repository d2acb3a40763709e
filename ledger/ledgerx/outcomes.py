"""What becomes of a command."""

from collections.abc import Mapping

import msgspec

from ledgerx.errors import LedgerError
from ledgerx.journal import Entry
from ledgerx.state import Balance


class Recorded(msgspec.Struct, frozen=True):
    """The command made this entry; `balances` are those of the guarded accounts it touched, by code, with the scale."""

    entry: Entry
    balances: Mapping[str, tuple[Balance, int]]


class Replayed(msgspec.Struct, frozen=True):
    """The command had been recorded before, as this entry."""

    entry: Entry


class Refused(msgspec.Struct, frozen=True):
    """The command breaks a rule; nothing of it was recorded."""

    error: LedgerError


Outcome = Recorded | Replayed | Refused
