"""`decide` against a simple model of a ledger, with random batches of random commands."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

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
from ledgerx.decide import Outcome, Recorded, Refused, Replayed
from ledgerx.journal import AccountType, chain, genesis
from tests.unit.memory_ledger import NOON, TENANT, MemoryLedger

SCALES = {"USD": 2, "JPY": 0}
CODES = st.sampled_from(["a", "b", "c", "d", "e"])
ASSETS = st.sampled_from(["USD", "USD", "USD", "JPY", "XXX"])
KINDS = st.sampled_from(AccountType)
LIMITS = st.none() | st.integers(-6, 6)
AMOUNTS = st.integers(0, 5)
LINES = st.lists(st.tuples(CODES, st.sampled_from(Direction), AMOUNTS), max_size=3)
TRANSFERS = st.lists(st.tuples(CODES, CODES, AMOUNTS), min_size=1, max_size=3)


@dataclass
class ModelAccount:
    asset: str
    type: AccountType
    least: int | None
    most: int | None
    status: str = "open"
    balance: int = 0

    def breaks(self, change: int = 0) -> str | None:
        after = self.balance + change
        if self.least is not None and after < self.least:
            return "insufficient_funds"
        if self.most is not None and after > self.most:
            return "limit_exceeded"
        return None


class Model:
    """Says for each command what becomes of it: "recorded", "replayed" or the code of a refusal."""

    def __init__(self) -> None:
        self.accounts: dict[str, ModelAccount] = {}
        self.keys: dict[str, bytes] = {}

    def run(self, command: AnyCommand) -> str:
        known = self.keys.get(command.idempotency_key)
        if known is not None:
            return "replayed" if known == command.fingerprint else "idempotency_key_reused"
        refusal = self._change(command)
        if refusal is not None:
            return refusal
        self.keys[command.idempotency_key] = command.fingerprint
        return "recorded"

    def _change(self, command: AnyCommand) -> str | None:
        if isinstance(command, Post):
            return self._post(command)
        if isinstance(command, OpenAccount):
            return self._open(command)
        refusal = self._unusable(command.code, frozen_too=not isinstance(command, FreezeAccount))
        if refusal is not None:
            return refusal
        account = self.accounts[command.code]
        if isinstance(command, LimitAccount):
            return self._limit(account, command)
        if isinstance(command, CloseAccount):
            if account.balance:
                return "account_not_empty"
            account.status = "closed"
        else:
            account.status = "frozen" if isinstance(command, FreezeAccount) else "open"
        return None

    def _open(self, command: OpenAccount) -> str | None:
        if command.code in self.accounts:
            return "account_exists"
        if command.asset not in SCALES:
            return "unknown_asset"
        account = ModelAccount(command.asset, command.type, None, None)
        refusal = self._limit(account, command)
        if refusal is None:
            self.accounts[command.code] = account
        return refusal

    def _limit(self, account: ModelAccount, command: LimitAccount | OpenAccount) -> str | None:
        least, most = (
            None if text is None else minor(text, account.asset) for text in (command.min_balance, command.max_balance)
        )
        if least is not None and most is not None and least > most:
            return "invalid_field"
        refusal = ModelAccount(account.asset, account.type, least, most, balance=account.balance).breaks()
        if refusal is None:
            account.least, account.most = least, most
        return refusal

    def _post(self, command: Post) -> str | None:
        if len(command.lines) < 2:
            return "invalid_field"
        totals: Counter[str] = Counter()
        changes: Counter[str] = Counter()
        for line in command.lines:
            refusal = self._unusable(line.account, frozen_too=False)
            if refusal is not None:
                return refusal
            account = self.accounts[line.account]
            if line.asset is not None and line.asset != account.asset:
                return "asset_mismatch"
            if Decimal(line.amount) == 0:
                return "invalid_amount"
            signed = minor(line.amount, account.asset) * (1 if line.direction is Direction.DEBIT else -1)
            totals[account.asset] += signed
            changes[line.account] += signed * account.type.sign
        if any(totals.values()):
            return "unbalanced"
        for code, change in changes.items():
            refusal = self.accounts[code].breaks(change)
            if refusal is not None:
                return refusal
        for code, change in changes.items():
            self.accounts[code].balance += change
        return None

    def _unusable(self, code: str, *, frozen_too: bool) -> str | None:
        if code not in self.accounts:
            return "unknown_account"
        status = self.accounts[code].status
        return f"account_{status}" if status == "closed" or (status == "frozen" and not frozen_too) else None


def minor(text: str, asset: str) -> int:
    return int(Decimal(text).scaleb(SCALES[asset]))


def units(minor: int | None, asset: str) -> str | None:
    return None if minor is None else str(Decimal(minor).scaleb(-SCALES.get(asset, 0)))


class LedgerMachine(RuleBasedStateMachine):
    """Rules queue commands; one rule decides what is queued as a batch and compares it with the model."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = MemoryLedger()
        self.model = Model()
        self.queued: list[AnyCommand] = []
        self.asked: list[AnyCommand] = []

    @initialize(kinds=st.lists(KINDS, min_size=3, max_size=3))
    def open_some_accounts(self, kinds: list[AccountType]) -> None:
        for code, kind in zip("abc", kinds, strict=True):
            self.open_account(code, "USD", kind, None, None)
        self.decide_the_batch(0)

    @rule(code=CODES, asset=ASSETS, kind=KINDS, least=LIMITS, most=LIMITS)
    def open_account(self, code: str, asset: str, kind: AccountType, least: int | None, most: int | None) -> None:
        limits: dict[str, Any] = {"min_balance": units(least, asset), "max_balance": units(most, asset)}
        self._queue(OpenAccount(code=code, asset=asset, type=kind, **limits, **self._envelope(code, asset, kind)))

    @rule(transfers=TRANSFERS)
    def move(self, transfers: list[tuple[str, str, int]]) -> None:
        lines = [
            self._line(code, direction, amount)
            for debit, credit, amount in transfers
            for code, direction in ((debit, Direction.DEBIT), (credit, Direction.CREDIT))
        ]
        self._queue(Post(lines=tuple(lines), **self._envelope(lines)))

    @rule(lines=LINES, asset=ASSETS)
    def post_anything(self, lines: list[tuple[str, Direction, int]], asset: str) -> None:
        made = tuple(self._line(*line, asset=asset) for line in lines)
        self._queue(Post(lines=made, **self._envelope(made)))

    @rule(code=CODES, least=LIMITS, most=LIMITS)
    def limit(self, code: str, least: int | None, most: int | None) -> None:
        asset = self._asset(code)
        limits: dict[str, Any] = {"min_balance": units(least, asset), "max_balance": units(most, asset)}
        self._queue(LimitAccount(code=code, **limits, **self._envelope(code, least, most)))

    @rule(code=CODES, change=st.sampled_from([FreezeAccount, UnfreezeAccount, UnfreezeAccount, CloseAccount]))
    def change_status(self, code: str, change: type[FreezeAccount | UnfreezeAccount | CloseAccount]) -> None:
        self._queue(change(code=code, **self._envelope(code, change)))

    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        self._queue(data.draw(st.sampled_from(self.asked)))

    @rule(data=st.data(), code=CODES)
    def ask_for_something_else_with_a_key_used_before(self, data: st.DataObject, code: str) -> None:
        key = data.draw(st.sampled_from(self.asked)).idempotency_key
        self._queue(FreezeAccount(code=code, **{**self._envelope("else", code), "idempotency_key": key}))

    @rule(clock_s=st.integers(-100, 100))
    def decide_the_batch(self, clock_s: int) -> None:
        batch, self.queued = self.queued, []
        before = len(self.ledger.entries)
        decision = self.ledger.run(batch, NOON + timedelta(seconds=clock_s))
        expected = [self.model.run(command) for command in batch]
        assert [told(outcome) for outcome in decision.outcomes] == expected
        recorded = [outcome.entry for outcome in decision.outcomes if isinstance(outcome, Recorded)]
        assert recorded == decision.entries == self.ledger.entries[before:]
        self._check_replays(batch, decision.outcomes)

    @invariant()
    def debits_equal_credits_in_each_entry_and_asset(self) -> None:
        for entry in self.ledger.entries:
            totals: Counter[str] = Counter()
            for line in entry.postings:
                totals[line.asset] += line.amount
            assert not any(totals.values())

    @invariant()
    def balances_are_those_of_the_model_and_keep_their_limits(self) -> None:
        assert self.ledger.accounts.keys() == self.model.accounts.keys()
        for code, account in self.ledger.accounts.items():
            model = self.model.accounts[code]
            sums = self.ledger.sums(account.account_id)
            assert sums.posted * account.type.sign == model.balance
            assert model.breaks() is None
            assert (account.status, account.min_balance, account.max_balance) == (
                model.status,
                model.least,
                model.most,
            )
            assert self.ledger.guarded.get(account.account_id) == (sums if account.guarded else None)

    @invariant()
    def numbers_have_no_gap_and_times_never_run_backwards(self) -> None:
        entries = self.ledger.entries
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        times = [entry.recorded_at for entry in entries]
        assert times == sorted(times)

    @invariant()
    def the_chain_recomputes_from_genesis(self) -> None:
        last = genesis(TENANT)
        for entry in self.ledger.entries:
            last = chain(last, entry)
            assert entry.hash == last
        assert self.ledger.head.hash == last

    @invariant()
    def no_key_made_two_entries(self) -> None:
        keys = [entry.idempotency_key for entry in self.ledger.entries]
        assert len(keys) == len(set(keys))
        assert set(keys) == self.model.keys.keys()

    def _check_replays(self, batch: Sequence[AnyCommand], outcomes: Sequence[Outcome]) -> None:
        made = {entry.idempotency_key: entry for entry in self.ledger.entries}
        for command, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Replayed):
                assert outcome.entry == made[command.idempotency_key]

    def _queue(self, command: AnyCommand) -> None:
        self.queued.append(command)
        self.asked.append(command)

    def _envelope(self, *content: object) -> dict[str, Any]:
        key = f"key {len(self.asked)}"
        return {"idempotency_key": key, "fingerprint": sha256(repr(content).encode()).digest(), "actor": "test"}

    def _asset(self, code: str) -> str:
        opened = next((one for one in self.queued if isinstance(one, OpenAccount) and one.code == code), None)
        if code in self.model.accounts:
            return self.model.accounts[code].asset
        return opened.asset if opened is not None and opened.asset in SCALES else "JPY"

    def _line(self, code: str, direction: Direction, amount: int, asset: str | None = None) -> Line:
        return Line(code, direction, units(amount, self._asset(code)) or "", asset)


def told(outcome: Outcome) -> str:
    return outcome.error.code if isinstance(outcome, Refused) else type(outcome).__name__.lower()


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
