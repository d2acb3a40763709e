from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerx.events import EntryRecord, PostingRecord
from ledgerx.journal import Kind, Layer
from ledgerx.state import POSTINGS_PER_MARK, Sums
from ledgerx_streams.projections import columns
from ledgerx_streams.projections.balances import Change, changes
from ledgerx_streams.projections.marks import Mark, Tail, marks
from ledgerx_streams.projections.volumes import Movement, movements

NOW = datetime(2026, 1, 1, tzinfo=UTC)

postings = st.builds(
    PostingRecord,
    account=st.just("a"),
    account_id=st.integers(1, 3),
    asset=st.just("USD"),
    scale=st.just(2),
    amount=st.integers(-(10**29), 10**29).map(str),
    layer=st.sampled_from(Layer),
)
journals = st.lists(st.lists(postings, max_size=4), max_size=30)


def entry(seq: int, lines: Sequence[PostingRecord]) -> EntryRecord:
    return EntryRecord(seq=seq, kind=Kind.POST, recorded_at=NOW, actor="a", postings=tuple(lines), hash=b"")


def posting(account_id: int, amount: int, layer: Layer = Layer.POSTED) -> PostingRecord:
    return PostingRecord("a", account_id, "USD", 2, str(amount), layer)


def by_account_and_layer(entries: Sequence[EntryRecord]) -> Counter[tuple[int, Layer]]:
    sums: Counter[tuple[int, Layer]] = Counter()
    for one in entries:
        for line in one.postings:
            sums[line.account_id, line.layer] += int(line.amount)
    return sums


def sums_of(change: Change) -> Sums:
    return Sums(change.posted, change.pending_debit, change.pending_credit)


def test_changes_sum_each_layer_and_tell_the_last_entry_of_each_account() -> None:
    entries = [
        entry(5, [posting(1, 100), posting(2, -100)]),
        entry(6, [posting(1, 30, Layer.PENDING_DEBIT), posting(3, -30, Layer.PENDING_CREDIT)]),
        entry(7, []),
    ]

    assert changes(entries) == [
        Change(1, postings=2, posted=100, pending_debit=30, seq=6),
        Change(2, postings=1, posted=-100, seq=5),
        Change(3, postings=1, pending_credit=-30, seq=6),
    ]


@given(journals)
def test_changes_add_up_to_the_postings(journal: list[list[PostingRecord]]) -> None:
    entries = [entry(seq, lines) for seq, lines in enumerate(journal, 1)]
    expected = by_account_and_layer(entries)

    rows = changes(entries)

    assert {row.account_id for row in rows} == {account_id for account_id, _ in expected}
    assert sum(row.postings for row in rows) == sum(len(one.postings) for one in entries)
    for row in rows:
        assert sums_of(row) == Sums(*(expected[row.account_id, layer] for layer in Layer))


def test_an_amount_that_is_no_integer_is_refused() -> None:
    with pytest.raises(ValueError, match="poison"):
        changes([entry(1, [msgspec.structs.replace(posting(1, 1), amount="poison1")])])


def test_columns_are_arrays_of_whole_numbers_of_any_size() -> None:
    assert columns([Mark(1, 2, 3, 1_000, 10**29, 0, -5), Mark(4, 5, 6, 2_000, -1, 7, 0)]) == {
        "account_id": "{1,4}",
        "seq": "{2,5}",
        "line": "{3,6}",
        "postings": "{1000,2000}",
        "posted": f"{{{10**29},-1}}",
        "pending_debit": "{0,7}",
        "pending_credit": "{-5,0}",
    }


def test_a_mark_stands_at_its_posting_and_includes_it() -> None:
    tails = {1: Tail(POSTINGS_PER_MARK - 1, Sums(50, 0, 0))}

    passed = marks(tails, [entry(9, [posting(2, -7), posting(1, 7), posting(1, 1)])])

    assert passed == [Mark(1, 9, 1, POSTINGS_PER_MARK, 57, 0, 0)]


@given(journals, st.lists(st.integers(0, 30)), st.integers(0, 2 * POSTINGS_PER_MARK))
def test_marks_do_not_depend_on_how_the_journal_is_cut(
    journal: list[list[PostingRecord]], cuts: list[int], copies: int
) -> None:
    # Copies bring an account past several marks in one message.
    journal = [lines[:1] * copies for lines in journal[:1]] + journal
    entries = [entry(seq, lines) for seq, lines in enumerate(journal, 1)]
    edges = [0, *sorted(cuts), len(entries)]
    nothing = {account_id: Tail(0, Sums()) for account_id in (1, 2, 3)}

    passed: list[Mark] = []
    tails = dict(nothing)
    for start, end in pairwise(edges):
        passed += marks(tails, entries[start:end])
        for row in changes(entries[:end]):
            tails[row.account_id] = Tail(row.postings, sums_of(row))

    assert passed == marks(nothing, entries)
    for account_id, tail in tails.items():
        marked = [mark.postings for mark in passed if mark.account_id == account_id]
        assert marked == list(range(POSTINGS_PER_MARK, tail.postings + 1, POSTINGS_PER_MARK))


def test_only_posted_lines_move_volumes_on_the_day_that_they_take_effect() -> None:
    earlier = datetime(2025, 12, 31, tzinfo=UTC)
    plain = entry(5, [posting(1, 100), posting(2, -100), posting(3, 7, Layer.PENDING_DEBIT)])
    dated = msgspec.structs.replace(entry(6, [posting(1, -30)]), effective_at=earlier, category="rent")

    assert movements([plain, entry(7, []), dated]) == [
        Movement(1, NOW, "", 100, 0),
        Movement(2, NOW, "", 0, 100),
        Movement(1, earlier, "rent", 0, 30),
    ]


def test_marks_hold_the_sums_of_all_postings_up_to_them() -> None:
    lines = [posting(1, amount, layer) for amount in (1, 20, 300) for layer in Layer] * 250
    entries = [entry(seq, lines[start : start + 100]) for seq, start in enumerate(range(0, len(lines), 100), 1)]

    first, second = marks({1: Tail(0, Sums())}, entries)

    assert (first.seq, first.line, second.seq, second.line) == (10, 99, 20, 99)
    for mark in (first, second):
        expected = by_account_and_layer([entry(1, lines[: mark.postings])])
        sums = (mark.posted, mark.pending_debit, mark.pending_credit)
        assert sums == tuple(expected[1, layer] for layer in Layer)
