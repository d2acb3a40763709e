"""The management endpoint of a part: `/livez`, `/readyz` and `/metrics`, apart from any business traffic."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest


@asynccontextmanager
async def serve(host: str, port: int | None, ready: Callable[[], bool]) -> AsyncIterator[None]:
    """Answer on `host`:`port` while the block runs; does nothing without a port.

    `/livez` is 200 as long as the event loop turns, `/readyz` is 200 or 503 as `ready()` says, `/metrics` is the
    process's default Prometheus registry.
    """
    if port is None:
        yield
        return

    async def livez(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n") if ready() else web.Response(text="not ready\n", status=503)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield
    finally:
        await runner.cleanup()
