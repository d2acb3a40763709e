"""Outbox partitions, one a day, made ahead of time.

Whoever writes the outbox and whoever relays it keeps them ahead, so that neither depends on the other's being up.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import psycopg
import structlog

from ledgerx.database import Connection

DAYS_AHEAD = 7
_EVERY_S = 3600.0
_RETRY_S = 1.0

_log = structlog.get_logger()


async def make_partitions(connection: Connection) -> None:
    """Make the partitions for today and the next `DAYS_AHEAD` days that are missing. Raises `psycopg.Error`."""
    cursor = await connection.execute("SELECT ledgerx.make_outbox_partitions(%s)", (DAYS_AHEAD,))
    row = await cursor.fetchone()
    if row is not None and row[0]:
        _log.info("outbox partitions made", count=row[0])


async def keep_partitions_ahead(
    connect: Callable[[], AbstractAsyncContextManager[Connection]], made: asyncio.Event
) -> None:
    """Call `make_partitions` every hour until cancelled, and every second while the database does not answer.

    `made` is set when there are partitions: nothing can be recorded before.
    """
    while True:
        try:
            async with connect() as connection:
                await make_partitions(connection)
        except psycopg.Error as error:
            _log.warning("outbox partitions not made", error=str(error).strip())
            await asyncio.sleep(_RETRY_S)
        else:
            made.set()
            await asyncio.sleep(_EVERY_S)
