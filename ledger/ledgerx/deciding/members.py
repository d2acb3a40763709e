"""The rules of members: whose accounts a command takes from, and what its caller is told of the accounts of others.

A member debits its own accounts and credits any that is open and holds what is debited. Of an account of somebody else
it learns whether that takes this very credit: everything else that stands in the way is told like an account that does
not exist.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from ledgerx.commands import AnyCommand, Capture, Direction, Post, Release, Reverse, Transact
from ledgerx.deciding.ledger import NOT_OWN, Ledger
from ledgerx.errors import Conflict, Forbidden, LedgerError, NotFound, UnknownAccount
from ledgerx.journal import AccountStatus, Layer
from ledgerx.members import redacted
from ledgerx.outcomes import Outcome, Recorded, Refused


def run(ledger: Ledger, command: AnyCommand, owner: str, handler: Callable[[Ledger, Any], Recorded]) -> Recorded:
    """Run a command of the member who owns the accounts of `owner`.

    Raises what `handler` does, `Forbidden`, `NotFound` and, for all that is wrong with an account of somebody else that
    the command names, `UnknownAccount`.
    """
    if not ledger.members_may_post:
        raise Forbidden("this tenant does not let members post")
    if isinstance(command, Post):
        _check_lines(ledger, command, owner)
    elif isinstance(command, Capture | Release | Reverse):
        _check_target(ledger, command, owner)
    else:
        raise Forbidden("members post, capture, release and reverse")
    for code in command.if_versions:
        if not ledger.owns(owner, code):
            raise _unknown(code)
    try:
        return handler(ledger, command)
    except LedgerError as error:
        raise _told(ledger, command, owner, error) from None


def shown(ledger: Ledger, owner: str, outcome: Outcome) -> Outcome:
    """What the member is shown of an outcome."""
    if isinstance(outcome, Refused):
        return outcome
    own = tuple(line for line in outcome.entry.postings if ledger.owns(owner, line.account))
    entry = redacted(msgspec.structs.replace(outcome.entry, postings=own), owner)
    if isinstance(outcome, Recorded):
        return Recorded(entry, {code: kept for code, kept in outcome.balances.items() if ledger.owns(owner, code)})
    return msgspec.structs.replace(outcome, entry=entry)


def _check_lines(ledger: Ledger, command: Post, owner: str) -> None:
    """Raise `UnknownAccount` unless the debited accounts are the member's, and the credited ones take what these hold.

    It comes before amounts are looked at: what is wrong with an amount tells the scale and the asset of its account.
    """
    debited = [line.account for line in command.lines if line.direction is Direction.DEBIT]
    for code in debited:
        if not ledger.owns(owner, code):
            raise _unknown(code)
    assets = {ledger.accounts[code].asset for code in debited}
    for line in command.lines:
        account = ledger.accounts.get(line.account)
        if account is not None and account.owner == owner:
            continue
        if (
            account is None
            or account.status is not AccountStatus.OPEN
            or account.asset not in assets
            or line.asset not in (None, account.asset)
        ):
            raise _unknown(line.account)


def _check_target(ledger: Ledger, command: Capture | Release | Reverse, owner: str) -> None:
    """Raise `NotFound` where the transaction touches no account of the member, `Forbidden` where others lose by it.

    Who captures a hold pays what it debits; who releases it gives up, and who reverses gives back, what it credits.
    A part would have to be told by what others' accounts have left, and the rest of a captured hold is released.
    """
    target = ledger.targets.get(command.target)
    lines = () if target is None else target.entry.postings
    if not any(ledger.owns(owner, line.account) for line in lines):
        raise NotFound(f"there is no transaction {command.target}")
    if not isinstance(command, Release) and command.lines is not None:
        raise Forbidden("members capture and reverse whole transactions only")
    posted = [line for line in lines if line.layer is Layer.POSTED]
    paying = 1 if isinstance(command, Capture) else -1
    if not all(ledger.owns(owner, line.account) for line in posted or lines if line.amount * paying > 0):
        raise Forbidden(NOT_OWN)


def _told(ledger: Ledger, command: Transact, owner: str, error: LedgerError) -> LedgerError:
    """What the member is told of a refusal: of an account of somebody else, none but that it is in the way."""
    code = error.extra.get("account")
    if code is None or ledger.owns(owner, code):
        return error
    if isinstance(command, Post):
        return _unknown(code)
    return Conflict("an account of somebody else does not take this")


def _unknown(code: str) -> UnknownAccount:
    return UnknownAccount(f'there is no account "{code}" that this can be booked on', account=code)
