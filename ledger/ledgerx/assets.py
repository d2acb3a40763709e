"""The one place that knows what scale an asset has.

Accounts keep it with them, and their postings have it from them: it is asked for when an account is opened, or an asset
shown, and never when money moves.
"""

from collections.abc import Iterable

from iso4217 import Currency

from ledgerx.errors import UnknownAsset

# Amounts have at most 30 digits, so that these leave 12 before the point; no coin in use has more decimals.
MAX_SCALE = 18
# Codes such as XAU or XXX have no minor unit in the standard; they are not money one can count in, unless registered.
_SCALES = {currency.code: currency.exponent for currency in Currency if currency.exponent is not None}
CURRENCIES = tuple(sorted(_SCALES))


def known_scale(code: str, in_use: int | None, registered: int | None) -> int:
    """Return the decimal places of an asset, 2 for "USD".

    They are those `in_use`, of the accounts that hold or held it; otherwise those `registered` by the tenant; otherwise
    those of ISO 4217. The first makes them fixed once used, whatever later editions of the standard say. Raises
    `UnknownAsset` where there are none.
    """
    if in_use is not None:
        return in_use
    if registered is not None:
        return registered
    try:
        return _SCALES[code]
    except KeyError:
        raise UnknownAsset(f'"{code[:32]}" is not an asset of this tenant', asset=code[:32]) from None


def currencies_after(code: str) -> Iterable[str]:
    """The currencies of ISO 4217 that come after a code, in order."""
    return (currency for currency in CURRENCIES if currency > code)
