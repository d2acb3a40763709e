"""The rules of accounts: opening, changing and closing them."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from ledgerx.commands import AccountCommand, CloseAccount, OpenAccount, UpdateAccount
from ledgerx.deciding.assets import scale_of
from ledgerx.deciding.ledger import Ledger, check_version, check_within
from ledgerx.errors import AccountExists, AccountNotEmpty, InvalidField, TooManyAccounts
from ledgerx.journal import AccountStatus, Kind
from ledgerx.money import to_minor
from ledgerx.outcomes import Recorded
from ledgerx.state import Account, Sums, balance


def open_account(ledger: Ledger, command: OpenAccount) -> Recorded:
    """Open an account."""
    if command.code in ledger.accounts:
        raise AccountExists(f'account "{command.code}" exists already', account=command.code)
    if ledger.accounts_left is not None and ledger.accounts_left <= 0:
        raise TooManyAccounts("this tenant has as many accounts as it may have")
    scale = scale_of(ledger, command.asset)
    account = Account(
        account_id=ledger.head.seq + 1,
        code=command.code,
        asset=command.asset,
        scale=scale,
        type=command.type,
        status=AccountStatus.OPEN,
        min_balance=_limit(command.min_balance, scale),
        max_balance=_limit(command.max_balance, scale),
        owner=command.owner,
        seq=ledger.head.seq + 1,
    )
    _check_limits(account, Sums())
    # A later command of the batch may want it untouched.
    ledger.versions[account.account_id] = 0
    ledger.scales[account.asset] = scale
    if ledger.accounts_left is not None:
        ledger.accounts_left -= 1
    return _change(ledger, command, Kind.OPEN_ACCOUNT, account, Sums(), metadata=command.metadata)


def update_account(ledger: Ledger, command: UpdateAccount) -> Recorded:
    """Change an account's limits, owner, metadata, or whether it is frozen. Limits hold for the present balance."""
    account = _at_version(ledger.usable(command.code, frozen_too=True), command.if_versions)
    changes: dict[str, Any] = {
        name: _limit(given, account.scale)
        for name, given in (("min_balance", command.min_balance), ("max_balance", command.max_balance))
        if not isinstance(given, UnsetType)
    }
    if command.frozen is not UNSET:
        changes["status"] = AccountStatus.FROZEN if command.frozen else AccountStatus.OPEN
    if command.owner is not UNSET:
        changes["owner"] = command.owner
    updated = msgspec.structs.replace(account, **changes)
    sums = ledger.sums[account.account_id]
    _check_limits(updated, sums)
    metadata = None if command.metadata is UNSET else command.metadata
    return _change(ledger, command, Kind.UPDATE_ACCOUNT, updated, sums, metadata=metadata)


def close_account(ledger: Ledger, command: CloseAccount) -> Recorded:
    """Close an account; every layer of it must be zero."""
    account = _at_version(ledger.usable(command.code, frozen_too=True), command.if_versions)
    if ledger.sums[account.account_id] != Sums():
        raise AccountNotEmpty(f'account "{account.code}" has a balance', account=account.code)
    closed = msgspec.structs.replace(account, status=AccountStatus.CLOSED)
    return _change(ledger, command, Kind.CLOSE_ACCOUNT, closed)


def _change(
    ledger: Ledger,
    command: AccountCommand,
    kind: Kind,
    account: Account,
    sums: Sums | None = None,
    metadata: str | None = None,
) -> Recorded:
    account = msgspec.structs.replace(account, seq=ledger.head.seq + 1)
    entry = ledger.record(command, kind, change=account.state, metadata=metadata)
    ledger.accounts[account.code] = account
    ledger.changed_accounts[account.account_id] = account
    if sums is not None:
        ledger.set_sums(account.account_id, sums)
    return Recorded(entry, {})


def _at_version(account: Account, versions: frozenset[int] | None) -> Account:
    check_version(f'account "{account.code}"', account.seq, versions, account=account.code)
    return account


def _limit(text: str | None, scale: int) -> int | None:
    return None if text is None else to_minor(text, scale)


def _check_limits(account: Account, sums: Sums) -> None:
    least, most = account.min_balance, account.max_balance
    if least is not None and most is not None and least > most:
        raise InvalidField("min_balance is above max_balance")
    check_within(account, balance(sums, account.type))
