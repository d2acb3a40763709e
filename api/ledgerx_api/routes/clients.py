"""API clients of a tenant and their secrets."""

from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from ledgerx import tenancy
from ledgerx.tenancy import Scope
from ledgerx_api import paging
from ledgerx_api import schemas_people as schemas
from ledgerx_api.access import requires
from ledgerx_api.body import JsonBody
from ledgerx_api.origin import AddressOf, author
from ledgerx_api.paging import CursorParameter, Limit, Page
from ledgerx_api.requests import LedgerRequest

ClientId = Annotated[str, Parameter(max_length=64, description="The client's id.")]
SecretId = Annotated[UUID, Parameter(description="The secret's id.")]
_CLIENTS = "/v1/clients"
_CLIENT = _CLIENTS + "/{client_id:str}"
_NO_STORE = {"Cache-Control": "no-store"}


def routes(*, address_of: AddressOf) -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @post(
        _CLIENTS,
        dto=JsonBody[schemas.NewClient],
        return_dto=None,
        tags=["clients"],
        operation_id="createClient",
        **requires(Scope.ADMIN),
    )
    async def create_client(request: LedgerRequest, data: schemas.NewClient) -> Response[schemas.ClientCredentials]:
        """Make an API client. Its secret is shown this once."""
        async with request.pool.connection() as connection:
            made = await tenancy.create_client(
                connection, request.user.tenant_id, data.name, frozenset(data.scopes), author(request, address_of)
            )
        credentials = schemas.ClientCredentials(client_id=made.client_id, client_secret=made.client_secret)
        return Response(credentials, headers=_NO_STORE)

    @get(_CLIENTS, tags=["clients"], operation_id="listClients", **requires(Scope.ADMIN))
    async def list_clients(
        request: LedgerRequest,
        limit: Limit = None,
        cursor: CursorParameter = None,
    ) -> Page[schemas.Client]:
        """List API clients in the order of their ids."""
        here = paging.start(_CLIENTS, cursor, limit, first="", position=str)
        async with request.pool.connection() as connection:
            found = await tenancy.read_clients(
                connection, request.user.tenant_id, after=here.position, limit=here.limit + 1
            )
        return paging.page(here, found, schemas.client, lambda last: last.client_id)

    @delete(_CLIENT, tags=["clients"], operation_id="deleteClient", **requires(Scope.ADMIN))
    async def delete_client(request: LedgerRequest, client_id: ClientId) -> None:
        """End an API client. Access tokens live out their minutes."""
        async with request.pool.connection() as connection:
            await tenancy.delete_client(connection, request.user.tenant_id, client_id, author(request, address_of))

    @post(_CLIENT + "/secrets", tags=["clients"], operation_id="createClientSecret", **requires(Scope.ADMIN))
    async def create_secret(request: LedgerRequest, client_id: ClientId) -> Response[schemas.NewSecret]:
        """Give a client one more secret, of four at most: use it, and then delete the one before."""
        async with request.pool.connection() as connection:
            secret_id, secret = await tenancy.add_secret(
                connection, request.user.tenant_id, client_id, author(request, address_of)
            )
        return Response(schemas.NewSecret(id=secret_id, client_secret=secret), headers=_NO_STORE)

    @delete(
        _CLIENT + "/secrets/{secret_id:uuid}",
        tags=["clients"],
        operation_id="deleteClientSecret",
        **requires(Scope.ADMIN),
    )
    async def delete_secret(request: LedgerRequest, client_id: ClientId, secret_id: SecretId) -> None:
        """End one secret of a client."""
        async with request.pool.connection() as connection:
            await tenancy.delete_secret(
                connection, request.user.tenant_id, client_id, secret_id, author(request, address_of)
            )

    return [create_client, list_clients, delete_client, create_secret, delete_secret]
