"""The management endpoint of a part: health and metrics, apart from any business traffic."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess

METRICS_TYPE = CONTENT_TYPE_LATEST


def shown_metrics() -> bytes:
    """The metrics of this process, or of all that share the directory `PROMETHEUS_MULTIPROC_DIR` where that is set."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


@asynccontextmanager
async def serve(host: str, port: int | None, ready: Callable[[], bool]) -> AsyncIterator[None]:
    """Answer on `host`:`port` while the block runs; does nothing without a port.

    `/livez` is 200 as long as the event loop turns, `/readyz` and `/startupz` are 200 or 503 as `ready()` says,
    `/metrics` is for Prometheus.
    """
    if port is None:
        yield
        return

    async def livez(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n") if ready() else web.Response(text="not ready\n", status=503)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=shown_metrics(), headers={"Content-Type": METRICS_TYPE})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/startupz", readyz)])
    app.add_routes([web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
