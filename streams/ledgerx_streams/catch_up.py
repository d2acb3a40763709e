"""Brings projections on that lack entries for longer than messages of Kafka take.

A worker passes messages over whose tenant's database does not answer: others would wait behind them. Nothing is lost
by that, since the journal is in the tables. Whoever reaches the database looks for what its projections lack, and has
it read from there; so it does with what Kafka did not keep, and with what came before there were streams.
"""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import structlog
from prometheus_client import Counter

from ledgerx.database import Connection, Pool, Queries
from ledgerx_streams.backfill import read_page
from ledgerx_streams.projections import Projection, RefusedError, TemporaryError
from ledgerx_streams.projector import Projector

EVERY_S = 10.0
# Messages that are on their way are left to those who get them.
AGE_S = 20.0
_TENANTS_PER_PAGE = 500
# Refusals after which a projection is left alone until the next time.
_ENOUGH = 3

_CAUGHT_UP = Counter(
    "ledgerx_projection_catch_ups", "Times that a tenant's projection was brought on without a message.", ["projection"]
)
_log = structlog.get_logger()
_queries = Queries("ledgerx_streams", "sql/catch_up.sql")


async def catch_up(pool: Pool, projections: Sequence[Projection], *, age_s: float = AGE_S) -> None:
    """Bring on the `projections` of tenants that lack an entry older than `age_s`. Raises `psycopg.Error`.

    Does nothing while another worker does so.
    """
    async with pool.connection() as connection:
        [(locked,)] = await (await connection.execute(_queries.lock)).fetchall()
        if not locked:
            return
        try:
            projectors = {projection.name: Projector(projection, pool) for projection in projections}
            await _catch_up_all(connection, projectors, age_s)
        finally:
            await connection.execute(_queries.unlock)


async def _catch_up_all(connection: Connection, projectors: dict[str, Projector], age_s: float) -> None:
    parameters = {
        "most": _TENANTS_PER_PAGE,
        "names": list(projectors),
        "moment": datetime.now(UTC) - timedelta(seconds=age_s),
    }
    after = UUID(int=0)
    refusals = dict.fromkeys(projectors, 0)
    while True:
        cursor = await connection.execute(_queries.behind, {**parameters, "after": after})
        found = await cursor.fetchall()
        # By chance: those that are refused must not stand before the others each time.
        for tenant_id, seq, behind in random.sample(found, len(found)):
            for name in behind:
                if refusals[name] < _ENOUGH:
                    refusals[name] += not await _bring_on(connection, projectors[name], tenant_id, seq)
        if len(found) < _TENANTS_PER_PAGE:
            return
        after = found[-1][0]


async def _bring_on(connection: Connection, projector: Projector, tenant_id: UUID, seq: int) -> bool:
    """Give a projection the journal's last entry, as if its message had come: what is missing before it is read.

    False where that was refused outside of the database.
    """
    where = {"tenant": str(tenant_id), "projection": projector.name}
    try:
        last = await read_page(connection, tenant_id, first=seq, last=seq)
        if last is not None:
            await projector.apply(tenant_id, [last])
    except (ValueError, TemporaryError, psycopg.DataError, psycopg.IntegrityError) as error:
        _log.warning("projection not brought on", error=str(error).strip(), **where)
        return not isinstance(error, RefusedError)
    _CAUGHT_UP.labels(projector.name).inc()
    _log.info("projection brought on", entry=seq, **where)
    return True
