"""Assets: the currencies that everybody knows, and what the tenant registers."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter
from litestar.response.base import ASGIResponse

from ledgerx.commands import CreateAsset, DeleteAsset, UpdateAsset
from ledgerx.registries import read_asset, read_assets
from ledgerx.tenancy import Scope
from ledgerx_api import conditional, paging
from ledgerx_api import schemas_registries as schemas
from ledgerx_api.access import requires
from ledgerx_api.asking import OptionalKey, ask, envelope, version_headers
from ledgerx_api.body import JsonBody
from ledgerx_api.paging import CursorParameter, Limit, Page
from ledgerx_api.preconditions import IfMatch, versions
from ledgerx_api.requests import LedgerRequest

_ASSETS = "/v1/assets"
_ASSET = _ASSETS + "/{asset_code:str}"
AssetCode = Annotated[str, Parameter(max_length=32, description="The asset's code.")]
_TAGS: dict[str, Any] = {"tags": ["assets"]}
_WRITES: dict[str, Any] = {**_TAGS, **requires(Scope.LEDGER_WRITE)}


class _Filters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    registered: bool | None = None


def routes() -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @post(_ASSETS, dto=JsonBody[schemas.NewAsset], return_dto=None, operation_id="createAsset", **_WRITES)
    async def create_asset(
        request: LedgerRequest, data: schemas.NewAsset, key: OptionalKey = None
    ) -> Response[schemas.Asset]:
        """Register an asset. An `Idempotency-Key` is welcome, not required: the code is unique anyway."""
        fields = await envelope(request, "create_asset", "", key, key_required=False)
        outcome = await ask(request, CreateAsset(**msgspec.structs.asdict(data), **fields))
        return Response(schemas.asset_of(outcome.entry), headers=version_headers(outcome))

    @get(
        _ASSETS,
        operation_id="listAssets",
        **_TAGS,
        **requires(Scope.LEDGER_READ, conditional.answers(Page[schemas.Asset], "A page.")),
    )
    async def list_assets(
        request: LedgerRequest,
        registered: Annotated[
            bool | None, Parameter(description="Only those that the tenant has registered, or only the others.")
        ] = None,
        limit: Limit = None,
        cursor: CursorParameter = None,
    ) -> ASGIResponse:
        """List assets in the order of their codes: those that are registered, and the currencies of ISO 4217."""
        wanted = _Filters(registered=registered)
        here = paging.start_filtered(_ASSETS, cursor, limit, wanted, first="", position=str)
        wanted, after = here.position
        found = await read_assets(
            request.pool, request.user.tenant_id, after=after, limit=here.limit + 1, registered=wanted.registered
        )
        return conditional.answer(request, paging.page(here, found, schemas.asset, lambda last: (wanted, last.code)))

    @get(
        _ASSET,
        operation_id="getAsset",
        **_TAGS,
        **requires(Scope.LEDGER_READ, conditional.answers(schemas.Asset, "The asset.")),
    )
    async def get_asset(request: LedgerRequest, asset_code: AssetCode) -> ASGIResponse:
        """Get an asset. The `ETag` of a registered one is its version."""
        found = await read_asset(request.pool, request.user.tenant_id, asset_code)
        return conditional.answer(request, schemas.asset(found), version=found.seq)

    @patch(_ASSET, dto=JsonBody[schemas.AssetChanges], return_dto=None, operation_id="updateAsset", **_WRITES)
    async def update_asset(
        request: LedgerRequest,
        asset_code: AssetCode,
        data: schemas.AssetChanges,
        key: OptionalKey = None,
        if_match: IfMatch = None,
    ) -> Response[schemas.Asset]:
        """Change the name of a registered asset."""
        fields = await envelope(request, "update_asset", asset_code, key, key_required=False)
        command = UpdateAsset(code=asset_code, name=data.name, if_versions=versions(if_match), **fields)
        outcome = await ask(request, command)
        return Response(schemas.asset_of(outcome.entry), headers=version_headers(outcome))

    @delete(_ASSET, operation_id="deleteAsset", **_WRITES)
    async def delete_asset(
        request: LedgerRequest, asset_code: AssetCode, key: OptionalKey = None, if_match: IfMatch = None
    ) -> None:
        """Take a registered asset away. Once an account holds it or has held it, it stays."""
        fields = await envelope(request, "delete_asset", asset_code, key, key_required=False)
        await ask(request, DeleteAsset(code=asset_code, if_versions=versions(if_match), **fields))

    return [create_asset, list_assets, get_asset, update_asset, delete_asset]
