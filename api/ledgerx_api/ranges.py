"""Ranges of bytes of a file that does not change (RFC 9110, 14)."""

import re

from ledgerx.errors import RangeNotSatisfiable

_ONE_RANGE = re.compile(r"bytes=\s*(\d{1,19})?\s*-\s*(\d{1,19})?\s*", re.ASCII | re.IGNORECASE)


def wanted_range(header: str | None, if_range: str | None, *, etag: str, size_bytes: int) -> tuple[int, int] | None:
    """The bytes that `Range` asks for, from the first to before the last; None for all of the file.

    One that cannot be read, asks for several ranges, or is meant for another version by `If-Range`, asks for all: so
    the standard has it. Raises `RangeNotSatisfiable` for one that begins behind the end.
    """
    found = _ONE_RANGE.fullmatch(header or "")
    if found is None or if_range not in (None, etag):
        return None
    first, last = found.groups()
    if first is None and last is None:
        return None
    if first is None:
        begin, end = max(size_bytes - int(last), 0), size_bytes
    else:
        begin, end = int(first), size_bytes if last is None else min(int(last) + 1, size_bytes)
        if last is not None and int(last) < begin:
            return None
    if begin >= end:
        raise RangeNotSatisfiable(f"the file has {size_bytes} bytes", size_bytes=size_bytes)
    return begin, end
