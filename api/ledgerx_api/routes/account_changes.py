"""Opening, changing and closing accounts."""

from typing import Any

from litestar import Response, delete, patch, post
from litestar.handlers import HTTPRouteHandler

from ledgerx.commands import CloseAccount, UpdateAccount
from ledgerx.errors import NotFound, UnknownAccount
from ledgerx.reading import read_account
from ledgerx.tenancy import Scope
from ledgerx_api import schemas
from ledgerx_api.access import requires
from ledgerx_api.asking import OptionalKey, ask, envelope, version_headers
from ledgerx_api.body import JsonBody
from ledgerx_api.parameters import AccountCode
from ledgerx_api.preconditions import IfMatch, etag, versions
from ledgerx_api.requests import LedgerRequest
from ledgerx_api.routes.accounts import ACCOUNTS, ONE_ACCOUNT

_WRITES: dict[str, Any] = {"return_dto": None, "tags": ["accounts"], **requires(Scope.LEDGER_WRITE)}


def routes() -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @post(ACCOUNTS, dto=JsonBody[schemas.NewAccount], operation_id="createAccount", **_WRITES)
    async def create_account(
        request: LedgerRequest, data: schemas.NewAccount, key: OptionalKey = None
    ) -> Response[schemas.Account]:
        """Open an account. An `Idempotency-Key` is welcome, not required: the code is unique anyway."""
        fields = await envelope(request, "open_account", "", key, key_required=False)
        outcome = await ask(request, schemas.open_account(data, **fields))
        return Response(schemas.opened_account(outcome.entry), headers=version_headers(outcome))

    @patch(ONE_ACCOUNT, dto=JsonBody[schemas.AccountChanges], operation_id="updateAccount", **_WRITES)
    async def update_account(
        request: LedgerRequest,
        code: AccountCode,
        data: schemas.AccountChanges,
        key: OptionalKey = None,
        if_match: IfMatch = None,
    ) -> Response[schemas.Account]:
        """Change an account's limits, owner or metadata, freeze or unfreeze it."""
        fields = await envelope(request, "update_account", code, key, key_required=False)
        return await changed(request, schemas.update_account(code, data, if_versions=versions(if_match), **fields))

    @delete(ONE_ACCOUNT, status_code=200, operation_id="closeAccount", **_WRITES)
    async def close_account(
        request: LedgerRequest, code: AccountCode, key: OptionalKey = None, if_match: IfMatch = None
    ) -> Response[schemas.Account]:
        """Close an account for good. Its balance must be zero, and no hold open."""
        fields = await envelope(request, "close_account", code, key, key_required=False)
        return await changed(request, CloseAccount(code=code, if_versions=versions(if_match), **fields))

    async def changed(request: LedgerRequest, command: UpdateAccount | CloseAccount) -> Response[schemas.Account]:
        try:
            await ask(request, command)
        except UnknownAccount as error:
            # In the path it is the resource itself that is missing.
            raise NotFound(error.detail) from None
        record = await read_account(request.pool, request.user.tenant_id, command.code, confined_to=None)
        return Response(schemas.account(record), headers=etag(record.account.seq))

    return [create_account, update_account, close_account]
