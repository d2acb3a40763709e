from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerx.events import EntryRecord, JournalMessage
from ledgerx.journal import Kind
from ledgerx_streams.heads import Apply, Backfill, Fork, Head, Skip, beginning, plan, plan_run

TENANT = UUID("01920000-0000-7000-8000-000000000001")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def hash_at(seq: int, history: str) -> bytes:
    return sha256(f"{history}:{seq}".encode()).digest() if seq else beginning(TENANT).hash


def head_at(seq: int, history: str = "true") -> Head:
    return Head(seq, hash_at(seq, history))


def message(first: int, last: int, history: str = "true") -> JournalMessage:
    entries = [
        EntryRecord(seq=seq, kind=Kind.POST, recorded_at=NOW, actor="a", hash=hash_at(seq, history))
        for seq in range(first, last + 1)
    ]
    return JournalMessage(
        tenant=TENANT,
        first=first,
        last=last,
        previous_hash=hash_at(first - 1, history),
        hash=entries[-1].hash,
        entries=tuple(entries),
    )


@pytest.mark.parametrize("last", [3, 7, 10])
def test_a_repeat_is_skipped(last: int) -> None:
    assert plan(head_at(10), message(2, last)) == Skip()


def test_a_message_right_after_the_head_is_applied_whole() -> None:
    following = message(11, 13)

    assert plan(head_at(10), following) == Apply(following.entries)


def test_the_first_message_of_a_tenant_follows_the_genesis_hash() -> None:
    first = message(1, 2)

    assert plan(beginning(TENANT), first) == Apply(first.entries)


@pytest.mark.parametrize("first", [1, 9, 10])
def test_of_an_overlap_only_the_tail_is_applied(first: int) -> None:
    overlapping = message(first, 12)

    assert plan(head_at(10), overlapping) == Apply(overlapping.entries[-2:])


def test_a_gap_is_to_be_filled_up_to_the_message() -> None:
    assert plan(head_at(10), message(15, 16)) == Backfill(11, 14)
    assert plan(beginning(TENANT), message(2, 2)) == Backfill(1, 1)


@pytest.mark.parametrize(("first", "last"), [(11, 12), (5, 12), (10, 11), (3, 10), (10, 10)])
def test_a_message_of_another_history_is_a_fork(first: int, last: int) -> None:
    assert plan(head_at(10), message(first, last, "false")) == Fork(10)


def test_a_first_message_of_another_tenant_is_a_fork() -> None:
    assert plan(beginning(UUID(int=1)), message(1, 1)) == Fork(0)


def test_a_run_ends_at_the_first_obstacle() -> None:
    run = plan_run(head_at(4), [message(3, 4), message(5, 6), message(6, 8), message(11, 12), message(13, 13)])

    assert [entry.seq for entry in run.entries] == [5, 6, 7, 8]
    assert run.head == head_at(8)
    assert (run.taken, run.obstacle) == (3, Backfill(9, 10))


@given(st.integers(0, 30), st.lists(st.tuples(st.integers(1, 30), st.integers(0, 10))))
def test_whatever_arrives_every_entry_is_applied_once_and_in_order(start: int, spans: list[tuple[int, int]]) -> None:
    head = head_at(start)
    applied: list[int] = []
    messages = [message(first, first + length) for first, length in spans]

    while messages:
        run = plan_run(head, messages)
        applied += [entry.seq for entry in run.entries]
        head, messages = run.head, messages[run.taken :]
        if run.obstacle:
            assert isinstance(run.obstacle, Backfill)
            messages = [message(run.obstacle.first, run.obstacle.last), *messages]

    assert head == head_at(max([start, *(first + length for first, length in spans)]))
    assert applied == list(range(start + 1, head.seq + 1))
