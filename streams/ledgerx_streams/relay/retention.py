"""The outbox's partitions: those to come are made, and those that nobody needs any more are dropped.

What may go is decided where it cannot be got round: in the database's own function.
"""

import asyncio
from typing import NoReturn

import psycopg
import structlog

from ledgerx.database import Connection, Queries
from ledgerx.partitions import make_partitions
from ledgerx_streams.relay import metrics

_EVERY_S = 300.0

_sql = Queries("ledgerx_streams", "sql/relay.sql")
_log = structlog.get_logger(__name__)


async def keep_outbox(connection: Connection, *, slot: str, days: int, every_s: float = _EVERY_S) -> NoReturn:
    """Keep partitions ahead, and drop those whose day ended `days` days ago, once all that is in them has arrived.

    `connection` is the relay's. What fails is tried again next time: a lost connection ends the session elsewhere.
    """
    while True:
        try:
            await make_partitions(connection)
            while (day := await _drop_partition(connection, slot, days)) is not None:
                metrics.DROPPED_PARTITIONS.inc()
                _log.info("outbox partition dropped", day=day)
        except psycopg.errors.LockNotAvailable:
            _log.info("outbox partition in use, not dropped yet")
        except psycopg.Error as error:
            _log.warning("outbox partitions not kept", error=str(error).strip())
        await asyncio.sleep(every_s)


async def _drop_partition(connection: Connection, slot: str, days: int) -> str | None:
    cursor = await connection.execute(_sql.drop_partition, {"keep_days": days, "slot": slot})
    [(day,)] = await cursor.fetchall()
    return None if day is None else str(day)
