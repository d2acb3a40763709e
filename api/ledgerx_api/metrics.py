"""Request metrics: counts and times by method, route and status. Routes are templates, so that labels stay few."""

import time
from functools import cache

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from prometheus_client import Histogram

_SECONDS = Histogram(
    "ledgerx_http_request_seconds",
    "Time from a request's arrival to the start of its answer",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

# Finding a child by its labels costs more than observing; the labels are few.
_seconds = cache(_SECONDS.labels)


def measured(app: ASGIApp) -> ASGIApp:
    """Wrap `app` so that every HTTP request is timed."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        started = time.perf_counter()

        async def timed_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = scope.get("path_template", "unknown")
                _seconds(scope["method"], route, message["status"]).observe(time.perf_counter() - started)
            await send(message)

        await app(scope, receive, timed_send)

    return middleware
