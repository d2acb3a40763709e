"""The webhooks of a database that a worker of the streams delivers to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ledgerx import database
from ledgerx.outbound import Outbound
from ledgerx.sealing import read_sealing_keys
from ledgerx.settings import Secret
from ledgerx.webhooks import networks
from ledgerx_streams.settings import Settings
from ledgerx_streams.webhooks.courier import Courier
from ledgerx_streams.webhooks.dispatcher import Dispatcher
from ledgerx_streams.webhooks.progress import Policy
from ledgerx_streams.webhooks.store import Store

_MAX_CONNECTIONS = 8
# What is under way when a worker is stopped may end within that.
_FAREWELL_S = 5.0


@asynccontextmanager
async def delivering_webhooks(
    name: str, database_url: Secret, settings: Settings
) -> AsyncIterator[Callable[[], None] | None]:
    """Deliver to webhooks meanwhile, where this worker has the keys for it; yields how to tell of news."""
    if settings.sealing_keys is None:
        yield None
        return
    keys = read_sealing_keys(settings.sealing_keys)
    # A crash of the server takes its last commits: what they were about is sent again.
    pool = database.pool(
        database_url.reveal(), application_name="ledgerx-webhooks", max_size=_MAX_CONNECTIONS, durable=False
    )
    outbound = Outbound(allowed=networks(settings.webhooks_allow_private), timeout_s=settings.webhooks_timeout_s)
    store = Store(pool)
    courier = Courier(
        store,
        outbound,
        keys,
        timeout_s=settings.webhooks_timeout_s,
        policy=Policy(patience_s=settings.webhooks_patience_s),
    )
    dispatcher = Dispatcher(
        store, courier, at_once=settings.webhooks_at_once, keep_days=settings.webhooks_log_days, database=name
    )
    async with pool, asyncio.TaskGroup() as tasks:
        dispatching = tasks.create_task(dispatcher.run())
        try:
            yield dispatcher.wake
        finally:
            dispatching.cancel()
            await dispatcher.close(patience_s=_FAREWELL_S)
            await outbound.close()
