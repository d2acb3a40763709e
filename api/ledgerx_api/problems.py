"""Errors as answers: RFC 9457 problem details with a stable `code`."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
import psycopg
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec

from ledgerx.constraints import domain_error
from ledgerx.errors import (
    InvalidField,
    InvalidToken,
    LedgerError,
    Malformed,
    NotFound,
    RangeNotSatisfiable,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)

MEDIA_TYPE = "application/problem+json"
_log = structlog.get_logger()
_BY_STATUS: dict[int, type[LedgerError]] = {
    400: Malformed,
    404: NotFound,
    413: TooLarge,
    415: UnsupportedMediaType,
}


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field; `field` is its path in the request."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9457. Some codes add members of their own, such as `shortfall`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: Sequence[FieldError] | msgspec.UnsetType = msgspec.UNSET


# What any operation may answer, for the OpenAPI document.
PROBLEMS = {
    status: ResponseSpec(Problem, media_type=MEDIA_TYPE, generate_examples=False, description=description)
    for status, description in {
        400: "The request cannot be read.",
        401: "No valid credentials.",
        403: "The credentials do not reach this.",
        404: "There is no such thing in this tenant.",
        409: "The present state does not allow it.",
        410: "It is not kept any more.",
        412: "It has changed since.",
        413: "The body is too large.",
        415: "The body is of another media type.",
        416: "The file has no such range of bytes.",
        422: "The request breaks a rule; `code` says which.",
        429: "A rate limit is used up: come again after `Retry-After` seconds.",
        503: "Not now: retry with the same key after `Retry-After` seconds.",
    }.items()
}


def problem_of(error: LedgerError) -> dict[str, Any]:
    """The members of the answer to `error`."""
    problem = Problem(
        type=f"urn:ledgerx:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
    )
    members: dict[str, Any] = msgspec.to_builtins(problem)
    return members | error.extra


def answer(_request: Request[Any, Any, Any], error: LedgerError) -> Response[bytes]:
    """Render an error of ours."""
    headers = {}
    if isinstance(error, Unauthenticated):
        wrong_token = ', error="invalid_token"' if isinstance(error, InvalidToken) else ""
        headers["WWW-Authenticate"] = f'Bearer realm="ledgerx"{wrong_token}'
    if isinstance(error, RateLimited | Unavailable):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.extra['size_bytes']}"
    body = msgspec.json.encode(problem_of(error))
    return Response(body, status_code=error.status, media_type=MEDIA_TYPE, headers=headers)


def answer_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Render an error that Litestar raised: an unknown path, a wrong method, a body that does not fit."""
    if isinstance(error, ValidationException):
        return answer(request, _validation_error(error))
    kind = _BY_STATUS.get(error.status_code)
    if kind is not None:
        # The phrase of a status goes by the version of Python, and says no more than the title.
        detail = "" if error.detail == HTTPStatus(error.status_code).phrase else error.detail
        return answer(request, kind(detail))
    problem = Problem(
        type="about:blank",
        title=error.detail,
        status=error.status_code,
        detail=error.detail,
        code=error.detail.lower().replace(" ", "_"),
    )
    body = msgspec.json.encode(problem)
    return Response(body, status_code=error.status_code, media_type=MEDIA_TYPE, headers=error.headers)


def answer_database(request: Request[Any, Any, Any], error: psycopg.Error) -> Response[bytes]:
    """Render an error of a read: a value that no column holds, or a database that does not answer."""
    if isinstance(error, psycopg.DataError):
        return answer(request, domain_error(error))
    _log.warning("database error", path=request.url.path, error=str(error).strip())
    return answer(request, Unavailable("the database did not answer"))


def answer_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Render what should never happen, and log it."""
    _log.error("unhandled error", path=request.url.path, method=request.method, exc_info=error)
    return answer(request, LedgerError())


def _validation_error(error: ValidationException) -> LedgerError:
    """A parameter of the path, the query or a header does not fit."""
    problems = [
        FieldError(str(one.get("key")), str(one["message"])) for one in error.extra or [] if isinstance(one, dict)
    ]
    if any(one.field == "data" for one in problems):
        return Malformed("the body is missing")
    detail = "; ".join(f"{one.field}: {one.message}" for one in problems)
    return InvalidField(detail or error.detail, errors=msgspec.to_builtins(problems))
