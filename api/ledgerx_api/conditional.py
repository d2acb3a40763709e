"""Conditional reads (RFC 9110, 13): answers with an `ETag`, and 304 for who has that answer already."""

import hashlib
from typing import Any

import msgspec
from litestar import Request
from litestar.openapi.datastructures import ResponseSpec
from litestar.response.base import ASGIResponse

from ledgerx_api.answers import JsonAnswer
from ledgerx_api.preconditions import etag

_UNCHANGED = ResponseSpec(None, generate_examples=False, description="Not changed: `If-None-Match` names its `ETag`.")


def answers(kind: Any, description: str) -> dict[int, ResponseSpec]:
    """What a route that answers with `answer` may answer, for the OpenAPI document."""
    return {200: ResponseSpec(kind, generate_examples=False, description=description), 304: _UNCHANGED}


def answer(request: Request[Any, Any, Any], shown: Any, *, version: int | None = None) -> ASGIResponse:
    """`shown` as JSON under a strong tag: its `version` if it has one, otherwise a hash of the very bytes."""
    body = msgspec.json.encode(shown)
    tag = etag(hashlib.sha256(body).hexdigest()[:32] if version is None else version)
    # A cache may keep it for its user, and has to ask each time.
    headers = {**tag, "Cache-Control": "private, no-cache"}
    if _names(request.headers.get("if-none-match"), tag["ETag"]):
        return ASGIResponse(body=b"", headers=headers, media_type="application/json", status_code=304)
    return JsonAnswer(body, status=200, headers=[(name.lower().encode(), headers[name].encode()) for name in headers])


def _names(header: str | None, tag: str) -> bool:
    """Whether `If-None-Match` names a tag, in the weak comparison that is prescribed for it."""
    tags = [one.strip().removeprefix("W/") for one in (header or "").split(",")]
    return tag in tags or tags == ["*"]
