"""The issuer of tokens from outside that a tenant trusts."""

from collections.abc import Collection

from litestar import Response, delete, get, put
from litestar.handlers import HTTPRouteHandler

from ledgerx import trust
from ledgerx.errors import NotFound
from ledgerx.tenancy import Scope
from ledgerx_api import schemas_trust as schemas
from ledgerx_api.access import requires
from ledgerx_api.body import JsonBody
from ledgerx_api.origin import AddressOf, author
from ledgerx_api.outside import OutsideTokens
from ledgerx_api.preconditions import IfMatch, etag, versions
from ledgerx_api.requests import LedgerRequest

_ISSUER = "/v1/auth/issuer"


def routes(
    outside: OutsideTokens, *, allowed_issuers: Collection[str], address_of: AddressOf
) -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @get(_ISSUER, tags=["auth"], operation_id="getIssuer", **requires(Scope.ADMIN))
    async def get_issuer(request: LedgerRequest) -> Response[schemas.TrustedIssuer]:
        """Get the issuer whose tokens the tenant takes."""
        tenant_id = request.user.tenant_id
        async with request.pool.connection() as connection:
            record = await trust.read_trust(connection, tenant_id)
        if record is None:
            raise NotFound("the tenant trusts no issuer")
        return Response(schemas.trusted_issuer(tenant_id, record), headers=etag(record.version))

    @put(
        _ISSUER,
        dto=JsonBody[schemas.Trust],
        return_dto=None,
        tags=["auth"],
        operation_id="setIssuer",
        **requires(Scope.ADMIN),
    )
    async def set_issuer(
        request: LedgerRequest, data: schemas.Trust, if_match: IfMatch = None
    ) -> Response[schemas.TrustedIssuer]:
        """Take tokens of this issuer, and of no other.

        It is one of those that the platform takes, and no other tenant has this audience there. A change holds within
        half a minute, also for tokens that were good before.
        """
        tenant_id = request.user.tenant_id
        async with request.pool.connection() as connection:
            record = await trust.set_trust(
                connection,
                tenant_id,
                schemas.trust_of(data),
                allowed_issuers=allowed_issuers,
                versions=versions(if_match),
                author=author(request, address_of),
            )
        outside.forget(tenant_id)
        return Response(schemas.trusted_issuer(tenant_id, record), headers=etag(record.version))

    @delete(_ISSUER, tags=["auth"], operation_id="deleteIssuer", **requires(Scope.ADMIN))
    async def delete_issuer(request: LedgerRequest, if_match: IfMatch = None) -> None:
        """Take no tokens from outside any more, within half a minute."""
        tenant_id = request.user.tenant_id
        async with request.pool.connection() as connection:
            await trust.remove_trust(
                connection, tenant_id, versions=versions(if_match), author=author(request, address_of)
            )
        outside.forget(tenant_id)

    return [get_issuer, set_issuer, delete_issuer]
