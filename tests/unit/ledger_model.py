"""A ledger as simple as can be, to hold `decide` against: it says what becomes of each command."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import UNSET

from ledgerx import commands as asked
from ledgerx.commands import AnyCommand, Direction, Line
from ledgerx.journal import AccountType

CURRENCIES = {"USD": 2, "JPY": 0}
Signed = tuple[str, int]


@dataclass
class ModelAccount:
    asset: str
    scale: int
    type: AccountType
    least: int | None
    most: int | None
    status: str = "open"
    balance: int = 0
    incoming: int = 0
    outgoing: int = 0
    changed_at: int = 0
    touched_at: int = 0

    def breaks(self) -> str | None:
        if self.least is not None and self.balance - self.outgoing < self.least:
            return "insufficient_funds"
        if self.most is not None and self.balance + self.incoming > self.most:
            return "limit_exceeded"
        return None

    def move(self, signed: int, *, pending: bool, times: int = 1) -> None:
        change = signed * self.type.sign
        if not pending:
            self.balance += change * times
        elif change > 0:
            self.incoming += change * times
        else:
            self.outgoing -= change * times


@dataclass
class ModelTransaction:
    kind: str
    lines: Sequence[Signed]
    category: str | None
    expires_at: datetime | None = None
    resolved: bool = False
    taken: Counter[tuple[str, bool]] = field(default_factory=Counter)

    @property
    def left(self) -> Counter[tuple[str, bool]]:
        return amounts(self.lines) - self.taken


@dataclass
class ModelAsset:
    scale: int
    name: str | None
    changed_at: int


@dataclass
class ModelCategory:
    name: str | None
    changed_at: int


class RefusedError(Exception):
    """The model refuses a command with this code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Model:
    """Says for each command what becomes of it: "recorded", "replayed" or the code of a refusal."""

    def __init__(self) -> None:
        self.accounts: dict[str, ModelAccount] = {}
        self.transactions: dict[int, ModelTransaction] = {}
        self.keys: dict[str, bytes] = {}
        self.assets: dict[str, ModelAsset] = {}
        self.categories: dict[str, ModelCategory] = {}
        self.strict = False
        self.settings_at = 0
        self.head = 0
        self.now = datetime.min.replace(tzinfo=UTC)

    def run(self, command: AnyCommand) -> str:
        known = self.keys.get(command.idempotency_key)
        if known is not None:
            return "replayed" if known == command.fingerprint else "idempotency_key_reused"
        try:
            self._change(command)
        except RefusedError as error:
            return error.code
        self.head += 1
        self.keys[command.idempotency_key] = command.fingerprint
        return "recorded"

    def _change(self, command: AnyCommand) -> None:
        match command:
            case asked.Hold():
                refuse(command.expires_at is not None and command.expires_at <= self.now, "invalid_field")
                self._move(command, "hold", self._signed(command.lines), pending=True)
            case asked.Post():
                self._move(command, "post", self._signed(command.lines))
            case asked.Capture() | asked.Release() | asked.Expire():
                self._resolve(command)
            case asked.Reverse():
                self._reverse(command)
            case asked.Amend():
                target = self._target(command.target)
                if command.category is not UNSET:
                    self._known(command.category)
                    target.category = command.category
            case asked.OpenAccount() | asked.UpdateAccount() | asked.CloseAccount():
                self._change_account(command)
            case _:
                self._change_registries(command)

    def _change_account(self, command: asked.AccountCommand) -> None:
        match command:
            case asked.OpenAccount():
                self._open(command)
            case asked.UpdateAccount():
                self._update(command)
            case asked.CloseAccount():
                account = self._usable(command.code, frozen_too=True)
                refuse(account.changed_at not in (command.if_versions or {account.changed_at}), "precondition_failed")
                refuse(any((account.balance, account.incoming, account.outgoing)), "account_not_empty")
                account.status, account.changed_at = "closed", self.head + 1

    def _change_registries(self, command: AnyCommand) -> None:
        match command:
            case asked.CreateAsset() | asked.UpdateAsset() | asked.DeleteAsset():
                self._register_asset(command)
            case asked.CreateCategory() | asked.UpdateCategory() | asked.DeleteCategory():
                self._register_category(command)
            case asked.ChangeSettings():
                refuse(self.settings_at not in (command.if_versions or {self.settings_at}), "precondition_failed")
                if command.strict_categories is not UNSET:
                    self.strict = command.strict_categories
                self.settings_at = self.head + 1

    def _register_asset(self, command: asked.AssetCommand) -> None:
        known, holders = self.assets.get(command.code), self._holders(command.code)
        if isinstance(command, asked.CreateAsset):
            refuse(known is not None, "asset_exists")
            refuse(any(account.scale != command.scale for account in holders), "asset_in_use")
            self.assets[command.code] = ModelAsset(command.scale, command.name, self.head + 1)
            return
        if known is None:
            raise RefusedError("not_found")
        refuse(known.changed_at not in (command.if_versions or {known.changed_at}), "precondition_failed")
        if isinstance(command, asked.DeleteAsset):
            refuse(bool(holders), "asset_in_use")
            del self.assets[command.code]
        else:
            known.changed_at = self.head + 1
            if command.name is not UNSET:
                known.name = command.name

    def _register_category(self, command: asked.CategoryCommand) -> None:
        known = self.categories.get(command.code)
        if isinstance(command, asked.CreateCategory):
            refuse(known is not None, "category_exists")
            self.categories[command.code] = ModelCategory(command.name, self.head + 1)
            return
        if known is None:
            raise RefusedError("not_found")
        refuse(known.changed_at not in (command.if_versions or {known.changed_at}), "precondition_failed")
        if isinstance(command, asked.DeleteCategory):
            del self.categories[command.code]
        else:
            known.changed_at = self.head + 1
            if command.name is not UNSET:
                known.name = command.name

    def _holders(self, asset: str) -> list[ModelAccount]:
        return [account for account in self.accounts.values() if account.asset == asset]

    def _known(self, category: str | None) -> None:
        refuse(self.strict and category is not None and category not in self.categories, "unknown_category")

    def scale_of(self, asset: str) -> int:
        """The decimals of an asset. Raises `RefusedError` for one that is not known."""
        if asset in self.assets:
            return self.assets[asset].scale
        refuse(asset not in CURRENCIES, "unknown_asset")
        return CURRENCIES[asset]

    def _open(self, command: asked.OpenAccount) -> None:
        refuse(command.code in self.accounts, "account_exists")
        scale = self.scale_of(command.asset)
        account = ModelAccount(command.asset, scale, command.type, None, None, changed_at=self.head + 1)
        self._limit(account, minor(command.min_balance, scale), minor(command.max_balance, scale))
        self.accounts[command.code] = account

    def _update(self, command: asked.UpdateAccount) -> None:
        account = self._usable(command.code, frozen_too=True)
        refuse(account.changed_at not in (command.if_versions or {account.changed_at}), "precondition_failed")
        least = account.least if command.min_balance is UNSET else minor(command.min_balance, account.scale)
        most = account.most if command.max_balance is UNSET else minor(command.max_balance, account.scale)
        self._limit(account, least, most)
        account.changed_at = self.head + 1
        if command.frozen is not UNSET:
            account.status = "frozen" if command.frozen else "open"

    def _limit(self, account: ModelAccount, least: int | None, most: int | None) -> None:
        refuse(least is not None and most is not None and least > most, "invalid_field")
        before = account.least, account.most
        account.least, account.most = least, most
        code = account.breaks()
        if code is not None:
            account.least, account.most = before
            raise RefusedError(code)

    def _resolve(self, command: asked.Capture | asked.Release | asked.Expire) -> None:
        target = self._target(command.target)
        refuse(target.kind != "hold", "not_a_hold")
        refuse(target.resolved, "hold_already_resolved")
        expired = target.expires_at is not None and target.expires_at <= self.now
        posted: Sequence[Signed] = ()
        if isinstance(command, asked.Capture):
            refuse(expired, "hold_expired")
            for code, _ in target.lines:
                self._usable(code)
            posted = target.lines if command.lines is None else self._signed(command.lines)
            refuse(bool(amounts(posted) - target.left), "exceeds_target")
        elif isinstance(command, asked.Expire):
            refuse(not expired, "hold_not_expired")
        kind = type(command).__name__.lower()
        self._move(command, kind, posted, resolving=target, category=target.category)
        target.resolved = True

    def _reverse(self, command: asked.Reverse) -> None:
        target = self._target(command.target)
        refuse(target.kind not in ("post", "capture"), "not_reversible")
        left = target.left
        refuse(not left, "already_reversed")
        taken: Sequence[Signed]
        if command.lines is None:
            taken = [(code, amount if debit else -amount) for (code, debit), amount in left.items()]
            for code, _ in taken:
                self._usable(code)
        else:
            taken = self._signed(command.lines)
            refuse(bool(amounts(taken) - left), "exceeds_target")
        self._move(command, "reverse", [(code, -amount) for code, amount in taken], category=target.category)
        target.taken += amounts(taken)

    def _move(
        self,
        command: asked.Transact,
        kind: str,
        lines: Sequence[Signed],
        *,
        pending: bool = False,
        resolving: ModelTransaction | None = None,
        category: str | None = None,
    ) -> None:
        self._known(command.category)
        for code, version in command.if_versions.items():
            refuse(self._usable(code, frozen_too=True).touched_at != version, "precondition_failed")
        released = () if resolving is None else resolving.lines
        moves = [(code, signed, True, -1) for code, signed in released]
        moves += [(code, signed, pending, 1) for code, signed in lines]
        for code, signed, on_hold, times in moves:
            self.accounts[code].move(signed, pending=on_hold, times=times)
        broken = next((broken for code, *_ in moves if (broken := self.accounts[code].breaks())), None)
        if broken is not None:
            for code, signed, on_hold, times in moves:
                self.accounts[code].move(signed, pending=on_hold, times=-times)
            raise RefusedError(broken)
        for code, *_ in moves:
            self.accounts[code].touched_at = self.head + 1
        expires_at = command.expires_at if isinstance(command, asked.Hold) else None
        category = category if command.category is None else command.category
        self.transactions[self.head + 1] = ModelTransaction(kind, lines, category, expires_at)

    def _signed(self, lines: Sequence[Line]) -> list[Signed]:
        refuse(len(lines) < 2, "invalid_field")
        totals: Counter[str] = Counter()
        signed: list[Signed] = []
        for line in lines:
            account = self._usable(line.account)
            refuse(line.asset is not None and line.asset != account.asset, "asset_mismatch")
            amount = minor(line.amount, account.scale)
            if not amount:
                raise RefusedError("invalid_amount")
            signed.append((line.account, amount if line.direction is Direction.DEBIT else -amount))
            totals[account.asset] += signed[-1][1]
        refuse(any(totals.values()), "unbalanced")
        return signed

    def _target(self, seq: int) -> ModelTransaction:
        refuse(seq not in self.transactions, "not_found")
        return self.transactions[seq]

    def _usable(self, code: str, *, frozen_too: bool = False) -> ModelAccount:
        refuse(code not in self.accounts, "unknown_account")
        account = self.accounts[code]
        refuse(account.status == "closed", "account_closed")
        refuse(account.status == "frozen" and not frozen_too, "account_frozen")
        return account


def refuse(condition: bool, code: str) -> None:
    """Raise `RefusedError` where `condition` holds."""
    if condition:
        raise RefusedError(code)


def amounts(lines: Iterable[Signed]) -> Counter[tuple[str, bool]]:
    """The amounts of lines by account and whether they are debits."""
    counter: Counter[tuple[str, bool]] = Counter()
    for code, signed in lines:
        counter[code, signed > 0] += abs(signed)
    return counter


def minor(text: str | None, scale: int) -> int | None:
    """Minor units of an amount. Raises `RefusedError` for one that is finer than they are."""
    if text is None:
        return None
    refuse(len(text.partition(".")[2]) > scale, "too_many_decimals")
    return int(Decimal(text).scaleb(scale))


def units(minor: int | None, scale: int) -> str | None:
    """An amount of minor units."""
    return None if minor is None else f"{Decimal(minor).scaleb(-scale):f}"
