"""The settings of a tenant that its journal knows."""

from typing import Any

from litestar import Response, get, patch
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from ledgerx.commands import ChangeSettings
from ledgerx.registries import read_registry
from ledgerx.roles import Role
from ledgerx.tenancy import Scope
from ledgerx_api import conditional
from ledgerx_api import schemas_registries as schemas
from ledgerx_api.access import requires
from ledgerx_api.asking import OptionalKey, ask, envelope, version_headers
from ledgerx_api.body import JsonBody
from ledgerx_api.preconditions import IfMatch, versions
from ledgerx_api.requests import LedgerRequest

_SETTINGS = "/v1/settings"
_TAGS: dict[str, Any] = {"tags": ["settings"]}


def routes() -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @get(
        _SETTINGS,
        operation_id="getSettings",
        **_TAGS,
        **requires(Scope.ADMIN, conditional.answers(schemas.Settings, "The settings."), roles=[Role.AUDITOR]),
    )
    async def get_settings(request: LedgerRequest) -> ASGIResponse:
        """Get the tenant's settings. Their `ETag` is their version, 0 before the first change."""
        found = await read_registry(request.pool, request.user.tenant_id)
        return conditional.answer(request, schemas.settings(found.settings), version=found.settings_seq)

    @patch(
        _SETTINGS,
        dto=JsonBody[schemas.SettingsChanges],
        return_dto=None,
        operation_id="changeSettings",
        **_TAGS,
        **requires(Scope.ADMIN),
    )
    async def change_settings(
        request: LedgerRequest, data: schemas.SettingsChanges, key: OptionalKey = None, if_match: IfMatch = None
    ) -> Response[schemas.Settings]:
        """Change the tenant's settings, by an entry of its journal. They bind what is recorded after it."""
        fields = await envelope(request, "change_settings", "", key, key_required=False)
        command = ChangeSettings(strict_categories=data.strict_categories, if_versions=versions(if_match), **fields)
        outcome = await ask(request, command)
        return Response(schemas.settings_of(outcome.entry), headers=version_headers(outcome))

    return [get_settings, change_settings]
