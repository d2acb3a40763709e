"""What the streams would make of a tenant's journal, made at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from uuid import UUID

import psycopg

from ledgerx import database as db
from ledgerx.events import decode
from ledgerx.logins import Database
from ledgerx_streams.catalog import PROJECTIONS
from ledgerx_streams.projections import Projection
from ledgerx_streams.projections.balances import BALANCES
from ledgerx_streams.projector import Projector
from ledgerx_streams.snapshots import Snapshots


async def stream(database: Database, tenant_id: UUID, *projections: Projection) -> None:
    """Bring projections, all unless said, up to the head of a tenant's journal."""
    with psycopg.connect(database.admin_url) as connection:
        rows = connection.execute(
            "SELECT payload FROM ledgerx.outbox WHERE tenant_id = %s ORDER BY first_seq", (tenant_id,)
        )
        messages = [decode(payload.encode()) for (payload,) in rows]
    async with db.pool(database.streams_url, application_name="test", max_size=2) as pool:
        for projection in projections or PROJECTIONS:
            await Projector(projection, pool).apply(tenant_id, messages)


@asynccontextmanager
async def snapshot_due(database: Database, tenant_id: UUID) -> AsyncIterator[None]:
    """Have a snapshot due now, and take it when the block has recorded something: then nothing from before can come."""
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE ledgerx.snapshot_schedules SET boundary = clock_timestamp() WHERE tenant_id = %s", (tenant_id,)
        )
    yield
    await stream(database, tenant_id, BALANCES)
    async with db.pool(database.streams_url, application_name="test", max_size=1) as pool:
        while await Snapshots(pool)._capture_page(tenant_id, datetime.now(UTC)):
            pass
