"""Logs, traces and metrics, set up once by each process.

Logs are JSON lines on standard error with the ids of the current trace. Traces go out over OTLP when the standard
variable `OTEL_EXPORTER_OTLP_ENDPOINT` is set, and cost nothing otherwise. Metrics are Prometheus'.
"""

import logging
import os
import sys
from collections.abc import Iterable
from typing import Any

import structlog
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from ledgerx import __version__

_OTLP_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def configure(part: str, *, level: str = "INFO") -> None:
    """Set up logging and tracing for the deployable `part` ("api", "relay", "streams", ...)."""
    _configure_logs(part, level)
    if tracing_enabled():
        # A fifth of a second of every start, for those who have somewhere to send spans.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

        resource = Resource.create({SERVICE_NAME: f"ledgerx-{part}", SERVICE_VERSION: __version__})
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)


def tracing_enabled() -> bool:
    """Whether spans go anywhere; hot paths skip making them when not."""
    return bool(os.environ.get(_OTLP_ENDPOINT))


def trace_of(traceparent: str | None) -> Context:
    """The trace that a W3C `traceparent` names, for a span to go on in; a new one where it names none."""
    return propagate.extract({} if traceparent is None else {"traceparent": traceparent}, Context())


def links_to(traceparents: Iterable[str | None]) -> list[trace.Link]:
    """Links to the spans that these name, each once."""
    origins = (trace.get_current_span(trace_of(one)).get_span_context() for one in dict.fromkeys(traceparents))
    return [trace.Link(origin) for origin in origins if origin.is_valid]


def _configure_logs(part: str, level: str) -> None:
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_part(part),
        _add_trace,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.EventRenamer("message"),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # psycopg warns of each pipeline that an error ended, and the error itself is reported by whoever meets it.
    logging.getLogger("psycopg").setLevel(logging.ERROR)


def _add_part(part: str) -> structlog.typing.Processor:
    def add(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event["part"] = part
        return event

    return add


def _add_trace(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event
