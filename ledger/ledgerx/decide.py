"""The pure heart: what commands do to a ledger. No I/O, no clock, no randomness.

`decide` takes the commands of one batch in order, each seeing what those before it did. A refused command changes
nothing. The caller writes down the decision whole, or not at all.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from ledgerx.assets import scale_of
from ledgerx.commands import (
    AnyCommand,
    CloseAccount,
    Direction,
    FreezeAccount,
    LimitAccount,
    Line,
    OpenAccount,
    Post,
    UnfreezeAccount,
)
from ledgerx.errors import (
    AccountClosed,
    AccountExists,
    AccountFrozen,
    AccountNotEmpty,
    AssetMismatch,
    IdempotencyKeyReused,
    InsufficientFunds,
    InvalidField,
    LedgerError,
    LimitExceeded,
    TooManyAccounts,
    Unbalanced,
    UnknownAccount,
)
from ledgerx.journal import (
    AccountState,
    AccountStatus,
    Entry,
    Kind,
    Posting,
    annotations_hash,
    chain,
)
from ledgerx.money import from_minor, positive_minor, to_minor
from ledgerx.state import Account, Balance, Head, KnownKey, State, Sums, balance

MAX_POSTINGS = 1_000


class Recorded(msgspec.Struct, frozen=True):
    """The command made this entry; `balances` are those of the guarded accounts it touched, by code."""

    entry: Entry
    balances: Mapping[str, tuple[Balance, int]]


class Replayed(msgspec.Struct, frozen=True):
    """The command had been recorded before, as this entry."""

    entry: Entry


class Refused(msgspec.Struct, frozen=True):
    """The command breaks a rule; nothing of it was recorded."""

    error: LedgerError


Outcome = Recorded | Replayed | Refused


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What a batch comes to: an outcome for each command in order, and all that is to be written.

    `accounts` are those opened or changed; `sums` are the guarded sums to keep, each with the seq of its last change.
    """

    outcomes: Sequence[Outcome]
    head: Head
    entries: Sequence[Entry]
    accounts: Mapping[int, Account]
    sums: Mapping[int, tuple[Sums, int]]


def decide(state: State, commands: Sequence[AnyCommand], now: datetime) -> Decision:
    """Decide `commands` in order against `state`.

    `now` is the time of recording, in UTC; it is raised to the head's where the clock ran backwards.
    """
    ledger = _Ledger(state, max(now, state.head.recorded_at))
    outcomes = [ledger.run(command) for command in commands]
    return Decision(
        outcomes=outcomes,
        head=ledger.head,
        entries=ledger.entries,
        accounts=ledger.changed_accounts,
        sums=ledger.changed_guarded_sums,
    )


class _Ledger:
    """The working copy of one batch."""

    def __init__(self, state: State, now: datetime) -> None:
        self.head = state.head
        self.entries: list[Entry] = []
        self.changed_accounts: dict[int, Account] = {}
        self._changed_sums: dict[int, tuple[Sums, int]] = {}
        self._now = now
        self._accounts = dict(state.accounts)
        self._sums = dict(state.sums)
        self._keys = dict(state.keys)
        self._accounts_left = state.accounts_left

    @property
    def changed_guarded_sums(self) -> dict[int, tuple[Sums, int]]:
        """The changed sums of the accounts that have limits in the end, each with the seq of its last change."""
        guarded = {account.account_id for account in self._accounts.values() if account.guarded}
        return {account_id: kept for account_id, kept in self._changed_sums.items() if account_id in guarded}

    def run(self, command: AnyCommand) -> Outcome:
        known = self._keys.get(command.idempotency_key)
        if known is not None:
            if known.fingerprint == command.fingerprint:
                return Replayed(known.entry)
            return Refused(IdempotencyKeyReused("this idempotency key was used for a different request"))
        try:
            outcome = _HANDLERS[type(command)](self, command)
        except LedgerError as error:
            return Refused(error)
        self._keys[command.idempotency_key] = KnownKey(command.fingerprint, outcome.entry)
        return outcome

    def post(self, command: Post) -> Recorded:
        if not 2 <= len(command.lines) <= MAX_POSTINGS:
            raise InvalidField(f"a transaction has 2 to {MAX_POSTINGS} postings, this one has {len(command.lines)}")
        postings = tuple([self._posting(line) for line in command.lines])
        _check_balanced(postings)
        touched = self._known_sums(postings)
        balances = {}
        for account, sums in touched.values():
            if account.guarded:
                after = balance(sums, account.type)
                _check_within(account, after)
                balances[account.code] = (after, account.scale)
        entry = self._record(
            command,
            Kind.POST,
            postings=postings,
            effective_at=command.effective_at,
            reference=command.reference,
            category=command.category,
            description=command.description,
            metadata=command.metadata,
        )
        for account_id, (_, sums) in touched.items():
            self._set_sums(account_id, sums)
        return Recorded(entry, balances)

    def open_account(self, command: OpenAccount) -> Recorded:
        if command.code in self._accounts:
            raise AccountExists(f'account "{command.code}" exists already', account=command.code)
        if self._accounts_left is not None and self._accounts_left <= 0:
            raise TooManyAccounts("this tenant has as many accounts as it may have")
        scale = scale_of(command.asset)
        account = Account(
            account_id=self.head.seq + 1,
            code=command.code,
            asset=command.asset,
            scale=scale,
            type=command.type,
            status=AccountStatus.OPEN,
            min_balance=_limit(command.min_balance, scale),
            max_balance=_limit(command.max_balance, scale),
            seq=self.head.seq + 1,
        )
        _check_limits_order(account)
        _check_within(account, balance(Sums(), account.type))
        if self._accounts_left is not None:
            self._accounts_left -= 1
        return self._change(command, Kind.OPEN_ACCOUNT, account, Sums(), metadata=command.metadata)

    def limit_account(self, command: LimitAccount) -> Recorded:
        account = self._usable(command.code, frozen_too=True)
        limited = msgspec.structs.replace(
            account,
            min_balance=_limit(command.min_balance, account.scale),
            max_balance=_limit(command.max_balance, account.scale),
        )
        _check_limits_order(limited)
        sums = self._sums[account.account_id]
        _check_within(limited, balance(sums, account.type))
        return self._change(command, Kind.LIMIT_ACCOUNT, limited, sums)

    def freeze_account(self, command: FreezeAccount) -> Recorded:
        account = self._usable(command.code)
        frozen = msgspec.structs.replace(account, status=AccountStatus.FROZEN)
        return self._change(command, Kind.FREEZE_ACCOUNT, frozen)

    def unfreeze_account(self, command: UnfreezeAccount) -> Recorded:
        account = self._usable(command.code, frozen_too=True)
        thawed = msgspec.structs.replace(account, status=AccountStatus.OPEN)
        return self._change(command, Kind.UNFREEZE_ACCOUNT, thawed)

    def close_account(self, command: CloseAccount) -> Recorded:
        account = self._usable(command.code, frozen_too=True)
        if self._sums[account.account_id] != Sums():
            raise AccountNotEmpty(f'account "{account.code}" has a balance', account=account.code)
        closed = msgspec.structs.replace(account, status=AccountStatus.CLOSED)
        return self._change(command, Kind.CLOSE_ACCOUNT, closed)

    def _usable(self, code: str, *, frozen_too: bool = False) -> Account:
        account = self._accounts.get(code)
        if account is None:
            raise UnknownAccount(f'there is no account "{code}"', account=code)
        if account.status is AccountStatus.CLOSED:
            raise AccountClosed(f'account "{code}" is closed', account=code)
        if account.status is AccountStatus.FROZEN and not frozen_too:
            raise AccountFrozen(f'account "{code}" is frozen', account=code)
        return account

    def _posting(self, line: Line) -> Posting:
        account = self._usable(line.account)
        if line.asset is not None and line.asset != account.asset:
            raise AssetMismatch(
                f'account "{account.code}" holds {account.asset}, not {line.asset}',
                account=account.code,
                asset=account.asset,
            )
        minor = positive_minor(line.amount, account.scale)
        signed = minor if line.direction is Direction.DEBIT else -minor
        return Posting(account.code, account.account_id, account.asset, account.scale, signed)

    def _known_sums(self, postings: Sequence[Posting]) -> dict[int, tuple[Account, Sums]]:
        """What the known sums of accounts among `postings` would come to.

        They are those of all guarded accounts, and of accounts that a later command of the batch weighs.
        """
        touched: dict[int, tuple[Account, Sums]] = {}
        for line in postings:
            if line.account_id in self._sums:
                sums = touched[line.account_id][1] if line.account_id in touched else self._sums[line.account_id]
                touched[line.account_id] = (self._accounts[line.account], sums.plus(line.layer, line.amount))
        return touched

    def _change(
        self, command: AnyCommand, kind: Kind, account: Account, sums: Sums | None = None, metadata: str | None = None
    ) -> Recorded:
        account = msgspec.structs.replace(account, seq=self.head.seq + 1)
        entry = self._record(command, kind, change=account.state, metadata=metadata)
        self._accounts[account.code] = account
        self.changed_accounts[account.account_id] = account
        if sums is not None:
            self._set_sums(account.account_id, sums)
        return Recorded(entry, {})

    def _set_sums(self, account_id: int, sums: Sums) -> None:
        self._sums[account_id] = sums
        self._changed_sums[account_id] = (sums, self.head.seq)

    def _record(
        self,
        command: AnyCommand,
        kind: Kind,
        *,
        postings: tuple[Posting, ...] = (),
        change: AccountState | None = None,
        effective_at: datetime | None = None,
        reference: str | None = None,
        category: str | None = None,
        description: str | None = None,
        metadata: str | None = None,
    ) -> Entry:
        entry = Entry(
            seq=self.head.seq + 1,
            kind=kind,
            recorded_at=self._now,
            actor=command.actor,
            effective_at=effective_at,
            idempotency_key=command.idempotency_key,
            fingerprint=command.fingerprint,
            reference=reference,
            category=category,
            description=description,
            metadata=metadata,
            annotations_hash=annotations_hash(category, description, metadata),
            postings=postings,
            change=change,
        )
        entry = msgspec.structs.replace(entry, hash=chain(self.head.hash, entry))
        self.entries.append(entry)
        self.head = Head(entry.seq, entry.hash, entry.recorded_at)
        return entry


# One handler a command; the type of the command is the key, so mypy cannot see that they fit each other.
_HANDLERS: dict[type, Callable[[_Ledger, Any], Recorded]] = {
    Post: _Ledger.post,
    OpenAccount: _Ledger.open_account,
    LimitAccount: _Ledger.limit_account,
    FreezeAccount: _Ledger.freeze_account,
    UnfreezeAccount: _Ledger.unfreeze_account,
    CloseAccount: _Ledger.close_account,
}


def _check_balanced(postings: Sequence[Posting]) -> None:
    sums: dict[str, int] = {}
    for line in postings:
        sums[line.asset] = sums.get(line.asset, 0) + line.amount
    if not any(sums.values()):
        return
    scales = {line.asset: line.scale for line in postings}
    difference = {asset: from_minor(total, scales[asset]) for asset, total in sums.items() if total}
    wording = ", ".join(f"{amount} {asset}" for asset, amount in difference.items())
    raise Unbalanced(f"debits less credits come to {wording} instead of zero", difference=difference)


def _check_within(account: Account, after: Balance) -> None:
    if account.min_balance is not None and after.available < account.min_balance:
        raise InsufficientFunds(
            f'account "{account.code}" would fall below its minimum balance',
            account=account.code,
            shortfall=from_minor(account.min_balance - after.available, account.scale),
        )
    if account.max_balance is not None and after.ceiling > account.max_balance:
        raise LimitExceeded(
            f'account "{account.code}" would rise above its maximum balance',
            account=account.code,
            excess=from_minor(after.ceiling - account.max_balance, account.scale),
        )


def _limit(text: str | None, scale: int) -> int | None:
    return None if text is None else to_minor(text, scale)


def _check_limits_order(account: Account) -> None:
    if (
        account.min_balance is not None
        and account.max_balance is not None
        and account.min_balance > account.max_balance
    ):
        raise InvalidField("min_balance is above max_balance")
