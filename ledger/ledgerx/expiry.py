"""Expires the holds that are past their time. Any number of processes may do so: a hold is resolved once."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog
from prometheus_client import Counter

from ledgerx.commands import Expire, unkeyed
from ledgerx.database import Pool, Queries
from ledgerx.engine import Engine
from ledgerx.errors import Conflict, LedgerError
from ledgerx.outcomes import Refused

ACTOR = "system:holds"
HOLDS_AT_ONCE = 1_000

_EXPIRED = Counter("ledgerx_holds_expired", "Holds expired by this process.")
_log = structlog.get_logger()
_queries = Queries("ledgerx", "sql/expiry.sql")


async def expire_due(pool: Pool, engine: Engine) -> int:
    """Expire at most `HOLDS_AT_ONCE` due holds, the oldest first, and return how many were due.

    `pool` connects as the engine's role. Raises `psycopg.Error`.
    """
    async with pool.connection() as connection:
        cursor = await connection.execute(_queries.due_holds, {"most": HOLDS_AT_ONCE})
        due: Mapping[UUID, list[int]] = defaultdict(list)
        for tenant_id, seq in await cursor.fetchall():
            due[tenant_id].append(seq)
    async with asyncio.TaskGroup() as tasks:
        for tenant_id, seqs in due.items():
            tasks.create_task(_expire(engine, tenant_id, seqs))
    return sum(map(len, due.values()))


async def _expire(engine: Engine, tenant_id: UUID, seqs: Sequence[int]) -> None:
    # The hold itself is resolved only once.
    commands = [Expire(target=seq, **unkeyed(ACTOR)) for seq in seqs]
    try:
        outcomes = await engine.run_all(tenant_id, commands)
    except LedgerError as error:
        _log.warning("holds not expired", tenant=str(tenant_id), reason=error.code, holds=len(seqs))
        return
    for seq, outcome in zip(seqs, outcomes, strict=True):
        if not isinstance(outcome, Refused):
            _EXPIRED.inc()
        elif not isinstance(outcome.error, Conflict):
            # Somebody else may have resolved it meanwhile; anything else is worth knowing.
            _log.warning("hold not expired", tenant=str(tenant_id), hold=seq, reason=outcome.error.code)
