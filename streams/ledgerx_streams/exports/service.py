"""The exports of a worker of the streams: an agent that hears of them, and what writes them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import faust
from faust.types import StreamT

from ledgerx import database
from ledgerx.export_files import ExportFiles
from ledgerx.exports import TOPIC_EXPORTS
from ledgerx.settings import Secret
from ledgerx_streams.exports.worker import ExportWorker
from ledgerx_streams.faust_app import raw_topic


@asynccontextmanager
async def writing_exports(
    app: faust.App,
    database_url: Secret,
    storage_url: str | None,
    destination_urls: Mapping[str, str],
    *,
    at_once: int,
    keep_days: int,
    max_bytes: int,
) -> AsyncIterator[None]:
    """Have `app` hear of exports, and write them meanwhile where there is a storage for them.

    Raises `ConfigurationError` for a URL of a storage that is none.
    """
    # All workers of the group read the same topics: one without a storage leaves what it hears to the clocks of others.
    worker: ExportWorker | None = None

    async def hear(stream: StreamT[bytes]) -> None:
        async for _ in stream:
            if worker is not None:
                worker.wake()

    app.agent(raw_topic(app, TOPIC_EXPORTS), name="exports")(hear)
    if storage_url is None:
        yield
        return
    # Durable: what was said to be done must not come back.
    pool = database.pool(database_url.reveal(), application_name="ledgerx-exports", max_size=2 * at_once + 1)
    files: dict[str | None, ExportFiles] = {None: ExportFiles(storage_url)}
    for name, url in destination_urls.items():
        files[name] = ExportFiles(url, "LEDGERX_EXPORTS_DESTINATIONS")
    async with pool:
        worker = ExportWorker(pool, files, at_once=at_once, keep_days=keep_days, max_bytes=max_bytes)
        working = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            working.cancel()
            await asyncio.wait({working})
