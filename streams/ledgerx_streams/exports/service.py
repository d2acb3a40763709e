"""The exports of a database that a worker of the streams writes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ledgerx import database
from ledgerx.export_files import ExportFiles, destinations
from ledgerx.settings import Secret
from ledgerx_streams.exports.worker import ExportWorker
from ledgerx_streams.settings import Settings


@asynccontextmanager
async def writing_exports(database_url: Secret, settings: Settings) -> AsyncIterator[Callable[[], None] | None]:
    """Write exports meanwhile, where there is a storage for them; yields how to tell of news.

    Raises `ConfigurationError` for a URL of a storage that is none.
    """
    if settings.exports_url is None:
        yield None
        return
    at_once = settings.exports_at_once
    # Durable: what was said to be done must not come back.
    pool = database.pool(database_url.reveal(), application_name="ledgerx-exports", max_size=2 * at_once + 1)
    async with pool:
        worker = ExportWorker(
            pool,
            _storages(settings.exports_url, settings),
            at_once=at_once,
            keep_days=settings.exports_keep_days,
            max_bytes=settings.exports_max_bytes,
        )
        working = asyncio.create_task(worker.run())
        try:
            yield worker.wake
        finally:
            working.cancel()
            await asyncio.wait({working})


def _storages(url: str, settings: Settings) -> dict[str | None, ExportFiles]:
    """The storages of the destinations by name, and that of all other exports."""
    storages: dict[str | None, ExportFiles] = {None: ExportFiles(url)}
    for name, destination_url in destinations(settings.exports_destinations).items():
        storages[name] = ExportFiles(destination_url, "LEDGERX_EXPORTS_DESTINATIONS")
    return storages
