"""Who may call what: finds the principal of a request and checks the route's scope.

A route says its scope in `opt`, as in `@get("/v1/accounts", **requires(Scope.LEDGER_READ))`; a route that says nothing
is open to all. The table of routes and scopes is therefore data of the application. This is a middleware and not a
guard because Litestar copies the route handler for guards at every request.
"""

from collections.abc import Callable, Mapping
from typing import Any

from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp, Receive, Send
from litestar.types import Scope as AsgiScope

from ledgerx.errors import Forbidden, Unauthenticated
from ledgerx.tenancy import Scope
from ledgerx_api.problems import PROBLEMS
from ledgerx_api.tokens import Principal, Tokens

_OPT = "scope"
_AUTHORIZATION = b"authorization"
SECURITY_SCHEME = "token"


def requires(scope: Scope, answers: Mapping[int, ResponseSpec] | None = None) -> dict[str, Any]:
    """Keyword arguments of a route handler that only principals with `scope` (or `admin`) may call.

    `answers` are those of the OpenAPI document beside the problems that any route may answer.
    """
    return {
        "opt": {_OPT: scope},
        "security": [{SECURITY_SCHEME: [scope.value]}],
        "responses": {**PROBLEMS, **(answers or {})},
    }


def authorised_by(tokens: Tokens) -> Callable[[ASGIApp], ASGIApp]:
    """The middleware that leaves the principal of a request in `request.user`, or refuses it."""

    def middleware(app: ASGIApp) -> ASGIApp:
        async def guarded(scope: AsgiScope, receive: Receive, send: Send) -> None:
            wanted = scope["route_handler"].opt.get(_OPT)
            if wanted is not None:
                scope["user"] = authorise(scope, wanted, tokens)
            await app(scope, receive, send)

        return guarded

    return middleware


def authorise(scope: AsgiScope, wanted: Scope, tokens: Tokens) -> Principal:
    """The principal of a request that needs the scope `wanted`. Raises `Unauthenticated` and `Forbidden`."""
    header = next((value for name, value in scope["headers"] if name == _AUTHORIZATION), b"")
    scheme, _, token = header.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("send an access token: Authorization: Bearer <token>")
    principal = tokens.verify(token.strip())
    if wanted not in principal.scopes and Scope.ADMIN not in principal.scopes:
        raise Forbidden(f"this needs the scope {wanted}")
    return principal
