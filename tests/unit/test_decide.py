"""`decide`, rule by rule; its combinations are in test_decide_stateful.py."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from ledgerx.commands import (
    AnyCommand,
    CloseAccount,
    Direction,
    Line,
    Post,
    UpdateAccount,
)
from ledgerx.deciding.transactions import MAX_POSTINGS
from ledgerx.errors import LedgerError
from ledgerx.journal import AccountType
from ledgerx.outcomes import Outcome, Recorded, Refused, Replayed
from tests.commands import envelope, opening, transfer
from tests.unit.memory_ledger import NOON, MemoryLedger


def entry_of(outcome: Outcome) -> Any:
    assert isinstance(outcome, Recorded | Replayed)
    return outcome.entry


def error_of(outcome: Outcome) -> LedgerError:
    assert isinstance(outcome, Refused)
    return outcome.error


def codes_of(outcomes: Iterable[Outcome]) -> list[str | None]:
    """The code of each refusal."""
    return [outcome.error.code if isinstance(outcome, Refused) else None for outcome in outcomes]


@pytest.fixture
def ledger() -> MemoryLedger:
    """A bank without limits, a user that cannot go below zero, a shop in yen."""
    ledger = MemoryLedger()
    ledger.run(
        [
            opening("bank", kind=AccountType.ASSET),
            opening("user", min_balance="0", max_balance="100"),
            opening("shop", asset="JPY"),
            opening("closed"),
            CloseAccount(code="closed", **envelope("close")),
        ]
    )
    return ledger


def run(ledger: MemoryLedger, *commands: AnyCommand) -> list[Outcome]:
    return list(ledger.run(commands).outcomes)


def test_a_transaction_is_numbered_chained_and_answered_with_the_limited_balances(ledger: MemoryLedger) -> None:
    before = ledger.head
    [outcome] = run(ledger, transfer("t", "12.34", reference="r", metadata='{"a":1}', effective_at=NOON))
    assert isinstance(outcome, Recorded)
    entry = outcome.entry
    assert (entry.seq, entry.reference, entry.effective_at) == (before.seq + 1, "r", NOON)
    assert [(line.account, line.amount) for line in entry.postings] == [("bank", 1234), ("user", -1234)]
    [(code, (balance, scale))] = outcome.balances.items()
    assert (code, balance.posted, balance.available, scale) == ("user", 1234, 1234, 2)
    assert ledger.head.hash == entry.hash != before.hash


@pytest.mark.parametrize(
    ("lines", "code", "extra"),
    [
        ([("bank", "1.00"), ("user", "-1.01")], "unbalanced", {"difference": {"USD": "-0.01"}}),
        ([("bank", "1"), ("shop", "-1")], "unbalanced", {"difference": {"USD": "1.00", "JPY": "-1"}}),
        ([("bank", "1"), ("nobody", "-1")], "unknown_account", {"account": "nobody"}),
        ([("bank", "1"), ("closed", "-1")], "account_closed", {"account": "closed"}),
        ([("bank", "1.001"), ("user", "-1.001")], "too_many_decimals", {"scale": 2}),
        ([("shop", "1.0"), ("shop", "-1.0")], "too_many_decimals", {"scale": 0}),
        ([("bank", "0"), ("user", "-0")], "invalid_amount", {}),
        ([("bank", "9" * 29), ("user", "-" + "9" * 29)], "invalid_amount", {}),
        ([("user", "0.01"), ("bank", "-0.01")], "insufficient_funds", {"account": "user", "shortfall": "0.01"}),
        ([("bank", "100.01"), ("user", "-100.01")], "limit_exceeded", {"account": "user", "excess": "0.01"}),
        ([("bank", "1")], "invalid_field", {}),
        ([("bank", "1"), ("user", "-1")] * (MAX_POSTINGS // 2) + [("bank", "1")], "invalid_field", {}),
    ],
)
def test_a_transaction_that_breaks_a_rule_says_which(
    ledger: MemoryLedger, lines: list[tuple[str, str]], code: str, extra: dict[str, Any]
) -> None:
    made = tuple(
        Line(account, Direction.CREDIT if amount.startswith("-") else Direction.DEBIT, amount.lstrip("-"))
        for account, amount in lines
    )
    before = ledger.head
    [outcome] = run(ledger, Post(lines=made, **envelope("t")))
    error = error_of(outcome)
    assert (error.code, error.extra) == (code, extra)
    assert ledger.head == before


def test_a_stated_asset_must_be_that_of_the_account(ledger: MemoryLedger) -> None:
    lines = (Line("bank", Direction.DEBIT, "1", "USD"), Line("user", Direction.CREDIT, "1", "EUR"))
    [outcome] = run(ledger, Post(lines=lines, **envelope("t")))
    error = error_of(outcome)
    assert (error.code, error.extra) == ("asset_mismatch", {"account": "user", "asset": "USD"})


def test_limits_count_the_whole_transaction_not_each_line(ledger: MemoryLedger) -> None:
    lines = (
        Line("user", Direction.DEBIT, "5"),
        Line("user", Direction.CREDIT, "7"),
        Line("bank", Direction.DEBIT, "2"),
    )
    [outcome] = run(ledger, Post(lines=lines, **envelope("t")))
    assert isinstance(outcome, Recorded)


def test_each_command_sees_what_those_before_it_did(ledger: MemoryLedger) -> None:
    spend = {"debit": "user", "credit": "bank"}
    outcomes = run(ledger, transfer("in", "10"), transfer("out", "10", **spend), transfer("more", "0.01", **spend))
    assert [type(outcome) for outcome in outcomes] == [Recorded, Recorded, Refused]


def test_a_refused_command_leaves_its_neighbours_and_its_key_alone(ledger: MemoryLedger) -> None:
    spend = {"debit": "user", "credit": "bank"}
    refused, recorded, again = run(
        ledger, transfer("k", "1", **spend), transfer("other", "1"), transfer("k", "1", **spend)
    )
    assert error_of(refused).code == "insufficient_funds"
    assert entry_of(again).seq == entry_of(recorded).seq + 1


@pytest.mark.parametrize("apart", [False, True])
def test_the_same_key_and_request_is_one_entry(ledger: MemoryLedger, apart: bool) -> None:
    commands = [transfer("k", "1"), transfer("k", "1")]
    batches = [[command] for command in commands] if apart else [commands]
    first, again = (outcome for batch in batches for outcome in run(ledger, *batch))
    assert isinstance(first, Recorded)
    assert again == Replayed(first.entry)


def test_the_same_key_for_another_request_is_refused_before_anything_else(ledger: MemoryLedger) -> None:
    run(ledger, transfer("k", "1"))
    [outcome] = run(ledger, UpdateAccount(code="nobody", frozen=True, **envelope("k", b"2")))
    assert error_of(outcome).code == "idempotency_key_reused"


def test_recorded_at_is_the_heads_where_the_clock_ran_backwards(ledger: MemoryLedger) -> None:
    later = NOON + timedelta(hours=1)
    times = [
        entry_of(ledger.run([transfer(f"{n}", "1")], now).outcomes[0]).recorded_at
        for n, now in enumerate([later, NOON, later + timedelta(microseconds=1)])
    ]
    assert times == [later, later, later + timedelta(microseconds=1)]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (opening("user", key="c"), "account_exists"),
        (opening("new", asset="XAU"), "unknown_asset"),
        (opening("new", min_balance="2", max_balance="1"), "invalid_field"),
        (opening("new", min_balance="1"), "insufficient_funds"),
        (opening("new", max_balance="-1"), "limit_exceeded"),
        (opening("new", min_balance="0.001"), "too_many_decimals"),
        (opening("new", min_balance="many"), "invalid_amount"),
        (UpdateAccount(code="user", min_balance="1", max_balance=None, **envelope("c")), "insufficient_funds"),
        (UpdateAccount(code="nobody", min_balance="1", max_balance=None, **envelope("c")), "unknown_account"),
        (UpdateAccount(code="closed", frozen=True, **envelope("c")), "account_closed"),
        (UpdateAccount(code="nobody", frozen=False, **envelope("c")), "unknown_account"),
        (CloseAccount(code="closed", **envelope("c")), "account_closed"),
    ],
)
def test_an_account_command_that_breaks_a_rule_says_which(ledger: MemoryLedger, command: AnyCommand, code: str) -> None:
    before = ledger.head
    [outcome] = run(ledger, command)
    assert error_of(outcome).code == code
    assert ledger.head == before


def test_a_tenant_opens_as_many_accounts_as_it_may_have() -> None:
    ledger = MemoryLedger(max_accounts=2)
    assert codes_of(run(ledger, opening("a"), opening("a", key="again"), opening("b"), opening("c"))) == [
        None,
        "account_exists",
        None,
        "too_many_accounts",
    ]
    # What was opened before is answered again, and a closed account is still one.
    assert isinstance(run(ledger, opening("b"))[0], Replayed)
    assert codes_of(run(ledger, CloseAccount(code="a", **envelope("close")), opening("c"))) == [
        None,
        "too_many_accounts",
    ]
    ledger.max_accounts = 1
    assert codes_of(run(ledger, opening("d"), transfer("t", debit="b", credit="b"))) == ["too_many_accounts", None]


def test_a_frozen_account_takes_no_postings_until_unfrozen(ledger: MemoryLedger) -> None:
    frozen, refused, thawed, taken = run(
        ledger,
        UpdateAccount(code="user", frozen=True, **envelope("freeze")),
        transfer("t", "1"),
        UpdateAccount(code="user", frozen=False, **envelope("thaw")),
        transfer("t", "1"),
    )
    assert error_of(refused).code == "account_frozen"
    assert [entry_of(outcome).change.status for outcome in (frozen, thawed)] == ["frozen", "open"]
    assert isinstance(taken, Recorded)


def test_an_account_closes_at_zero_only(ledger: MemoryLedger) -> None:
    run(ledger, transfer("in", "5"))
    close = CloseAccount(code="user", **envelope("close user"))
    early, _, late = run(ledger, close, transfer("out", "5", debit="user", credit="bank"), close)
    assert error_of(early).code == "account_not_empty"
    assert entry_of(late).change.status == "closed"


@pytest.mark.parametrize("code", ["bank", "user", "new"])
def test_postings_of_the_same_batch_count_when_an_account_is_closed_or_limited(ledger: MemoryLedger, code: str) -> None:
    commands: list[AnyCommand] = [opening("new")] if code == "new" else []
    debit, credit = ("bank", "user") if code == "bank" else ("bank", code)
    commands += [
        transfer("t", "3", debit=debit, credit=credit),
        CloseAccount(code=code, **envelope("close it")),
        UpdateAccount(code=code, min_balance=None, max_balance="2", **envelope("too low")),
        UpdateAccount(code=code, min_balance=None, max_balance="3", **envelope("just right")),
        transfer("u", "0.01", debit=debit, credit=credit),
    ]
    outcomes = run(ledger, *commands)[-5:]
    codes = [error_of(outcome).code for outcome in outcomes if isinstance(outcome, Refused)]
    assert codes == ["account_not_empty", "limit_exceeded", "limit_exceeded"]
    account = ledger.accounts[code]
    assert ledger.guarded[account.account_id] == ledger.sums(account.account_id)


def test_the_sums_of_an_account_without_limits_are_not_kept(ledger: MemoryLedger) -> None:
    lift = UpdateAccount(code="user", min_balance=None, max_balance=None, **envelope("lift"))
    decision = ledger.run([transfer("t", "3"), lift, transfer("u", "4")])
    assert decision.sums == {}
    assert ledger.guarded == {}
