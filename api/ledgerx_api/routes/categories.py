"""The registry of categories. Whether there are others is a setting of the tenant's."""

from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter
from litestar.response.base import ASGIResponse

from ledgerx.codes import EVERY_CODE, below
from ledgerx.commands import CreateCategory, DeleteCategory, UpdateCategory
from ledgerx.registries import read_categories, read_category
from ledgerx.tenancy import Scope
from ledgerx_api import conditional, paging
from ledgerx_api import schemas_registries as schemas
from ledgerx_api.access import requires
from ledgerx_api.asking import OptionalKey, ask, envelope, version_headers
from ledgerx_api.body import JsonBody
from ledgerx_api.paging import CursorParameter, Limit, Page
from ledgerx_api.parameters import CODE
from ledgerx_api.preconditions import IfMatch, versions
from ledgerx_api.requests import LedgerRequest

_CATEGORIES = "/v1/categories"
_CATEGORY = _CATEGORIES + "/{category_code:str}"
CategoryCode = Annotated[str, Parameter(max_length=255, description="The category's code.")]
CategoryPrefix = Annotated[
    str | None,
    Parameter(pattern=CODE, description="A category and all below it: `food` is `food` and `food:fruit`."),
]
_TAGS: dict[str, Any] = {"tags": ["categories"]}
_WRITES: dict[str, Any] = {**_TAGS, **requires(Scope.LEDGER_WRITE)}


class _Filters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    prefix: Annotated[str, msgspec.Meta(pattern=CODE)] | None = None


def routes() -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @post(_CATEGORIES, dto=JsonBody[schemas.NewCategory], return_dto=None, operation_id="createCategory", **_WRITES)
    async def create_category(
        request: LedgerRequest, data: schemas.NewCategory, key: OptionalKey = None
    ) -> Response[schemas.Category]:
        """Register a category. An `Idempotency-Key` is welcome, not required: the code is unique anyway."""
        fields = await envelope(request, "create_category", "", key, key_required=False)
        outcome = await ask(request, CreateCategory(**msgspec.structs.asdict(data), **fields))
        return Response(schemas.category_of(outcome.entry), headers=version_headers(outcome))

    @get(
        _CATEGORIES,
        operation_id="listCategories",
        **_TAGS,
        **requires(Scope.LEDGER_READ, conditional.answers(Page[schemas.Category], "A page.")),
    )
    async def list_categories(
        request: LedgerRequest, prefix: CategoryPrefix = None, limit: Limit = None, cursor: CursorParameter = None
    ) -> ASGIResponse:
        """List the registered categories in the order of their codes."""
        wanted = _Filters(prefix=prefix)
        here = paging.start_filtered(_CATEGORIES, cursor, limit, wanted, first="", position=str)
        wanted, after = here.position
        ranges = EVERY_CODE if wanted.prefix is None else below(wanted.prefix)
        found = await read_categories(request.pool, request.user.tenant_id, ranges, after=after, limit=here.limit + 1)
        return conditional.answer(request, paging.page(here, found, schemas.category, lambda last: (wanted, last.code)))

    @get(
        _CATEGORY,
        operation_id="getCategory",
        **_TAGS,
        **requires(Scope.LEDGER_READ, conditional.answers(schemas.Category, "The category.")),
    )
    async def get_category(request: LedgerRequest, category_code: CategoryCode) -> ASGIResponse:
        """Get a registered category. Its `ETag` is its version."""
        found = await read_category(request.pool, request.user.tenant_id, category_code)
        return conditional.answer(request, schemas.category(found), version=found.seq)

    @patch(_CATEGORY, dto=JsonBody[schemas.CategoryChanges], return_dto=None, operation_id="updateCategory", **_WRITES)
    async def update_category(
        request: LedgerRequest,
        category_code: CategoryCode,
        data: schemas.CategoryChanges,
        key: OptionalKey = None,
        if_match: IfMatch = None,
    ) -> Response[schemas.Category]:
        """Change the name or description of a category."""
        fields = await envelope(request, "update_category", category_code, key, key_required=False)
        changes = msgspec.structs.asdict(data)
        command = UpdateCategory(code=category_code, **changes, if_versions=versions(if_match), **fields)
        outcome = await ask(request, command)
        return Response(schemas.category_of(outcome.entry), headers=version_headers(outcome))

    @delete(_CATEGORY, operation_id="deleteCategory", **_WRITES)
    async def delete_category(
        request: LedgerRequest, category_code: CategoryCode, key: OptionalKey = None, if_match: IfMatch = None
    ) -> None:
        """Take a category away. What was recorded with it keeps it; strict categories do not know it any more."""
        fields = await envelope(request, "delete_category", category_code, key, key_required=False)
        await ask(request, DeleteCategory(code=category_code, if_versions=versions(if_match), **fields))

    return [create_category, list_categories, get_category, update_category, delete_category]
