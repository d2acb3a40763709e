import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from ledgerx_cli.bench.quantiles import buckets, growth, interpolated, nearest_rank

QUANTILE = st.floats(0.001, 1)


@given(values=st.lists(st.integers(0, 10**10), min_size=1, max_size=50), quantile=QUANTILE)
def test_a_quantile_is_the_smallest_value_that_enough_of_them_do_not_exceed(values: list[int], quantile: float) -> None:
    found = nearest_rank(sorted(values), quantile)
    assert sum(value <= found for value in values) >= quantile * len(values)
    assert sum(value < found for value in values) < quantile * len(values)


def test_the_growth_of_a_histogram_between_two_pages_is_summed_over_its_labels() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("fresh_seconds", "Freshness.", ["projection"], buckets=(1, 2), registry=registry)
    before = buckets(generate_latest(registry).decode(), "fresh_seconds")
    assert before == {}
    histogram.labels("balances").observe(0.5)
    between = buckets(generate_latest(registry).decode(), "fresh_seconds")
    histogram.labels("balances").observe(1.5)
    histogram.labels("others").observe(9)
    after = buckets(generate_latest(registry).decode(), "fresh_seconds")
    assert growth(before, after) == {1: 1, 2: 2, math.inf: 3}
    assert growth(between, after) == {1: 0, 2: 1, math.inf: 2}


@pytest.mark.parametrize(
    ("quantile", "expected"),
    [(0.25, 0.5), (0.5, 1.0), (0.75, 3.0), (1.0, 5.0)],
)
def test_a_quantile_of_a_histogram_lies_in_its_bucket_as_far_as_its_rank(quantile: float, expected: float) -> None:
    assert interpolated({1: 4, 5: 8, math.inf: 8}, quantile) == expected


def test_a_quantile_beyond_the_last_bound_is_that_bound() -> None:
    assert interpolated({1: 1, 5: 1, math.inf: 2}, 0.99) == 5


@pytest.mark.parametrize("counts", [{}, {1: 0, math.inf: 0}])
def test_a_histogram_without_observations_has_no_quantile(counts: dict[float, float]) -> None:
    assert interpolated(counts, 0.5) is None
