"""The audit log of a tenant."""

from uuid import UUID

from litestar import get
from litestar.handlers import HTTPRouteHandler

from ledgerx.audit import NEWEST, read_audit
from ledgerx.roles import Role
from ledgerx.tenancy import Scope
from ledgerx_api import paging
from ledgerx_api import schemas_people as schemas
from ledgerx_api.access import requires
from ledgerx_api.paging import CursorParameter, Limit, Page
from ledgerx_api.requests import LedgerRequest

_AUDIT_LOG = "/v1/audit-log"


def routes() -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @get(_AUDIT_LOG, tags=["audit"], operation_id="listAuditLog", **requires(Scope.ADMIN, roles=[Role.AUDITOR]))
    async def list_audit_log(
        request: LedgerRequest,
        limit: Limit = None,
        cursor: CursorParameter = None,
    ) -> Page[schemas.AuditRecord]:
        """List what matters to security, newest first: log-ins, and changes of users and clients."""
        here = paging.start(_AUDIT_LOG, cursor, limit, first=NEWEST, position=UUID)
        async with request.pool.connection() as connection:
            found = await read_audit(connection, request.user.tenant_id, before=here.position, limit=here.limit + 1)
        return paging.page(here, found, schemas.audit_record, lambda last: last.id)

    return [list_audit_log]
