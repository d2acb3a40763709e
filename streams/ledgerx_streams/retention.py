"""The retention of the outbox: old days are dropped, and what keeps one beyond its time is told. And of checkpoints.

What may go is decided where it cannot be got round: in the database's own functions. The streams call them, whoever
carries the outbox to Kafka: without their projections no day may go anyway.
"""

import psycopg
import structlog
from prometheus_client import Counter, Gauge

from ledgerx.database import Pool, Queries

EVERY_S = 60.0
# In one transaction.
CHECKPOINTS_AT_ONCE = 1_000

DROPPED_DAYS = Counter("ledgerx_outbox_dropped_days", "Days of the outbox whose retention ended.")
OVERDUE_DAYS = Gauge(
    "ledgerx_outbox_overdue_days", "Days by which the oldest day of the outbox is kept too long.", ["database"]
)
THINNED = Counter("ledgerx_checkpoints_thinned", "Old checkpoints dropped, of days that have a later one.")
KEPT_BY = Gauge(
    "ledgerx_outbox_kept_by",
    "1 for what keeps the oldest day of the outbox beyond its time: slot, projections (none at all), or a projection.",
    ["database", "keeper"],
)

_sql = Queries("ledgerx_streams", "sql/retention.sql")
_log = structlog.get_logger(__name__)


async def tend_outbox(pool: Pool, *, database: str, slot: str, days: int) -> None:
    """Drop the days that ended `days` days ago, once all that is in them has arrived, and measure what stays.

    `pool` is of the role of the streams. A database that says for how long it is kept has the last word. What fails is
    logged, and left to the next time.
    """
    try:
        async with pool.connection() as connection:
            parameters = {"slot": slot, "keep_days": days}
            while (dropped := await (await connection.execute(_sql.drop_day, parameters)).fetchone()) != (None,):
                DROPPED_DAYS.inc()
                _log.info("outbox partition dropped", day=str(dropped and dropped[0]))
            found = await (await connection.execute(_sql.kept_day, parameters)).fetchone()
    except psycopg.errors.LockNotAvailable:
        _log.info("outbox partition in use, not dropped yet")
    except psycopg.Error as error:
        _log.warning("outbox not tended", error=str(error).strip())
    else:
        _tell(database, *(found or (None, 0, None, None)))


def _tell(database: str, day: object, overdue_days: int, keeper: str | None, tenant: object) -> None:
    KEPT_BY.remove_by_labels({"database": database})
    OVERDUE_DAYS.labels(database).set(overdue_days)
    if keeper is not None and overdue_days:
        KEPT_BY.labels(database, keeper).set(1)
        _log.warning(
            "outbox kept too long", database=database, day=str(day), keeper=keeper, tenant=tenant and str(tenant)
        )


async def thin_checkpoints(pool: Pool, *, days: int) -> None:
    """Drop the checkpoints that are older than `days` days, but for the last of each day. Raises `psycopg.Error`.

    Proofs need the tree only: who has kept a note goes on from it, whether it is kept here or not.
    """
    dropped = CHECKPOINTS_AT_ONCE
    while dropped == CHECKPOINTS_AT_ONCE:
        async with pool.connection() as connection:
            parameters = {"keep_days": days, "most": CHECKPOINTS_AT_ONCE}
            cursor = await connection.execute(_sql.thin_checkpoints, parameters)
            [(dropped,)] = await cursor.fetchall()
        THINNED.inc(dropped)
