"""Ranges of account codes."""

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from ledgerx.codes import EVERY_CODE, below, exactly

codes = st.from_regex(re.compile(r"[A-Za-z0-9._:\-]{1,12}"), fullmatch=True)


def within(code: str, *prefix: str) -> bool:
    return any(code in one for prefix_ in prefix for one in below(prefix_))


@given(codes, codes)
def test_a_prefix_is_the_account_and_all_below_it(prefix: str, other: str) -> None:
    for code in (other, prefix, prefix + other, f"{prefix}:{other}"):
        parent = prefix.removesuffix(":")
        expected = code.startswith(f"{parent}:") or (code == prefix and not prefix.endswith(":"))
        assert within(code, prefix) == expected


@given(codes, codes)
def test_a_code_is_alone_in_its_range(code: str, other: str) -> None:
    [only] = exactly(code)
    assert code in only
    assert (other in only) == (other == code)
    assert code in EVERY_CODE[0]


@given(codes)
def test_ranges_stand_in_their_order_and_apart(prefix: str) -> None:
    ranges = below(prefix)
    assert all(one.low < one.high for one in ranges)
    assert all(one.high <= other.low for one, other in itertools.pairwise(ranges))
