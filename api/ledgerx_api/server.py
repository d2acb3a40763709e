"""Runs the API: one process with one event loop, behind granian's HTTP server."""

import asyncio
import signal

import uvloop
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from ledgerx import telemetry
from ledgerx.settings import load
from ledgerx_api.app import create_app
from ledgerx_api.settings import ApiSettings

# A client that takes longer to send its headers is slow on purpose.
_HEADER_TIMEOUT_MS = 10_000


def main() -> int:
    """Serve until SIGTERM or SIGINT, then answer what was taken in and stop.

    Raises `ConfigurationError`.
    """
    settings = load(ApiSettings)
    telemetry.configure("api", level=settings.log_level)
    uvloop.run(_serve(settings))
    return 0


async def _serve(settings: ApiSettings) -> None:
    server = Server(
        create_app(settings),
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        backlog=1024,
        http1_settings=HTTP1Settings(header_read_timeout=_HEADER_TIMEOUT_MS),
        websockets=False,
        log_enabled=False,
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    await server.serve()
