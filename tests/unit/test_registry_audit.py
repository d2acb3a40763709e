"""The audit of assets, categories and settings: what breaks their rules, and what is kept otherwise, is found."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ledgerx.commands import (
    ChangeSettings,
    CreateAsset,
    CreateCategory,
    DeleteAsset,
    DeleteCategory,
    Hold,
    UpdateAsset,
)
from ledgerx.journal import AssetState, Entry, Kind, chain
from ledgerx.verify import Audit
from tests.commands import envelope, opening, transfer
from tests.unit.memory_ledger import TENANT, MemoryLedger

Kept = list[tuple[Any, ...]]
HEAD = (14, 1, 1, True, 8)
KEPT: Kept = [
    (*HEAD, "asset", "BTC", 8, "Bitcoin", None, 2),
    (*HEAD, "category", "food", None, None, "eaten", 6),
]


@pytest.fixture
def ledger() -> MemoryLedger:
    """A journal of fourteen entries that uses what it registers."""
    ledger = MemoryLedger()
    outcomes = ledger.run(
        [
            CreateAsset(code="BTC", scale=8, **envelope("1")),
            UpdateAsset(code="BTC", name="Bitcoin", **envelope("2")),
            CreateAsset(code="PTS", scale=0, **envelope("3")),
            opening("a", asset="BTC"),
            opening("b", asset="BTC"),
            CreateCategory(code="food", description="eaten", **envelope("6")),
            CreateCategory(code="gone", **envelope("7")),
            ChangeSettings(strict_categories=True, **envelope("8")),
            transfer("9", debit="a", credit="b", category="food"),
            Hold(lines=transfer("", debit="a", credit="b").lines, category="gone", **envelope("10")),
            DeleteCategory(code="gone", **envelope("11")),
            DeleteAsset(code="PTS", **envelope("12")),
            transfer("13", debit="a", credit="b"),
            opening("c"),
        ]
    ).outcomes
    assert len(ledger.entries) == len(outcomes) == 14
    return ledger


def audited(entries: list[Entry]) -> Audit:
    """An audit of entries, chained and numbered anew."""
    audit = Audit(TENANT)
    for seq, entry in enumerate(entries, 1):
        renumbered = msgspec.structs.replace(entry, seq=seq)
        audit.feed(msgspec.structs.replace(renumbered, hash=chain(audit.hash, renumbered)))
    return audit


def test_a_sound_journal_leaves_what_is_kept(ledger: MemoryLedger) -> None:
    audit = audited(ledger.entries)
    audit.registries.compare(KEPT)
    assert audit.findings == []


def test_a_journal_that_registers_nothing_keeps_nothing() -> None:
    audit = audited([])
    audit.registries.compare([(0, 0, 0, False, 0, None, None, None, None, None, None)])
    assert audit.findings == []


@pytest.mark.parametrize(
    ("row", "column", "value", "found"),
    [
        (0, 7, 9, 'the asset "BTC"'),
        (0, 8, None, 'the asset "BTC"'),
        (0, 10, 1, 'the asset "BTC"'),
        (0, 6, "BTX", 'the asset "BTC"'),
        (1, 9, "drunk", 'the category "food"'),
        (0, 1, 2, "the head"),
        (0, 2, 0, "the head"),
        (0, 3, False, "the head"),
        (0, 4, 9, "the head"),
    ],
)
def test_what_is_kept_otherwise_is_found(
    ledger: MemoryLedger, row: int, column: int, value: object, found: str
) -> None:
    kept = list(KEPT)
    kept[row] = (*kept[row][:column], value, *kept[row][column + 1 :])
    audit = audited(ledger.entries)
    audit.registries.compare(kept)
    assert audit.findings[0].what.startswith(found)


def without(seq: int) -> Callable[[list[Entry]], list[Entry]]:
    return lambda entries: [entry for entry in entries if entry.seq != seq]


def moved(seq: int, to: int) -> Callable[[list[Entry]], list[Entry]]:
    def move(entries: list[Entry]) -> list[Entry]:
        others = [entry for entry in entries if entry.seq != seq]
        return [*others[: to - 1], entries[seq - 1], *others[to - 1 :]]

    return move


def with_asset(seq: int, kind: Kind, scale: int = 8) -> Callable[[list[Entry]], list[Entry]]:
    def replace(entries: list[Entry]) -> list[Entry]:
        state = AssetState(asset="BTC", scale=scale)
        changed = msgspec.structs.replace(entries[seq - 1], kind=kind, change=state, postings=())
        return [*entries[: seq - 1], changed, *entries[seq:]]

    return replace


@pytest.mark.parametrize(
    ("change", "seq", "found"),
    [
        (without(6), 8, 'the category "food" is not registered'),
        (moved(11, to=10), 11, 'the category "gone" is not registered'),
        (without(7), 9, 'the category "gone" is not registered'),
        (without(3), 11, 'the asset "PTS" is registered twice, or not at all'),
        (with_asset(3, Kind.CREATE_ASSET), 3, 'the asset "BTC" is registered twice, or not at all'),
        (with_asset(13, Kind.UPDATE_ASSET, scale=2), 13, 'the asset "BTC" has another scale'),
        (with_asset(13, Kind.DELETE_ASSET), 13, 'the asset "BTC" was deleted while accounts hold it'),
        (with_asset(2, Kind.UPDATE_ASSET, scale=9), 2, 'the asset "BTC" has another scale'),
    ],
)
def test_what_breaks_the_rules_is_found(
    ledger: MemoryLedger, change: Callable[[list[Entry]], list[Entry]], seq: int, found: str
) -> None:
    findings = audited(change(ledger.entries)).findings
    about = [finding for finding in findings if "line" not in finding.what and "opened" not in finding.what]
    assert about, findings
    assert (about[0].seq, about[0].what[: len(found)]) == (seq, found)
