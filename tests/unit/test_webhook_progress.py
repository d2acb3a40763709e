"""What an attempt means for a webhook endpoint."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ledgerx.webhook_deliveries import Outcome
from ledgerx.webhooks import Reason
from ledgerx_streams.webhooks.progress import Policy, Progress, Reply, after, after_asked, pause

POLICY = Policy()
DAY_S = 86_400
TROUBLED = Progress(next_seq=7, attempts=3, tried_s=DAY_S, failures=4, dead_in_a_row=1)


def step(before: Progress, *, jitter: float = 1, policy: Policy = POLICY, **reply: Any) -> tuple[Progress, Outcome]:
    return after(before, before.next_seq, Reply(duration_s=0.1, **reply), policy=policy, jitter=jitter)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_a_success_moves_on_and_forgets_all_trouble(status: int) -> None:
    assert step(TROUBLED, status_code=status) == (Progress(next_seq=8), Outcome.DELIVERED)


@pytest.mark.parametrize("status", [100, 301, 302, 307, 308, 400, 404, 429, 500, 503])
def test_anything_else_keeps_the_event_and_makes_a_pause(status: int) -> None:
    now, outcome = step(TROUBLED, status_code=status)
    assert outcome is Outcome.FAILED
    assert (now.next_seq, now.attempts, now.failures, now.dead_in_a_row) == (7, 4, 5, 1)
    assert now.pause_s == 5 * 2**4
    assert now.disabled_reason is None


def test_no_answer_is_a_failure() -> None:
    assert step(Progress(next_seq=1), error="nobody there")[1] is Outcome.FAILED


def test_410_disables_and_keeps_the_event() -> None:
    now, outcome = step(TROUBLED, status_code=410)
    assert (now.next_seq, now.disabled_reason, outcome) == (7, Reason.GONE, Outcome.GONE)


def test_the_last_attempt_is_made_when_patience_ends_and_the_event_is_dead_then() -> None:
    late = Progress(next_seq=7, attempts=30, tried_s=3 * DAY_S - 60, failures=30)
    now, outcome = step(late, status_code=500)
    assert (now.pause_s, outcome) == (60, Outcome.FAILED)
    over = Progress(next_seq=7, attempts=31, tried_s=3 * DAY_S, failures=31)
    now, outcome = step(over, status_code=500)
    assert outcome is Outcome.DEAD
    assert (now.next_seq, now.attempts, now.tried_s, now.dead_in_a_row) == (8, 0, 0, 1)
    assert now.disabled_reason is None
    # The circuit stays open: the next event is tried after a pause, too.
    assert (now.failures, now.pause_s) == (32, POLICY.longest_pause_s)


def test_several_dead_in_a_row_disable_an_endpoint() -> None:
    over = Progress(next_seq=7, attempts=9, tried_s=3 * DAY_S, failures=99, dead_in_a_row=2)
    now, outcome = step(over, error="nobody there")
    assert (now.next_seq, now.disabled_reason, outcome) == (8, Reason.FAILING, Outcome.DEAD)


def test_pauses_double_up_to_the_longest() -> None:
    assert [pause(n, policy=POLICY, jitter=1) for n in (1, 2, 3, 4, 12, 13, 99, 9_999)] == [
        *(5, 10, 20, 40, 10_240, 14_400, 14_400, 14_400)
    ]


def test_three_days_hold_a_few_dozen_attempts() -> None:
    now, outcome, clock_s = Progress(next_seq=1), Outcome.FAILED, 0.0
    attempts = 0
    while outcome is Outcome.FAILED:
        now, outcome = step(replace(now, tried_s=clock_s), error="nobody there")
        clock_s += now.pause_s or 0
        attempts += 1
    assert outcome is Outcome.DEAD
    assert 25 < attempts < 50


@given(failures=st.integers(1, 10_000), jitter=st.floats(0, 1))
def test_jitter_takes_off_half_at_most(failures: int, jitter: float) -> None:
    full = pause(failures, policy=POLICY, jitter=1)
    assert full / 2 <= pause(failures, policy=POLICY, jitter=jitter) <= full


@pytest.mark.parametrize(("wanted", "pause_s"), [(0, 5), (3, 5), (600, 600), (10**9, 14_400)])
def test_a_receiver_may_ask_for_a_longer_pause_within_bounds(wanted: float, pause_s: float) -> None:
    now, _ = step(Progress(next_seq=1), status_code=429, retry_after_s=wanted)
    assert now.pause_s == pause_s


@pytest.mark.parametrize(("duration_s", "is_slow"), [(0.9, False), (1.1, True)])
def test_who_answers_slowly_is_slow_until_it_does_not(duration_s: float, is_slow: bool) -> None:
    for before in (Progress(next_seq=1), Progress(next_seq=1, is_slow=True)):
        reply = Reply(status_code=200, duration_s=duration_s)
        assert after(before, 1, reply, policy=POLICY, jitter=0)[0].is_slow is is_slow


def test_what_was_asked_for_counts_only_where_it_helps() -> None:
    assert after_asked(TROUBLED, Reply(status_code=500, duration_s=0)) == (TROUBLED, Outcome.FAILED)
    now, outcome = after_asked(TROUBLED, Reply(status_code=200, duration_s=0))
    assert (now.failures, now.attempts, now.next_seq, outcome) == (0, 3, 7, Outcome.DELIVERED)
    assert after_asked(TROUBLED, Reply(status_code=410, duration_s=0))[0].disabled_reason is Reason.GONE
