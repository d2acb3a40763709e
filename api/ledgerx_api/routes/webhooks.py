"""Webhook endpoints of a tenant."""

from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from ledgerx import webhooks
from ledgerx.errors import Unavailable
from ledgerx.outbound import Network
from ledgerx.sealing import SealingKeys
from ledgerx.tenancy import Scope
from ledgerx.webhooks import Target
from ledgerx_api import paging
from ledgerx_api import schemas_webhooks as schemas
from ledgerx_api.access import requires
from ledgerx_api.body import JsonBody
from ledgerx_api.origin import AddressOf, author
from ledgerx_api.paging import CursorParameter, Limit, Page
from ledgerx_api.preconditions import IfMatch, etag, versions
from ledgerx_api.requests import LedgerRequest

WebhookId = Annotated[UUID, Parameter(description="The webhook's id.")]
WEBHOOKS = "/v1/webhooks"
WEBHOOK = WEBHOOKS + "/{webhook_id:uuid}"
_NO_STORE = {"Cache-Control": "no-store"}
TAGS = ["webhooks"]


def routes(keys: SealingKeys | None, networks: tuple[Network, ...], *, address_of: AddressOf) -> list[HTTPRouteHandler]:
    """The handlers of this module. `networks` are those that webhooks may be in besides the public internet."""

    @post(
        WEBHOOKS,
        dto=JsonBody[schemas.NewWebhook],
        return_dto=None,
        tags=TAGS,
        operation_id="createWebhook",
        **requires(Scope.WEBHOOKS_WRITE),
    )
    async def create_webhook(request: LedgerRequest, data: schemas.NewWebhook) -> Response[schemas.WebhookWithSecret]:
        """Have events sent to a URL. The secret that signs them is shown this once."""
        webhooks.check_url(data.url, networks)
        target = Target(url=data.url, description=data.description, event_types=schemas.event_types(data.event_types))
        async with request.pool.connection() as connection:
            endpoint, secret = await webhooks.create_endpoint(
                connection,
                request.user.tenant_id,
                target,
                from_sequence=data.from_sequence,
                keys=_present(keys),
                author=author(request, address_of),
            )
        headers = etag(endpoint.version) | {"Location": f"{WEBHOOKS}/{endpoint.id}"} | _NO_STORE
        return Response(schemas.webhook_with_secret(endpoint, secret), headers=headers)

    @get(WEBHOOKS, tags=TAGS, operation_id="listWebhooks", **requires(Scope.WEBHOOKS_WRITE))
    async def list_webhooks(
        request: LedgerRequest, limit: Limit = None, cursor: CursorParameter = None
    ) -> Page[schemas.Webhook]:
        """List webhooks in the order in which they were made."""
        here = paging.start(WEBHOOKS, cursor, limit, first=webhooks.FIRST, position=UUID)
        async with request.pool.connection() as connection:
            found = await webhooks.read_endpoints(
                connection, request.user.tenant_id, after=here.position, limit=here.limit + 1
            )
        return paging.page(here, found, schemas.webhook, lambda last: last.id)

    @get(WEBHOOK, tags=TAGS, operation_id="getWebhook", **requires(Scope.WEBHOOKS_WRITE))
    async def get_webhook(request: LedgerRequest, webhook_id: WebhookId) -> Response[schemas.Webhook]:
        """Get a webhook, and how far it is."""
        async with request.pool.connection() as connection:
            endpoint = await webhooks.read_endpoint(connection, request.user.tenant_id, webhook_id)
        return Response(schemas.webhook(endpoint), headers=etag(endpoint.version))

    @patch(
        WEBHOOK,
        dto=JsonBody[schemas.WebhookChanges],
        return_dto=None,
        tags=TAGS,
        operation_id="changeWebhook",
        **requires(Scope.WEBHOOKS_WRITE),
    )
    async def change_webhook(
        request: LedgerRequest,
        webhook_id: WebhookId,
        data: schemas.WebhookChanges,
        if_match: IfMatch = None,
    ) -> Response[schemas.Webhook]:
        """Change a webhook, or disable or enable it. It goes on where it stands."""
        if isinstance(data.url, str):
            webhooks.check_url(data.url, networks)
        async with request.pool.connection() as connection:
            endpoint = await webhooks.change_endpoint(
                connection,
                request.user.tenant_id,
                webhook_id,
                schemas.changes(data),
                versions=versions(if_match),
                author=author(request, address_of),
            )
        return Response(schemas.webhook(endpoint), headers=etag(endpoint.version))

    @delete(WEBHOOK, tags=TAGS, operation_id="deleteWebhook", **requires(Scope.WEBHOOKS_WRITE))
    async def delete_webhook(request: LedgerRequest, webhook_id: WebhookId, if_match: IfMatch = None) -> None:
        """Remove a webhook. What is under way to it may still arrive."""
        async with request.pool.connection() as connection:
            await webhooks.delete_endpoint(
                connection,
                request.user.tenant_id,
                webhook_id,
                versions=versions(if_match),
                author=author(request, address_of),
            )

    @post(
        WEBHOOK + "/rotate-secret",
        status_code=200,
        dto=JsonBody[schemas.SecretRotation],
        return_dto=None,
        tags=TAGS,
        operation_id="rotateWebhookSecret",
        **requires(Scope.WEBHOOKS_WRITE),
    )
    async def rotate_secret(
        request: LedgerRequest, webhook_id: WebhookId, data: schemas.SecretRotation
    ) -> Response[schemas.WebhookWithSecret]:
        """Give a webhook a new secret, which is shown this once; the one before signs as well for a while."""
        async with request.pool.connection() as connection:
            endpoint, secret = await webhooks.rotate_secret(
                connection,
                request.user.tenant_id,
                webhook_id,
                overlap_s=data.overlap_s,
                keys=_present(keys),
                author=author(request, address_of),
            )
        return Response(schemas.webhook_with_secret(endpoint, secret), headers=etag(endpoint.version) | _NO_STORE)

    return [
        create_webhook,
        list_webhooks,
        get_webhook,
        change_webhook,
        delete_webhook,
        rotate_secret,
    ]


def _present(keys: SealingKeys | None) -> SealingKeys:
    if keys is None:
        raise Unavailable("this platform has no key to seal the secrets of webhooks with: LEDGERX_SEALING_KEYS")
    return keys
