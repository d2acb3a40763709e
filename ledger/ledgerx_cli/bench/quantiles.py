"""Quantiles: of latencies seen one by one, and of a Prometheus histogram that grew between two readings."""

import math
from collections.abc import Mapping, Sequence

from prometheus_client.parser import text_string_to_metric_families

Buckets = Mapping[float, float]
"""How many observations were at most so large, by upper bound."""


def nearest_rank(ordered: Sequence[int], quantile: float) -> int:
    """The smallest of the ascending values that at least that share of all of them does not exceed."""
    return ordered[max(math.ceil(quantile * len(ordered)), 1) - 1]


def buckets(exposition: str, histogram: str) -> Buckets:
    """The buckets of a histogram in the text of a `/metrics` page, summed over its labels; empty when absent."""
    counts: dict[float, float] = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name == f"{histogram}_bucket":
                bound = float(sample.labels["le"])
                counts[bound] = counts.get(bound, 0) + sample.value
    return counts


def growth(before: Buckets, after: Buckets) -> Buckets:
    """The buckets of what was observed between two readings."""
    return {bound: count - before.get(bound, 0) for bound, count in after.items()}


def interpolated(counts: Buckets, quantile: float) -> float | None:
    """The quantile as PromQL's `histogram_quantile` estimates it; None when nothing was observed."""
    bounds = sorted(counts)
    if not bounds or counts[bounds[-1]] == 0:
        return None
    rank = quantile * counts[bounds[-1]]
    lower, below = 0.0, 0.0
    for bound in bounds:
        if counts[bound] >= rank:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (rank - below) / (counts[bound] - below)
        lower, below = bound, counts[bound]
    raise AssertionError("the last bucket holds every observation")
