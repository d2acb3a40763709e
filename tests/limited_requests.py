"""Requests that go through the rate limits and no further."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from litestar import Request
from litestar.types import ASGIApp, Receive, Scope, Send

from ledgerx.settings import Secret
from ledgerx_api.addresses import networks
from ledgerx_api.rate_limits import RateLimiter
from ledgerx_api.settings import ApiSettings
from ledgerx_api.tokens import Principal

ALICE = Principal(UUID(int=1), "client:alice", frozenset())
ALICES_NEIGHBOUR = Principal(UUID(int=1), "client:bob", frozenset())
STRANGER = Principal(UUID(int=2), "client:alice", frozenset())
OFF = {"rate_limit_tenant": 0, "rate_limit_client": 0, "rate_limit_address": 0}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


def limiter(proxies: str | None = None, **settings: Any) -> RateLimiter:
    return RateLimiter(ApiSettings(database_url=Secret(""), keys=Path(), **{**OFF, **settings}), networks(proxies))


def scope_of(
    principal: Principal | None, path: str, peer: str = "192.0.2.1", headers: Mapping[str, str] | None = None
) -> Scope:
    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": raw, "client": (peer, 5)}
    return cast("Scope", scope if principal is None else scope | {"user": principal})


async def ask(
    limits: RateLimiter,
    principal: Principal | None = ALICE,
    path: str = "/v1/transactions",
    *,
    transactions: int = 1,
    **connection: Any,
) -> Answer:
    """Send a request through the middleware to a route that charges for its transactions."""

    async def route(scope: Scope, _receive: Receive, send: Send) -> None:
        await limits.charge(Request(scope), transactions)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"kept")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return await call(limits.limited(route), scope_of(principal, path, **connection))


async def call(app: ASGIApp, scope: Scope) -> Answer:
    """Send a request without a body; no header may come twice."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    headers = [(name.decode(), value.decode()) for name, value in sent[0]["headers"]]
    assert len(headers) == len(dict(headers))
    return Answer(sent[0]["status"], dict(headers), sent[1]["body"])
