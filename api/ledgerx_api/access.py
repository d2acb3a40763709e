"""Who may call what: a guard that finds the principal and checks the route's scope.

A route says its scope in `opt`, as in `@get("/v1/accounts", **requires(Scope.LEDGER_READ))`; a route that says nothing
is open to all. The table of routes and scopes is therefore data of the application.
"""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from ledgerx.errors import Forbidden, Unauthenticated
from ledgerx.tenancy import Scope
from ledgerx_api.tokens import Tokens

_OPT = "scope"
SECURITY_SCHEME = "token"


def requires(scope: Scope) -> dict[str, Any]:
    """Keyword arguments of a route handler that only principals with `scope` (or `admin`) may call."""
    return {"opt": {_OPT: scope}, "security": [{SECURITY_SCHEME: [scope.value]}]}


def guard_with(tokens: Tokens) -> Any:
    """The guard of the whole application, which leaves the principal in `request.user`."""

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        scope = handler.opt.get(_OPT)
        if scope is None:
            return
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("send an access token: Authorization: Bearer <token>")
        principal = tokens.verify(token.strip())
        if scope not in principal.scopes and Scope.ADMIN not in principal.scopes:
            raise Forbidden(f"this needs the scope {scope}")
        connection.scope["user"] = principal

    return guard
