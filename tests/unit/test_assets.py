"""The assets that need no registration."""

import pytest

from ledgerx.assets import scale_of
from ledgerx.errors import UnknownAsset


@pytest.mark.parametrize(("asset", "scale"), [("USD", 2), ("EUR", 2), ("JPY", 0), ("BHD", 3), ("CLF", 4)])
def test_currencies_have_the_minor_units_of_iso_4217(asset: str, scale: int) -> None:
    assert scale_of(asset) == scale


@pytest.mark.parametrize("asset", ["", "usd", "XAU", "XXX", "EURO", "US\0"])
def test_what_is_not_money_to_count_in_is_unknown(asset: str) -> None:
    with pytest.raises(UnknownAsset):
        scale_of(asset)


def test_a_long_code_is_not_repeated_in_full() -> None:
    with pytest.raises(UnknownAsset) as caught:
        scale_of("A" * 1_000)
    assert len(caught.value.detail) < 100
