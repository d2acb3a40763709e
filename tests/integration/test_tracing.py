"""One trace, from the request through the outbox and Kafka to the projections, as a collector gets to see it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ledgerx.logins import Database
from ledgerx_cli.embedded.kafka import Kafka
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import client_of, new_tenant
from tests.integration.relaying import JOURNAL, MakeRelay, consume, eventually
from tests.integration.worker_process import StartWorker

TRACE = "0af7651916cd43dd8448eb211c80319c"


class Collector:
    """Takes spans over OTLP."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    async def take(self, request: web.Request) -> web.Response:
        sent = ExportTraceServiceRequest.FromString(await request.read())
        self.spans += [span for part in sent.resource_spans for scope in part.scope_spans for span in scope.spans]
        return web.Response(content_type="application/x-protobuf")

    async def find(self, name: str, trace: str) -> Span:
        """The span `name` that is of `trace` or linked to it, once it has come."""
        found: list[Span] = []

        async def has_come() -> bool:
            found.extend(span for span in self.spans if span.name == name and bytes.fromhex(trace) in _traces(span))
            return bool(found)

        await eventually(has_come)
        return found[0]


def _traces(span: Span) -> list[bytes]:
    return [span.trace_id, *(link.trace_id for link in span.links)]


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """The collector of all processes that the test starts."""
    collector = Collector()
    app = web.Application()
    app.add_routes([web.post("/v1/traces", collector.take)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://{host}:{port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    yield collector
    await runner.cleanup()


async def test_a_request_leads_to_its_projection(
    collector: Collector,
    database: Database,
    kafka_server: Kafka,
    relays: MakeRelay,
    start_worker: StartWorker,
    servers_directory: Path,
) -> None:
    credentials = await new_tenant(database)
    await relays().start()
    worker = start_worker()
    api = ApiProcess(database, servers_directory)
    await asyncio.to_thread(api.start)
    async with client_of(api.base_url, credentials) as client:
        answer = await client.request(
            "POST",
            "/v1/transactions",
            body={"debit": "bank", "credit": "user", "amount": "1.00"},
            key="k",
            headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"},
        )
    assert answer.status == 201

    request = await collector.find("POST /v1/transactions", TRACE)
    key = str(credentials.tenant_id).encode()
    records = await consume(
        kafka_server,
        [JOURNAL],
        {key},
        lambda records: any(TRACE.encode() in _traceparent(record) for record in records),
    )
    assert _traceparent(records[-1]) == f"00-{TRACE}-{request.span_id.hex()}-01".encode()
    for name in ("ledgerx.batch", "ledgerx.relay", "ledgerx.apply"):
        step = await collector.find(name, TRACE)
        assert (step.trace_id, step.parent_span_id) == (request.trace_id, request.span_id)
    applying = await collector.find("ledgerx.apply", TRACE)
    projecting = await collector.find("ledgerx.project", TRACE)
    assert [link.span_id for link in applying.links] == [projecting.span_id]
    # A batch is of many requests, and so the child of none.
    assert projecting.trace_id != request.trace_id
    assert projecting.parent_span_id == b""
    assert (request.trace_id, request.span_id) in [(link.trace_id, link.span_id) for link in projecting.links]
    assert api.end() == 0
    assert worker.terminate() == 0


async def test_requests_that_are_recorded_together_all_lead_to_their_batch(
    collector: Collector, database: Database, servers_directory: Path
) -> None:
    """A batch is in the trace of the first one, which its message carries on, and linked to all others."""
    api = ApiProcess(database, servers_directory)
    await asyncio.to_thread(api.start)
    traces = [f"{number:032x}" for number in range(1, 41)]
    async with client_of(api.base_url, await new_tenant(database)) as client:
        posting = (
            client.request(
                "POST",
                "/v1/transactions",
                body={"debit": "bank", "credit": "user", "amount": "1.00"},
                key=one,
                headers={"traceparent": f"00-{one}-b7ad6b7169203331-01"},
            )
            for one in traces
        )
        assert {answer.status for answer in await asyncio.gather(*posting)} == {201}
    batches = [await collector.find("ledgerx.batch", one) for one in traces]
    assert len({batch.span_id for batch in batches}) < len(traces)
    assert api.end() == 0


def _traceparent(record: object) -> bytes:
    return dict(getattr(record, "headers", ())).get("traceparent") or b""
