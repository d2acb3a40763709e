"""The working copy of a ledger that the commands of one batch change, each seeing what those before it did."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from ledgerx.commands import Command, Transact
from ledgerx.errors import (
    AccountClosed,
    AccountFrozen,
    Forbidden,
    InsufficientFunds,
    LimitExceeded,
    NotFound,
    PreconditionFailed,
    UnknownAccount,
    UnknownCategory,
)
from ledgerx.journal import (
    AccountStatus,
    Change,
    Entry,
    Kind,
    Layer,
    Posting,
    annotations_hash,
    chain,
)
from ledgerx.money import from_minor
from ledgerx.outcomes import Recorded
from ledgerx.state import Account, Balance, Head, State, Sums, Target, balance

NOT_OWN = "a member takes from its own accounts only"


class Ledger:
    """The state of a batch as its commands change it. Nothing here is changed by a command that is refused."""

    def __init__(self, state: State, now: datetime) -> None:
        self.head = state.head
        self.now = now
        self.entries: list[Entry] = []
        self.accounts = dict(state.accounts)
        self.sums = dict(state.sums)
        self.targets = dict(state.targets)
        self.changed_accounts: dict[int, Account] = {}
        self.opened_holds: dict[int, datetime | None] = {}
        self.resolved_holds: list[int] = []
        self._changed_sums: dict[int, tuple[Sums, int]] = {}
        self.versions = dict(state.versions)
        self.accounts_left = state.accounts_left
        self.registry = state.registry
        self.assets = dict(state.assets)
        self.scales = dict(state.scales)
        self.categories = dict(state.categories)
        self.changed_assets: set[str] = set()
        self.changed_categories: set[str] = set()
        self.members_may_post = state.members_may_post

    @property
    def changed_guarded_sums(self) -> dict[int, tuple[Sums, int]]:
        """The changed sums of the accounts that have limits in the end, each with the seq of its last change."""
        guarded = {account.account_id for account in self.accounts.values() if account.guarded}
        return {account_id: kept for account_id, kept in self._changed_sums.items() if account_id in guarded}

    def usable(self, code: str, *, frozen_too: bool = False) -> Account:
        """The account with this code. Raises `UnknownAccount`, `AccountClosed` and `AccountFrozen`."""
        account = self.accounts.get(code)
        if account is None:
            raise UnknownAccount(f'there is no account "{code}"', account=code)
        if account.status is AccountStatus.OPEN:
            return account
        if account.status is AccountStatus.CLOSED:
            raise AccountClosed(f'account "{code}" is closed', account=code)
        if not frozen_too:
            raise AccountFrozen(f'account "{code}" is frozen', account=code)
        return account

    def check_category(self, category: str | None) -> None:
        """Raise `UnknownCategory` where categories are strict and this one, if there is one, is not registered."""
        if category is not None and self.registry.strict_categories and category not in self.categories:
            raise UnknownCategory(f'there is no category "{category}"', category=category)

    def target(self, seq: int) -> Target:
        """The transaction with this number. Raises `NotFound`."""
        try:
            return self.targets[seq]
        except KeyError:
            raise NotFound(f"there is no transaction {seq}") from None

    def move(
        self,
        command: Transact,
        kind: Kind,
        postings: Sequence[Posting],
        *,
        target: Target | None = None,
        expires_at: datetime | None = None,
    ) -> Recorded:
        """Record a transaction. A category that `command` does not give is that of the `target`.

        Raises `UnknownCategory`, `InsufficientFunds`, `LimitExceeded`, `PreconditionFailed`, and `Forbidden` where it
        takes from an account beside those that `command` is confined to.
        """
        self.check_category(command.category)
        self._check_versions(command.if_versions)
        touched = self._touched(postings)
        checked: Iterable[tuple[Account, Sums]] = touched.values()
        if command.confined_to is not None:
            self._check_takes_own(command.confined_to, postings)
            # Who has too little is not told what others have room for.
            checked = sorted(checked, key=lambda one: one[0].owner != command.confined_to)
        balances = {}
        for account, sums in checked:
            if account.guarded:
                after = balance(sums, account.type)
                check_within(account, after)
                balances[account.code] = (after, account.scale)
        inherited = None if target is None else target.entry.category
        entry = self.record(
            command,
            kind,
            postings=tuple(postings),
            effective_at=command.effective_at,
            reference=command.reference,
            category=inherited if command.category is None else command.category,
            description=command.description,
            metadata=command.metadata,
            target_seq=None if target is None else target.entry.seq,
            expires_at=expires_at,
        )
        for account_id, (_, sums) in touched.items():
            self.set_sums(account_id, sums)
        self.targets[entry.seq] = Target(entry)
        if self.versions:
            self.versions.update((line.account_id, entry.seq) for line in postings)
        return Recorded(entry, balances)

    def set_sums(self, account_id: int, sums: Sums) -> None:
        """Keep an account's sums as the latest entry left them."""
        self.sums[account_id] = sums
        self._changed_sums[account_id] = (sums, self.head.seq)

    def record(
        self,
        command: Command,
        kind: Kind,
        *,
        postings: tuple[Posting, ...] = (),
        change: Change | None = None,
        effective_at: datetime | None = None,
        reference: str | None = None,
        category: str | None = None,
        description: str | None = None,
        metadata: str | None = None,
        target_seq: int | None = None,
        expires_at: datetime | None = None,
    ) -> Entry:
        """Number, time and chain an entry."""
        entry = Entry(
            seq=self.head.seq + 1,
            kind=kind,
            recorded_at=self.now,
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
            target_seq=target_seq,
            expires_at=expires_at,
        )
        # Nobody else has seen it yet.
        msgspec.structs.force_setattr(entry, "hash", chain(self.head.hash, entry))
        self.entries.append(entry)
        self.head = Head(entry.seq, entry.hash, entry.recorded_at)
        return entry

    def _check_versions(self, wanted: Mapping[str, int]) -> None:
        for code, version in wanted.items():
            account = self.usable(code, frozen_too=True)
            stands = self.versions[account.account_id]
            if stands != version:
                raise PreconditionFailed(
                    f'account "{code}" stands at version {stands}, not {version}', account=code, version=stands
                )

    def owns(self, owner: str, code: str) -> bool:
        """Whether there is an account with this code, and it is the owner's."""
        account = self.accounts.get(code)
        return account is not None and account.owner == owner

    def _check_takes_own(self, owner: str, postings: Iterable[Posting]) -> None:
        """Raise `Forbidden` where others lose by `postings`: money, or what a hold promises them.

        What takes a hold's credit off the pending layer has to post it in full.
        """
        promised: dict[int, int] = {}
        for line in postings:
            if self.owns(owner, line.account):
                continue
            if line.amount > 0 and line.layer is not Layer.PENDING_CREDIT:
                raise Forbidden(NOT_OWN)
            if line.layer is not Layer.PENDING_DEBIT:
                promised[line.account_id] = promised.get(line.account_id, 0) + line.amount
        if any(amount > 0 for amount in promised.values()):
            raise Forbidden(NOT_OWN)

    def _touched(self, postings: Iterable[Posting]) -> dict[int, tuple[Account, Sums]]:
        """What the known sums of accounts among `postings` would come to.

        They are those of all guarded accounts, and of accounts that a later command of the batch weighs.
        """
        touched: dict[int, tuple[Account, Sums]] = {}
        for line in postings:
            if line.account_id in self.sums:
                sums = touched[line.account_id][1] if line.account_id in touched else self.sums[line.account_id]
                touched[line.account_id] = (self.accounts[line.account], sums.plus(line.layer, line.amount))
        return touched


def check_version(what: str, stands: int, wanted: frozenset[int] | None, **extra: str) -> None:
    """Raise `PreconditionFailed` where `what` stands at a version that is none of the wanted; None wants any."""
    if wanted is not None and stands not in wanted:
        raise PreconditionFailed(f"{what} is at version {stands} now", **extra, version=stands)


def check_within(account: Account, after: Balance) -> None:
    """Raise `InsufficientFunds` or `LimitExceeded` where `after` lies outside the account's limits."""
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
