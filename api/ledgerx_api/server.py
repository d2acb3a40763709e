"""Runs the API: one process with one event loop, behind uvicorn.

Everything happens on that loop, so requests that arrive together meet in one batch of the engine.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import cast

import uvicorn
import uvloop
from litestar import Litestar

from ledgerx import management, telemetry
from ledgerx.engine import PATIENCE_S
from ledgerx.garbage import collect_seldom
from ledgerx.settings import load
from ledgerx.turns import Turns
from ledgerx_api.app import create_app
from ledgerx_api.connection import GuardedConnection
from ledgerx_api.settings import ApiSettings


def main() -> int:
    """Serve until SIGTERM or SIGINT, then answer what was taken in and stop.

    Raises `ConfigurationError`.
    """
    settings = load(ApiSettings)
    telemetry.configure("api", level=settings.log_level)
    app = create_app(settings)
    collect_seldom()
    uvloop.run(_serve(settings, app))
    return 0


async def _serve(settings: ApiSettings, app: Litestar) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=cast("type[asyncio.Protocol]", partial(GuardedConnection, turns=Turns())),
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=1024,
            timeout_graceful_shutdown=round(PATIENCE_S) + 5,
        ),
        app.state.streams.close,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    async with management.serve(settings.management_host, settings.management_port, app.state.ready):
        await server.serve()


class _Server(uvicorn.Server):
    """A server that ends well on a signal; uvicorn's own sends itself the signal again once it is done.

    `close_streams` ends what would never end by itself.
    """

    def __init__(self, config: uvicorn.Config, close_streams: Callable[[], None]) -> None:
        super().__init__(config)
        self._close_streams = close_streams

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        self._close_streams()
        self.should_exit = True
