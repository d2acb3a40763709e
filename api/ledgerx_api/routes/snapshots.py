"""Snapshots of an account."""

from litestar import get
from litestar.handlers import HTTPRouteHandler

from ledgerx.roles import Role
from ledgerx.snapshots import NEWEST, read_account_snapshots
from ledgerx.tenancy import Scope
from ledgerx_api import paging
from ledgerx_api import schemas_snapshots as schemas
from ledgerx_api.access import requires
from ledgerx_api.paging import CursorParameter, Limit, Page
from ledgerx_api.parameters import AccountCode
from ledgerx_api.requests import LedgerRequest


def routes() -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @get(
        "/v1/accounts/{code:str}/snapshots",
        tags=["accounts"],
        operation_id="listSnapshots",
        **requires(Scope.LEDGER_READ, roles=[Role.MEMBER]),
    )
    async def list_snapshots(
        request: LedgerRequest, code: AccountCode, limit: Limit = None, cursor: CursorParameter = None
    ) -> Page[schemas.Snapshot]:
        """List an account's balances in the snapshots of its ledger, newest first.

        Snapshots are taken by the schedule of the tenant, where something was recorded since the one before.
        """
        here = paging.start(f"/v1/accounts/{code}/snapshots", cursor, limit, first=NEWEST, position=int)
        found = await read_account_snapshots(
            request.pool,
            request.user.tenant_id,
            code,
            confined_to=request.user.confined_to,
            before=here.position,
            limit=here.limit + 1,
        )
        return paging.page(here, found.items, lambda one: schemas.snapshot(one, found.scale), lambda one: one.seq)

    return [list_snapshots]
