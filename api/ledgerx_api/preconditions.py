"""The version of a resource as its entity tag, and `If-Match` (RFC 9110, 8.8.3 and 13.1.1)."""

import re
from typing import Annotated

from litestar.params import HeaderParameter

_TAG = re.compile(r'"([0-9]{1,18})"')

IfMatch = Annotated[
    str | None,
    HeaderParameter(name="If-Match", max_length=1024, description="`ETag`s of the versions that this may change."),
]


def etag(version: int | str) -> dict[str, str]:
    """The header that tells a version."""
    return {"ETag": f'"{version}"'}


def versions(if_match: str | None) -> frozenset[int] | None:
    """The versions that `If-Match` names; None when any will do. A tag that was never given names no version."""
    if if_match is None or if_match.strip() == "*":
        return None
    tags = (_TAG.fullmatch(tag.strip()) for tag in if_match.split(","))
    return frozenset(int(tag[1]) for tag in tags if tag)
