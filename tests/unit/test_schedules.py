"""Moments of schedules, in zones whose clocks change."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from ledgerx.errors import InvalidField
from ledgerx.schedules import check_schedule, next_boundary

DEFAULT = ["0 * * * *", "0 0 * * *"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "expected"),
    [
        (DEFAULT, "UTC", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"),
        (DEFAULT, "UTC", "2026-01-01T00:59:59.999Z", "2026-01-01T01:00:00Z"),
        # The day ends at midnight there, and its hours begin where its clocks say so.
        (["0 0 * * *"], "Asia/Kolkata", "2026-01-01T00:00:00Z", "2026-01-01T18:30:00Z"),
        (DEFAULT, "Asia/Kolkata", "2026-01-01T00:00:00Z", "2026-01-01T00:30:00Z"),
        # Days of 23 and 25 hours.
        (["0 0 * * *"], "Europe/Paris", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
        (["0 0 * * *"], "Europe/Paris", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        (["0 * * * *"], "Europe/Paris", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
        (["0 9 * * 1", "30 8 1 * *"], "UTC", "2026-01-30T00:00:00Z", "2026-02-01T08:30:00Z"),
        (["0 0 * * *"], "Nowhere/Known", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
    ],
)
def test_the_next_moment_is_the_first_of_any_expression(
    schedule: list[str], zone: str, after: str, expected: str
) -> None:
    assert next_boundary(schedule, at(after), zone) == at(expected)


def test_moments_follow_one_another() -> None:
    moments = [datetime(2026, 10, 31, 12, tzinfo=UTC)]
    for _ in range(48):
        moments += [next_boundary(DEFAULT, moments[-1], "America/New_York")]
    assert [later - earlier for earlier, later in pairwise(moments)] == [timedelta(hours=1)] * 48


@pytest.mark.parametrize(
    "schedule",
    [
        [],
        ["* * * * *"] * 9,
        ["* * * *"],
        ["* * * * * *"],
        ["61 * * * *"],
        ["0 0 30 2 *"],
        ["x"],
        ["0 " * 60],
    ],
)
def test_what_is_no_schedule_is_refused(schedule: list[str]) -> None:
    with pytest.raises(InvalidField):
        check_schedule(schedule)


def test_expressions_of_five_fields_are_taken() -> None:
    check_schedule([*DEFAULT, "*/5 8-18 * * MON-FRI", "0 0 L * *"])
