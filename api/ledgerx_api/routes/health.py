"""Liveness, readiness and metrics, for the machines that run this process."""

from collections.abc import Callable

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from ledgerx import management
from ledgerx.errors import Unavailable


def routes(ready: Callable[[], bool]) -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @get("/livez", include_in_schema=False)
    async def livez() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @get(["/readyz", "/startupz"], include_in_schema=False)
    async def readyz() -> dict[str, str]:
        """Databases answer, have the schema and take entries; Kafka does not matter to this process."""
        if not ready():
            raise Unavailable("the databases are not reached, or have not the schema of this release")
        return {"status": "ok"}

    @get("/metrics", include_in_schema=False, media_type="text/plain", sync_to_thread=False)
    def metrics() -> Response[bytes]:
        """Prometheus metrics, merged over the processes of this server where there are several."""
        return Response(management.shown_metrics(), media_type=management.METRICS_TYPE)

    return [livez, readyz, metrics]
