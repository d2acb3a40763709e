from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ledgerx.events import EntryRecord, PostingRecord
from ledgerx.journal import Kind, Layer
from ledgerx.state import Sums
from ledgerx_streams.projections.balances import Change, changes
from ledgerx_streams.projections.marks import POSTINGS_PER_MARK, Mark, Tail, extend
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


def test_changes_sum_each_layer_and_tell_the_last_entry_of_each_account() -> None:
    entries = [
        entry(5, [posting(1, 100), posting(2, -100)]),
        entry(6, [posting(1, 30, Layer.PENDING_DEBIT), posting(3, -30, Layer.PENDING_CREDIT)]),
        entry(7, []),
    ]

    assert changes(entries) == [
        Change(1, Sums(100, 30, 0), 6),
        Change(2, Sums(-100, 0, 0), 5),
        Change(3, Sums(0, 0, -30), 6),
    ]


@given(journals)
def test_changes_add_up_to_the_postings(journal: list[list[PostingRecord]]) -> None:
    entries = [entry(seq, lines) for seq, lines in enumerate(journal, 1)]
    expected = by_account_and_layer(entries)

    rows = changes(entries)

    assert {row.account_id for row in rows} == {account_id for account_id, _ in expected}
    for row in rows:
        assert row.added == Sums(*(expected[row.account_id, layer] for layer in Layer))


def test_a_mark_stands_at_its_posting_and_includes_it() -> None:
    tails = {1: Tail(POSTINGS_PER_MARK - 1, Sums(50, 0, 0))}

    marks, after = extend(tails, [entry(9, [posting(2, -7), posting(1, 7), posting(1, 1)])])

    assert marks == [Mark(1, 9, 1, Tail(POSTINGS_PER_MARK, Sums(57, 0, 0)))]
    assert after == {1: Tail(POSTINGS_PER_MARK + 1, Sums(58, 0, 0)), 2: Tail(1, Sums(-7, 0, 0))}


@given(journals, st.lists(st.integers(0, 30)), st.integers(0, 2 * POSTINGS_PER_MARK))
def test_marks_and_tails_do_not_depend_on_how_the_journal_is_cut(
    journal: list[list[PostingRecord]], cuts: list[int], copies: int
) -> None:
    # Copies bring an account past several marks in one message.
    journal = [lines[:1] * copies for lines in journal[:1]] + journal
    entries = [entry(seq, lines) for seq, lines in enumerate(journal, 1)]
    whole_marks, whole_tails = extend({}, entries)
    edges = [0, *sorted(cuts), len(entries)]

    marks: list[Mark] = []
    tails: dict[int, Tail] = {}
    for start, end in pairwise(edges):
        passed, touched = extend(tails, entries[start:end])
        marks += passed
        tails |= touched

    assert (marks, tails) == (whole_marks, whole_tails)
    sums = by_account_and_layer(entries)
    for account_id, tail in tails.items():
        assert tail.sums == Sums(*(sums[account_id, layer] for layer in Layer))
        marked = [mark.tail.postings for mark in marks if mark.account_id == account_id]
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
