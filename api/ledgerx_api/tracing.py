"""W3C trace context: in from the caller, out on the outbox row, from where it follows the event through the streams."""

import re
from collections.abc import Mapping
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send
from opentelemetry import propagate, trace

from ledgerx import telemetry

_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TRACING = telemetry.tracing_enabled()
_tracer = trace.get_tracer("ledgerx.api")


def traceparent(headers: Mapping[str, str]) -> str | None:
    """The trace that a command belongs to: the current span where spans are made, else what the caller sent."""
    if _TRACING:
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        return carrier.get("traceparent")
    given = headers.get("traceparent")
    return given if given is not None and _TRACEPARENT.fullmatch(given) else None


def traced(app: ASGIApp) -> ASGIApp:
    """Wrap `app` so that every HTTP request is a span of the caller's trace; as it is when spans go nowhere."""
    if not _TRACING:
        return app

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await app(scope, receive, send)
            return
        headers: dict[str, Any] = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        with _tracer.start_as_current_span(
            f"{scope['method']} {scope.get('path_template', scope['path'])}",
            context=propagate.extract(headers),
            kind=trace.SpanKind.SERVER,
        ):
            await app(scope, receive, send)

    return middleware
