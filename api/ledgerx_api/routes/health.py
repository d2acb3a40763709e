"""Liveness, readiness and metrics, for the machines that run this process."""

import asyncio
import os

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess
from psycopg import Error

from ledgerx.database import Pool
from ledgerx.errors import Unavailable


def routes(pool: Pool, partitions_made: asyncio.Event, tenants_known: asyncio.Event) -> list[HTTPRouteHandler]:
    """The handlers of this module.

    Nothing can be recorded before `partitions_made` is set, and nobody knows who is suspended before `tenants_known`.
    """

    @get("/livez", include_in_schema=False)
    async def livez() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @get(["/readyz", "/startupz"], include_in_schema=False)
    async def readyz() -> dict[str, str]:
        """The database answers, has the schema and takes entries; Kafka does not matter to this process."""
        if not partitions_made.is_set():
            raise Unavailable("the outbox partitions are not made yet")
        if not tenants_known.is_set():
            raise Unavailable("it is not known yet which tenants are suspended")
        try:
            async with pool.connection(timeout=2) as connection:
                await connection.execute("SELECT FROM ledgerx.heads LIMIT 0")
        except Error as error:
            raise Unavailable(f"the database is not ready: {type(error).__name__}") from None
        return {"status": "ok"}

    @get("/metrics", include_in_schema=False, media_type="text/plain", sync_to_thread=False)
    def metrics() -> Response[bytes]:
        """Prometheus metrics, merged over the processes of this server where there are several."""
        registry = REGISTRY
        if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return [livez, readyz, metrics]
