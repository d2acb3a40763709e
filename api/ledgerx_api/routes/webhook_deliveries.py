"""What is sent to webhooks of a tenant out of turn, and the attempts to send."""

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from ledgerx import webhook_deliveries
from ledgerx.errors import InvalidField
from ledgerx.tenancy import Scope
from ledgerx.webhook_deliveries import Outcome
from ledgerx_api import paging
from ledgerx_api import schemas_webhooks as schemas
from ledgerx_api.access import requires
from ledgerx_api.body import JsonBody
from ledgerx_api.origin import AddressOf, author
from ledgerx_api.paging import CursorParameter, Limit, Page
from ledgerx_api.requests import LedgerRequest
from ledgerx_api.routes.webhooks import TAGS, WEBHOOK, WEBHOOKS, WebhookId


class _Wanted(msgspec.Struct, frozen=True):
    """The filter of a list of deliveries."""

    outcome: Outcome | None = None


def routes(*, address_of: AddressOf) -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @post(WEBHOOK + "/ping", status_code=202, tags=TAGS, operation_id="pingWebhook", **requires(Scope.WEBHOOKS_WRITE))
    async def ping_webhook(request: LedgerRequest, webhook_id: WebhookId) -> schemas.Webhook:
        """Have an event sent that stands for nothing, once; the deliveries tell what became of it."""
        async with request.pool.connection() as connection:
            return schemas.webhook(await webhook_deliveries.ping(connection, request.user.tenant_id, webhook_id))

    @post(
        WEBHOOK + "/redeliver",
        status_code=202,
        dto=JsonBody[schemas.Redelivery],
        return_dto=None,
        tags=TAGS,
        operation_id="redeliverWebhook",
        **requires(Scope.WEBHOOKS_WRITE),
    )
    async def redeliver(request: LedgerRequest, webhook_id: WebhookId, data: schemas.Redelivery) -> schemas.Webhook:
        """Have one event sent once more, in one attempt, or all since an entry, in order and until they are taken.

        `from_sequence` is where the webhook goes on: it may also be one that it has not come to, to pass over others.
        """
        tenant_id, who = request.user.tenant_id, author(request, address_of)
        async with request.pool.connection() as connection:
            if data.sequence is not None and data.from_sequence is None:
                endpoint = await webhook_deliveries.redeliver_one(
                    connection, tenant_id, webhook_id, data.sequence, author=who
                )
            elif data.from_sequence is not None and data.sequence is None:
                endpoint = await webhook_deliveries.redeliver_from(
                    connection, tenant_id, webhook_id, data.from_sequence, author=who
                )
            else:
                raise InvalidField("send sequence or from_sequence, and not both")
        return schemas.webhook(endpoint)

    @get(WEBHOOK + "/deliveries", tags=TAGS, operation_id="listDeliveries", **requires(Scope.WEBHOOKS_WRITE))
    async def list_deliveries(
        request: LedgerRequest,
        webhook_id: WebhookId,
        outcome: Annotated[Outcome | None, Parameter(description="Attempts that ended so only.")] = None,
        limit: Limit = None,
        cursor: CursorParameter = None,
    ) -> Page[schemas.Delivery]:
        """List the attempts to send to a webhook, newest first, as long as they are kept."""
        path = f"{WEBHOOKS}/{webhook_id}/deliveries"
        here = paging.start_filtered(
            path, cursor, limit, _Wanted(outcome), first=webhook_deliveries.NEWEST, position=UUID
        )
        filters, position = here.position
        async with request.pool.connection() as connection:
            found = await webhook_deliveries.read_deliveries(
                connection,
                request.user.tenant_id,
                webhook_id,
                before=position,
                limit=here.limit + 1,
                outcome=filters.outcome,
            )
        following = found[here.limit - 1].id if len(found) > here.limit else None
        return paging.filtered_page(here, found[: here.limit], schemas.delivery, following)

    return [ping_webhook, redeliver, list_deliveries]
