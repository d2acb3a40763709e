"""`decide` on assets, categories and settings, above all within one batch."""

from typing import Any

import pytest

from ledgerx import rows
from ledgerx.commands import (
    Amend,
    AnyCommand,
    Capture,
    ChangeSettings,
    CreateAsset,
    CreateCategory,
    DeleteAsset,
    DeleteCategory,
    Hold,
    Reverse,
    UpdateAsset,
    UpdateCategory,
)
from ledgerx.deciding import assets, categories
from ledgerx.errors import LedgerError
from ledgerx.outcomes import Outcome, Recorded, Refused, Replayed
from tests.commands import envelope, opening, transfer
from tests.unit.memory_ledger import MemoryLedger


def told(outcomes: list[Outcome]) -> list[str | None]:
    """The code of each refusal."""
    return [outcome.error.code if isinstance(outcome, Refused) else None for outcome in outcomes]


def error_of(outcome: Outcome) -> LedgerError:
    assert isinstance(outcome, Refused)
    return outcome.error


def run(ledger: MemoryLedger, *commands: AnyCommand) -> list[Outcome]:
    return list(ledger.run(commands).outcomes)


def asset(code: str, scale: int, key: str = "", **more: Any) -> CreateAsset:
    return CreateAsset(code=code, scale=scale, **more, **envelope(key or f"asset {code} {scale}"))


def category(code: str, key: str = "", **more: Any) -> CreateCategory:
    return CreateCategory(code=code, **more, **envelope(key or f"category {code}"))


def strict(key: str = "strict", *, on: bool = True, **more: Any) -> ChangeSettings:
    return ChangeSettings(strict_categories=on, **more, **envelope(key))


@pytest.fixture
def ledger() -> MemoryLedger:
    """A bank and a user in US dollars: entries 1 and 2."""
    ledger = MemoryLedger()
    run(ledger, opening("bank"), opening("user"))
    return ledger


# Assets.


def test_an_asset_is_registered_and_used_in_one_batch(ledger: MemoryLedger) -> None:
    outcomes = run(
        ledger,
        opening("early", asset="BTC"),
        asset("BTC", 8, name="Bitcoin"),
        opening("a", asset="BTC", min_balance="-0.00000001"),
        opening("b", asset="BTC"),
        transfer("t", "0.00000001", debit="a", credit="b"),
        transfer("fine", "0.000000001", debit="a", credit="b"),
        DeleteAsset(code="BTC", **envelope("delete")),
    )
    assert told(outcomes) == ["unknown_asset", None, None, None, None, "too_many_decimals", "asset_in_use"]
    assert ledger.accounts["a"].min_balance == -1
    assert [line.scale for line in ledger.entries[-1].postings] == [8, 8]
    assert ledger.accounts["a"].scale == ledger.assets["BTC"].scale == 8


@pytest.mark.parametrize("scale", [0, 18])
def test_a_scale_shows_in_amounts(ledger: MemoryLedger, scale: int) -> None:
    run(ledger, asset("X", scale), opening("a", asset="X"), opening("b", asset="X"))
    amount = "1." + "0" * (scale - 1) + "1" if scale else "1"
    [outcome] = run(ledger, transfer("t", amount, debit="a", credit="b"))
    assert isinstance(outcome, Recorded)
    assert outcome.entry.postings[0].amount == 10**scale + (1 if scale else 0)


def test_a_currency_gets_another_scale_only_before_it_is_used(ledger: MemoryLedger) -> None:
    outcomes = run(
        ledger,
        asset("USD", 4),
        asset("USD", 2, name="dollar"),
        asset("EUR", 4),
        opening("euro", asset="EUR"),
        asset("JPY", 2),
        DeleteAsset(code="JPY", **envelope("delete")),
        opening("yen", asset="JPY"),
        asset("JPY", 2, key="late"),
    )
    assert told(outcomes) == ["asset_in_use", None, None, None, None, None, None, "asset_in_use"]
    assert error_of(outcomes[0]).extra == {"asset": "USD", "scale": 2}
    assert {code: ledger.accounts[code].scale for code in ("bank", "euro", "yen")} == {"bank": 2, "euro": 4, "yen": 0}


def test_accounts_of_an_asset_keep_its_scale_when_the_standard_changes(
    ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledgerx.assets._SCALES", {})
    assert told(run(ledger, opening("more", asset="USD"), opening("euro", asset="EUR"))) == [None, "unknown_asset"]
    assert ledger.accounts["more"].scale == 2


def test_an_unused_asset_is_deleted_and_registered_anew(ledger: MemoryLedger) -> None:
    outcomes = run(
        ledger,
        asset("PTS", 0),
        asset("PTS", 1),
        DeleteAsset(code="PTS", **envelope("delete")),
        opening("p", asset="PTS"),
        asset("PTS", 1, key="again"),
    )
    assert told(outcomes) == [None, "asset_exists", None, "unknown_asset", None]
    assert (ledger.assets["PTS"].scale, ledger.assets["PTS"].seq, ledger.registry.assets) == (1, 5, 1)
    run(ledger, DeleteAsset(code="PTS", **envelope("delete again")))
    assert (ledger.assets, ledger.registry.assets) == ({}, 0)


def test_a_deleted_asset_is_one_that_nobody_registered(ledger: MemoryLedger) -> None:
    outcomes = run(
        ledger,
        UpdateAsset(code="USD", name="x", **envelope("1")),
        DeleteAsset(code="USD", **envelope("2")),
        UpdateAsset(code="PTS", **envelope("3")),
    )
    assert told(outcomes) == ["not_found"] * 3


# Categories.


def test_categories_are_free_until_they_are_strict(ledger: MemoryLedger) -> None:
    outcomes = run(
        ledger,
        transfer("free", category="anything"),
        category("food"),
        strict(),
        transfer("known", category="food"),
        transfer("none"),
        transfer("unknown", category="anything"),
        Hold(lines=transfer("").lines, category="food:fruit", **envelope("hold")),
        DeleteCategory(code="food", **envelope("delete")),
        transfer("deleted", category="food"),
        strict("free again", on=False),
        transfer("free", category="anything"),
    )
    assert told(outcomes) == [
        *(None, None, None, None, None),
        *("unknown_category", "unknown_category", None, "unknown_category", None, None),
    ]
    assert error_of(outcomes[5]).extra == {"category": "anything"}


def test_categories_become_strict_within_a_batch(ledger: MemoryLedger) -> None:
    run(ledger, category("food"))
    outcomes = run(
        ledger, strict(), transfer("known", category="food"), Amend(target=4, category="food", **envelope("other"))
    )
    assert told(outcomes) == [None, None, "not_found"]
    assert told(run(ledger, Amend(target=5, category="food", **envelope("amend")))) == [None]


def test_what_a_transaction_has_it_keeps_and_hands_on(ledger: MemoryLedger) -> None:
    lines = transfer("").lines
    run(ledger, category("food"), strict(), transfer("t", category="food"))
    run(ledger, Hold(lines=lines, category="food", **envelope("hold")), DeleteCategory(code="food", **envelope("d")))
    outcomes = run(
        ledger,
        Capture(target=6, category="food", **envelope("given anew")),
        Capture(target=6, **envelope("capture")),
        Reverse(target=5, **envelope("reverse")),
        Amend(target=5, description="only this", **envelope("describe")),
        Amend(target=5, category="food", **envelope("name it")),
        Amend(target=5, category=None, **envelope("none")),
    )
    assert told(outcomes) == ["unknown_category", None, None, None, "unknown_category", None]
    assert [entry.category for entry in ledger.entries[-4:]] == ["food", "food", "food", None]


def test_categories_are_changed_and_registered_again(ledger: MemoryLedger) -> None:
    outcomes = run(
        ledger,
        category("food", name="Food", description="what is eaten"),
        category("food", key="twice"),
        UpdateCategory(code="food", name=None, **envelope("unnamed")),
        DeleteCategory(code="food", **envelope("delete")),
        UpdateCategory(code="food", name="x", **envelope("too late")),
        DeleteCategory(code="food", **envelope("too late as well")),
        category("food", key="again"),
    )
    assert told(outcomes) == [None, "category_exists", None, None, "not_found", "not_found", None]
    changed = ledger.entries[3].change
    assert changed is not None
    assert (changed.name, changed.description) == (None, "what is eaten")  # type: ignore[union-attr]
    assert ledger.registry.categories == len(ledger.categories) == 1


def test_transactions_ask_for_no_registry_unless_categories_are_strict() -> None:
    commands: list[AnyCommand] = [
        transfer("t", category="a"),
        Hold(lines=transfer("").lines, category="b", **envelope("h")),
        Amend(target=1, category="c", **envelope("m")),
        Amend(target=1, category=None, **envelope("n")),
    ]
    assert rows.asset_codes_of(commands) == rows.category_codes_of(commands, strict=False) == []
    assert rows.category_codes_of(commands, strict=True) == ["a", "b", "c"]
    assert rows.category_codes_of([*commands, strict()], strict=False) == ["a", "b", "c"]


# Both.


def test_changes_hold_for_the_versions_that_they_name(ledger: MemoryLedger) -> None:
    run(ledger, asset("PTS", 0), category("food"), strict())
    outcomes = run(
        ledger,
        UpdateAsset(code="PTS", name="x", if_versions=frozenset({4}), **envelope("1")),
        UpdateAsset(code="PTS", name="x", if_versions=frozenset({3}), **envelope("2")),
        DeleteAsset(code="PTS", if_versions=frozenset({3}), **envelope("3")),
        UpdateCategory(code="food", name="x", if_versions=frozenset({4}), **envelope("4")),
        DeleteCategory(code="food", if_versions=frozenset({4}), **envelope("5")),
        strict("6", on=False, if_versions=frozenset({0})),
        strict("7", on=False, if_versions=frozenset({5})),
    )
    failed = "precondition_failed"
    assert told(outcomes) == [failed, None, failed, None, failed, failed, None]
    assert error_of(outcomes[0]).extra == {"asset": "PTS", "version": 3}
    assert error_of(outcomes[5]).extra == {"version": 5}


def test_there_are_no_more_than_there_may_be(ledger: MemoryLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assets, "MAX_ASSETS", 1)
    monkeypatch.setattr(categories, "MAX_CATEGORIES", 1)
    outcomes = run(
        ledger,
        *(asset("A", 0), asset("B", 0), DeleteAsset(code="A", **envelope("a")), asset("B", 0, key="room")),
        *(category("a"), category("b"), DeleteCategory(code="a", **envelope("b")), category("b", key="room too")),
    )
    assert told(outcomes) == [None, "too_many_assets", None, None, None, "too_many_categories", None, None]


def test_an_atomic_batch_that_is_refused_registers_nothing(ledger: MemoryLedger) -> None:
    commands: list[AnyCommand] = [asset("A", 0), category("a"), strict(), transfer("t", category="b")]
    decision = ledger.run(commands, atomic=True)
    assert told(list(decision.outcomes)) == ["batch_refused"] * 4
    assert (ledger.assets, ledger.categories, ledger.registry.strict_categories) == ({}, {}, False)


def test_what_was_registered_is_answered_again(ledger: MemoryLedger) -> None:
    first, again = run(ledger, asset("A", 0, key="k"), asset("A", 0, key="k"))
    assert isinstance(first, Recorded)
    assert isinstance(again, Replayed)
    assert again.entry == first.entry
