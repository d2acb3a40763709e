"""What the streams would make of a tenant's journal, made at once."""

from uuid import UUID

import psycopg

from ledgerx import database as db
from ledgerx.events import decode
from ledgerx.logins import Database
from ledgerx_streams.catalog import PROJECTIONS
from ledgerx_streams.projections import Projection
from ledgerx_streams.projector import Projector


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
