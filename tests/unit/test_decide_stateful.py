"""`decide` against a simple model of a ledger, with random batches of random commands of every kind.

`LEDGERX_STATEFUL_EXAMPLES` sets how many runs of 50 steps each there are.
"""

import copy
import os
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import UNSET

from ledgerx.commands import (
    Amend,
    AnyCommand,
    AssetCommand,
    Capture,
    CategoryCommand,
    ChangeSettings,
    CloseAccount,
    CreateAsset,
    CreateCategory,
    DeleteAsset,
    DeleteCategory,
    Direction,
    Expire,
    Hold,
    Line,
    OpenAccount,
    Post,
    Release,
    Reverse,
    UpdateAccount,
    UpdateAsset,
    UpdateCategory,
)
from ledgerx.errors import BatchRefused
from ledgerx.journal import AccountType, Layer, chain, genesis
from ledgerx.outcomes import Outcome, Recorded, Refused, Replayed
from ledgerx.state import balance
from ledgerx.verify import Audit
from tests.unit.ledger_model import Model, RefusedError, units
from tests.unit.memory_ledger import NOON, TENANT, MemoryLedger

# Most commands have to fit, or nothing would get far: the first three are opened at the start and seldom closed.
CODES = st.sampled_from([*"abc" * 4, "d", "e"])
CLOSABLE = st.sampled_from([*"abc", *"de" * 6])
ASSETS = st.sampled_from(["USD", "USD", "USD", "JPY", "XXX"])
REGISTERED = st.sampled_from(["USD", "JPY", "XXX", "XXX"])
SCALES = st.sampled_from([0, 1, 2, 2, 3])
CATEGORIES = st.sampled_from(["held", "amended", "other"])
GIVEN = st.none() | CATEGORIES
NAMES = st.sampled_from([None, "one", "two"])
OFF = st.sampled_from([None, 0, 1])
KINDS = st.sampled_from(AccountType)
LIMITS = st.none() | st.integers(-6, 6)
CHANGED_LIMITS = st.just(UNSET) | LIMITS
AMOUNTS = st.sampled_from([*range(1, 6), *range(1, 6), 0])
LINES = st.lists(st.tuples(CODES, st.sampled_from(Direction), AMOUNTS), max_size=3)
TRANSFERS = st.lists(st.tuples(CODES, CODES, AMOUNTS), min_size=1, max_size=2)
SECONDS = st.integers(-100, 100)
EXPIRIES = st.none() | st.integers(-100, 400)


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
        self.decide_the_batch(0, atomic=False)

    @rule(code=CODES, asset=ASSETS, kind=KINDS, least=LIMITS, most=LIMITS)
    def open_account(self, code: str, asset: str, kind: AccountType, least: int | None, most: int | None) -> None:
        scale = self._scale(asset)
        limits: dict[str, Any] = {"min_balance": units(least, scale), "max_balance": units(most, scale)}
        self._queue(OpenAccount(code=code, asset=asset, type=kind, **limits, **self._envelope(code, asset, kind)))

    @rule(transfers=TRANSFERS, versions=st.lists(CODES, max_size=1), off=st.sampled_from([0, 0, 0, 1]), category=GIVEN)
    def move(self, transfers: list[tuple[str, str, int]], versions: list[str], off: int, category: str | None) -> None:
        lines = self._transfers(transfers)
        accounts = self.model.accounts
        wanted = {code: accounts[code].touched_at + off if code in accounts else 0 for code in versions}
        envelope = self._envelope(lines, wanted, category)
        self._queue(Post(lines=lines, if_versions=wanted, category=category, **envelope))

    @rule(lines=LINES, asset=ASSETS)
    def post_anything(self, lines: list[tuple[str, Direction, int]], asset: str) -> None:
        made = tuple(self._line(*line, asset=asset) for line in lines)
        self._queue(Post(lines=made, **self._envelope(made)))

    @rule(transfers=TRANSFERS, expires=EXPIRIES, category=GIVEN)
    def hold(self, transfers: list[tuple[str, str, int]], expires: int | None, category: str | None) -> None:
        lines = self._transfers(transfers)
        expires_at = None if expires is None else NOON + timedelta(seconds=expires)
        self._queue(Hold(lines=lines, expires_at=expires_at, category=category, **self._envelope(lines, expires)))

    @rule(data=st.data(), kind=st.sampled_from([Capture, Capture, Release, Expire, Reverse, Reverse]), category=GIVEN)
    def end_all(
        self, data: st.DataObject, kind: type[Capture | Release | Expire | Reverse], category: str | None
    ) -> None:
        target = self._some_target(data, kind)
        self._queue(kind(target=target, category=category, **self._envelope(kind, target, category)))

    @rule(data=st.data(), kind=st.sampled_from([Capture, Reverse, Reverse]), amount=AMOUNTS)
    def end_a_part(self, data: st.DataObject, kind: type[Capture | Reverse], amount: int) -> None:
        target = self._some_target(data, kind)
        found = self.model.transactions.get(target)
        debits = [code for code, signed in found.lines if signed > 0] if found else ["a"]
        credits_ = [code for code, signed in found.lines if signed < 0] if found else ["b"]
        if debits and credits_:
            lines = self._transfers(
                [(data.draw(st.sampled_from(debits)), data.draw(st.sampled_from(credits_)), amount)]
            )
            self._queue(kind(target=target, lines=lines, **self._envelope(kind, target, lines)))

    @rule(data=st.data(), category=st.just(UNSET) | GIVEN)
    def amend(self, data: st.DataObject, category: Any) -> None:
        target = self._some_target(data, Amend)
        self._queue(Amend(target=target, category=category, **self._envelope("amend", target, category)))

    @rule(
        code=CODES,
        least=CHANGED_LIMITS,
        most=CHANGED_LIMITS,
        frozen=st.sampled_from([UNSET, UNSET, True, False, False]),
        off=OFF,
    )
    def update(self, code: str, least: Any, most: Any, frozen: Any, off: int | None) -> None:
        scale = self._scale(self._asset(code))
        changes: dict[str, Any] = {
            "min_balance": least if least is UNSET else units(least, scale),
            "max_balance": most if most is UNSET else units(most, scale),
            "frozen": frozen,
            "if_versions": self._version(code, off),
        }
        self._queue(UpdateAccount(code=code, **changes, **self._envelope(code, least, most, frozen)))

    @rule(code=CLOSABLE, off=OFF)
    def close(self, code: str, off: int | None) -> None:
        self._queue(CloseAccount(code=code, if_versions=self._version(code, off), **self._envelope("close", code)))

    @rule(
        code=REGISTERED,
        scale=SCALES,
        name=NAMES,
        off=OFF,
        kind=st.sampled_from([CreateAsset, UpdateAsset, DeleteAsset]),
    )
    def change_asset(self, code: str, scale: int, name: str | None, off: int | None, kind: type[AssetCommand]) -> None:
        code = self._some_code(code, self.model.assets, new=kind is CreateAsset)
        known = self.model.assets.get(code)
        versions = None if off is None or known is None else frozenset({known.changed_at + off})
        given: dict[str, Any] = {"if_versions": versions}
        if kind is CreateAsset:
            given = {"scale": scale, "name": name}
        elif kind is UpdateAsset:
            given["name"] = name
        self._queue(kind(code=code, **given, **self._envelope(kind, code, given)))

    @rule(code=CATEGORIES, name=NAMES, off=OFF, kind=st.sampled_from([CreateCategory, UpdateCategory, DeleteCategory]))
    def change_category(self, code: str, name: str | None, off: int | None, kind: type[CategoryCommand]) -> None:
        code = self._some_code(code, self.model.categories, new=kind is CreateCategory)
        known = self.model.categories.get(code)
        versions = None if off is None or known is None else frozenset({known.changed_at + off})
        given: dict[str, Any] = {} if kind is CreateCategory else {"if_versions": versions}
        if kind is not DeleteCategory:
            given["name"] = name
        self._queue(kind(code=code, **given, **self._envelope(kind, code, given)))

    @rule(strict=st.sampled_from([UNSET, True, True, False]), off=OFF)
    def change_settings(self, strict: Any, off: int | None) -> None:
        versions = None if off is None else frozenset({self.model.settings_at + off})
        self._queue(ChangeSettings(strict_categories=strict, if_versions=versions, **self._envelope("set", strict)))

    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        self._queue(data.draw(st.sampled_from(self.asked)))

    @rule(data=st.data(), code=CODES)
    def ask_for_something_else_with_a_key_used_before(self, data: st.DataObject, code: str) -> None:
        key = data.draw(st.sampled_from(self.asked)).idempotency_key
        self._queue(CloseAccount(code=code, **{**self._envelope("else", code), "idempotency_key": key}))

    @rule(clock_s=SECONDS)
    def decide_at_once(self, clock_s: int) -> None:
        self.decide_the_batch(clock_s, atomic=False)

    @rule(clock_s=SECONDS, atomic=st.sampled_from([False, False, True]))
    def decide_the_batch(self, clock_s: int, *, atomic: bool) -> None:
        batch, self.queued = self.queued, []
        before = len(self.ledger.entries)
        now = NOON + timedelta(seconds=clock_s)
        model = copy.deepcopy(self.model)
        model.now = max(now, self.ledger.head.recorded_at)
        expected = [model.run(command) for command in batch]
        decision = self.ledger.run(batch, now, atomic=atomic)
        refusals = [n for n, told_ in enumerate(expected) if told_ not in ("recorded", "replayed")]
        recorded = [outcome.entry for outcome in decision.outcomes if isinstance(outcome, Recorded)]
        assert recorded == list(decision.entries) == self.ledger.entries[before:]
        if atomic and refusals:
            for outcome in decision.outcomes:
                assert isinstance(outcome, Refused)
                assert isinstance(outcome.error, BatchRefused)
                assert outcome.error.extra["index"] == refusals[0]
                assert outcome.error.extra["problem"]["code"] == expected[refusals[0]]
            return
        self.model = model
        assert [told(outcome) for outcome in decision.outcomes] == expected
        self._check_replays(batch, decision.outcomes)
        audit = Audit(TENANT)
        for entry in self.ledger.entries:
            audit.feed(entry)
        assert audit.findings == []

    @invariant()
    def debits_equal_credits_in_each_entry_asset_and_pair_of_layers(self) -> None:
        for entry in self.ledger.entries:
            totals: Counter[tuple[str, bool]] = Counter()
            for line in entry.postings:
                totals[line.asset, line.layer is Layer.POSTED] += line.amount
            assert not any(totals.values())

    @invariant()
    def balances_are_those_of_the_model_and_keep_their_limits(self) -> None:
        assert self.ledger.accounts.keys() == self.model.accounts.keys()
        for code, account in self.ledger.accounts.items():
            model = self.model.accounts[code]
            sums = self.ledger.sums(account.account_id)
            now = balance(sums, account.type)
            assert (now.posted, now.pending_in, now.pending_out) == (model.balance, model.incoming, model.outgoing)
            assert model.breaks() is None
            assert (account.status, account.min_balance, account.max_balance) == (
                model.status,
                model.least,
                model.most,
            )
            assert self.ledger.guarded.get(account.account_id) == (sums if account.guarded else None)

    @invariant()
    def open_holds_are_those_of_the_model(self) -> None:
        transactions = self.model.transactions.items()
        assert self.ledger.open_holds == {
            seq: one.expires_at for seq, one in transactions if one.kind == "hold" and not one.resolved
        }

    @invariant()
    def categories_are_those_of_the_model(self) -> None:
        for seq, transaction in self.model.transactions.items():
            target = self.ledger.target(seq)
            assert target is not None
            assert target.entry.category == transaction.category

    @invariant()
    def what_is_registered_is_that_of_the_model(self) -> None:
        ledger, model = self.ledger, self.model
        assert {code: (one.scale, one.name, one.seq) for code, one in ledger.assets.items()} == {
            code: (one.scale, one.name, one.changed_at) for code, one in model.assets.items()
        }
        assert {code: (one.name, one.seq) for code, one in ledger.categories.items()} == {
            code: (one.name, one.changed_at) for code, one in model.categories.items()
        }
        assert (ledger.registry.assets, ledger.registry.categories) == (len(model.assets), len(model.categories))
        assert (ledger.registry.strict_categories, ledger.registry.settings_seq) == (model.strict, model.settings_at)

    @invariant()
    def all_accounts_of_an_asset_have_its_scale(self) -> None:
        for account in self.ledger.accounts.values():
            assert account.scale == self.model.scale_of(account.asset)

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

    def _some_target(self, data: st.DataObject, kind: type) -> int:
        """A transaction that fits, if there is one; now and then any number."""
        wanted = ("post", "capture") if kind is Reverse else ("hold",)
        fitting = [seq for seq, one in self.model.transactions.items() if one.kind in wanted or kind is Amend]
        anything = st.integers(1, self.model.head + 2)
        return data.draw(st.sampled_from(fitting) | anything if fitting else anything)

    def _version(self, code: str, off: int | None) -> frozenset[int] | None:
        if off is None or code not in self.model.accounts:
            return None
        return frozenset({self.model.accounts[code].changed_at + off})

    def _some_code(self, code: str, known: Collection[str], *, new: bool) -> str:
        """The code of something known, if there is any, unless it is to be new."""
        return code if new or code in known else min(known, default=code)

    def _asset(self, code: str) -> str:
        opened = next((one for one in self.queued if isinstance(one, OpenAccount) and one.code == code), None)
        if code in self.model.accounts:
            return self.model.accounts[code].asset
        return opened.asset if opened is not None else "JPY"

    def _scale(self, asset: str) -> int:
        try:
            return self.model.scale_of(asset)
        except RefusedError:
            return 0

    def _transfers(self, transfers: list[tuple[str, str, int]]) -> tuple[Line, ...]:
        return tuple(
            self._line(code, direction, amount)
            for debit, credit, amount in transfers
            for code, direction in ((debit, Direction.DEBIT), (credit, Direction.CREDIT))
        )

    def _line(self, code: str, direction: Direction, amount: int, asset: str | None = None) -> Line:
        return Line(code, direction, units(amount, self._scale(self._asset(code))) or "", asset)


def told(outcome: Outcome) -> str:
    return outcome.error.code if isinstance(outcome, Refused) else type(outcome).__name__.lower()


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(
    max_examples=int(os.environ.get("LEDGERX_STATEFUL_EXAMPLES", "400")), stateful_step_count=50, deadline=None
)
