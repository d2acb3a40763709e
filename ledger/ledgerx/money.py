"""Amounts: decimal strings at the edge, `int` minor units inside, never a float.

An amount of "12.34" in an asset of scale 2 is 1234 minor units.
"""

from ledgerx.errors import InvalidAmount, TooManyDecimals

MAX_DIGITS = 30
_TOO_LARGE = 10**MAX_DIGITS


def to_minor(text: str, scale: int) -> int:
    """Return the minor units of a decimal string such as "12.34", "0" or "-5".

    Raises `TooManyDecimals` when it is finer than `scale` decimal places, and `InvalidAmount` when it is not a plain
    decimal number (no exponent, no sign but a leading minus, no blanks, ASCII digits) of at most 30 digits.
    """
    negative = text.startswith("-")
    whole, point, fraction = text[negative:].partition(".")
    digits = whole + fraction
    if not (digits.isascii() and digits.isdigit() and whole and (fraction or not point)):
        raise InvalidAmount(f'"{text[:64]}" is not a decimal number such as "12.34"')
    if len(digits) > MAX_DIGITS:
        raise InvalidAmount(f"an amount has at most {MAX_DIGITS} digits, this one has {len(digits)}")
    if len(fraction) > scale:
        raise TooManyDecimals(f'"{text}" has more than {scale} decimals', scale=scale)
    minor = int(digits + "0" * (scale - len(fraction)))
    if minor >= _TOO_LARGE:
        raise InvalidAmount(f"an amount has at most {MAX_DIGITS} digits, decimals of the asset included")
    return -minor if negative else minor


def positive_minor(text: str, scale: int) -> int:
    """Like `to_minor`, for the amount of a posting, which must be greater than zero."""
    minor = to_minor(text, scale)
    if minor <= 0:
        raise InvalidAmount("the amount of a posting is greater than zero; its direction gives the sign")
    return minor


def from_minor(minor: int, scale: int) -> str:
    """Return minor units as a decimal string with exactly `scale` decimals: 1234 at scale 2 is "12.34"."""
    if scale == 0:
        return str(minor)
    digits = str(abs(minor)).zfill(scale + 1)
    sign = "-" if minor < 0 else ""
    return f"{sign}{digits[:-scale]}.{digits[-scale:]}"
