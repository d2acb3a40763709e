"""Who may call what: finds the principal of a request and checks what the route asks for.

A route says its scope in `opt`, as in `@get("/v1/accounts", **requires(Scope.LEDGER_READ))`; a route that says nothing
is open to all. The table of routes, scopes and roles is therefore data of the application. This is a middleware and not
a guard because Litestar copies the route handler for guards at every request.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp, Receive, Send
from litestar.types import Scope as AsgiScope

from ledgerx.errors import Forbidden, InvalidToken, Unauthenticated
from ledgerx.roles import Role
from ledgerx.tenancy import Scope
from ledgerx_api.databases import Databases
from ledgerx_api.outside import OutsideTokens, tenant_id_of
from ledgerx_api.problems import PROBLEMS
from ledgerx_api.reference.operation import DocumentedOperation
from ledgerx_api.requests import keep_database
from ledgerx_api.tokens import Principal, Tokens

OPT = "access"
_AUTHORIZATION = b"authorization"
TENANT_HEADER = "LedgerX-Tenant"
_TENANT = TENANT_HEADER.lower().encode()
SECURITY_SCHEME = "token"
# Keyword arguments of a route handler that anybody may call.
OPEN_TO_ALL: dict[str, Any] = {"responses": PROBLEMS, "operation_class": DocumentedOperation}
TENANT_SCHEME = "tenant"


class Access(msgspec.Struct, frozen=True):
    """What a route asks for: `scope` of anybody but members, or one of `roles`."""

    scope: Scope | None
    roles: frozenset[Role]

    def __str__(self) -> str:
        wanted = [f"the scope {self.scope}"] if self.scope else []
        return " or ".join(wanted + [f"the role {role}" for role in sorted(self.roles)])

    def allows(self, principal: Principal) -> bool:
        """Whether `principal` may call the route."""
        if principal.role in self.roles:
            return True
        if self.scope is None or principal.role is Role.MEMBER:
            return False
        return self.scope in principal.scopes or Scope.ADMIN in principal.scopes


def requires(
    scope: Scope | None, answers: Mapping[int, ResponseSpec] | None = None, *, roles: Iterable[Role] = ()
) -> dict[str, Any]:
    """Keyword arguments of a route handler that only principals with `scope` (or `admin`), or one of `roles`, may call.

    A route that opens itself to members shows them only what `Principal.confined_to` lets them see. `answers` are those
    of the OpenAPI document beside the problems that any route may answer.
    """
    wanted: dict[str, list[str]] = {SECURITY_SCHEME: [] if scope is None else [scope.value]}
    return {
        "opt": {OPT: Access(scope, frozenset(roles))},
        # A token of the platform, or one from outside.
        "security": [wanted, wanted | {TENANT_SCHEME: []}],
        "responses": {**PROBLEMS, **(answers or {})},
        "operation_class": DocumentedOperation,
    }


def authorised_by(tokens: Tokens, outside: OutsideTokens, databases: Databases) -> Callable[[ASGIApp], ASGIApp]:
    """The middleware that leaves the principal of a request in `request.user`, or refuses it."""

    def middleware(app: ASGIApp) -> ASGIApp:
        async def guarded(scope: AsgiScope, receive: Receive, send: Send) -> None:
            wanted = scope["route_handler"].opt.get(OPT)
            if wanted is not None:
                scope["user"] = await authorise(scope, wanted, tokens, outside, databases)
            await app(scope, receive, send)

        return guarded

    return middleware


async def authorise(
    scope: AsgiScope, wanted: Access, tokens: Tokens, outside: OutsideTokens, databases: Databases
) -> Principal:
    """The principal of a request to a route that wants `wanted`; the request keeps the database of its tenant.

    Raises `Unauthenticated`, `Forbidden`, `TenantSuspended`, `IssuerUnavailable` and `Unavailable`.
    """
    authorization = tenant = b""
    for name, value in scope["headers"]:
        if name == _AUTHORIZATION:
            authorization = authorization or value
        elif name == _TENANT:
            tenant = value
    scheme, _, token = authorization.decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("send an access token: Authorization: Bearer <token>")
    token = token.strip()
    principal = tokens.recall(token)
    if principal is None:
        named = tenant.decode("latin-1") if tenant else None
        principal = await outside.verify(token, named) or tokens.verify(token)
    if tenant and tenant_id_of(tenant.decode("latin-1")) != principal.tenant_id:
        raise InvalidToken("the access token is of another tenant than LedgerX-Tenant says")
    database = databases.known(principal.tenant_id) or await databases.find(principal.tenant_id)
    keep_database(scope, database)
    database.tenants.check(principal.tenant_id)
    if not wanted.allows(principal):
        raise Forbidden(f"this needs {wanted}")
    return principal
