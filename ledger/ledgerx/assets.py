"""The assets every tenant knows without registering them: the currencies of ISO 4217 with their minor units."""

from iso4217 import Currency

from ledgerx.errors import UnknownAsset

# Codes such as XAU or XXX have no minor unit in the standard; they are not money one can count in.
_SCALES = {currency.code: currency.exponent for currency in Currency if currency.exponent is not None}


def scale_of(asset: str) -> int:
    """Return the decimal places of an asset, 2 for "USD". Raises `UnknownAsset`."""
    try:
        return _SCALES[asset]
    except KeyError:
        raise UnknownAsset(f'"{asset[:32]}" is not an asset of this tenant', asset=asset[:32]) from None
