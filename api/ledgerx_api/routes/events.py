"""The journal as a feed of events, and where it stands."""

from typing import Annotated

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Parameter

from ledgerx.feed import read_feed
from ledgerx.integrity import read_integrity
from ledgerx.tenancy import Scope
from ledgerx_api import event_streams, schemas_feed
from ledgerx_api.access import OPT, authorise, requires
from ledgerx_api.databases import Databases
from ledgerx_api.event_streams import EventStreamResponse, EventStreams
from ledgerx_api.outside import OutsideTokens
from ledgerx_api.paging import DEFAULT_LIMIT, Limit
from ledgerx_api.requests import LedgerRequest
from ledgerx_api.tokens import Tokens

_EVENTS = "/v1/events"
_HIGHEST = 2**63 - 1
_STREAM = ResponseSpec(
    str,
    media_type=event_streams.MEDIA_TYPE,
    generate_examples=False,
    description="Server-sent events, each with the entry's number as its `id` and a CloudEvent as its `data`.",
)


def routes(
    streams: EventStreams, tokens: Tokens, outside: OutsideTokens, databases: Databases
) -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @get(_EVENTS, tags=["events"], operation_id="listEvents", **requires(Scope.LEDGER_READ))
    async def list_events(
        request: LedgerRequest,
        after: Annotated[
            int, Parameter(ge=0, le=_HIGHEST, description="The number of the last entry seen; 0 is before the first.")
        ] = 0,
        limit: Limit = None,
    ) -> schemas_feed.EventPage:
        """List the entries of the journal as events, oldest first; a page of large ones is shorter than `limit`."""
        tenant_id = request.user.tenant_id
        page = await read_feed(request.pool, tenant_id, after=after, limit=limit or DEFAULT_LIMIT)
        return schemas_feed.event_page(tenant_id, after, page)

    @get(
        _EVENTS + "/stream",
        tags=["events"],
        operation_id="streamEvents",
        **requires(Scope.LEDGER_READ, {200: _STREAM}),
    )
    async def stream_events(
        request: LedgerRequest,
        after: Annotated[
            int | None,
            Parameter(ge=0, le=_HIGHEST, description="The number of the last entry seen; from now on unless said."),
        ] = None,
        last_event_id: Annotated[
            int | None,
            Parameter(header="Last-Event-ID", ge=0, le=_HIGHEST, description="The same, and goes before `after`."),
        ] = None,
    ) -> EventStreamResponse:
        """Stream the entries of the journal as they are recorded, until the access token expires.

        Whoever goes on with `Last-Event-ID` misses nothing and gets nothing twice.
        """
        return await streams.open(
            request.database.feed,
            request.user.tenant_id,
            after=after if last_event_id is None else last_event_id,
            authorise=lambda: authorise(request.scope, request.route_handler.opt[OPT], tokens, outside, databases),
        )

    @get("/v1/integrity", tags=["integrity"], operation_id="getIntegrity", **requires(Scope.LEDGER_READ))
    async def get_integrity(request: LedgerRequest) -> schemas_feed.Integrity:
        """Get the journal's head with its hash, and what the projections have reached."""
        return schemas_feed.integrity(await read_integrity(request.pool, request.user.tenant_id))

    return [list_events, stream_events, get_integrity]
