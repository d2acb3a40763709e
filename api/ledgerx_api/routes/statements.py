"""Statements of an account."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Parameter
from litestar.response import Stream

from ledgerx.errors import InvalidField
from ledgerx.roles import Role
from ledgerx.statements import LINES_AT_ONCE, By, Period, Place, read_statement, stream_lines
from ledgerx.tenancy import Scope
from ledgerx_api import paging
from ledgerx_api import schemas_statements as schemas
from ledgerx_api.access import requires
from ledgerx_api.paging import CursorParameter, Limit
from ledgerx_api.parameters import AccountCode, utc
from ledgerx_api.requests import LedgerRequest

_JSON, _CSV = "application/json", "text/csv"
_VARY = {"Vary": "Accept"}
_STATEMENT = ResponseSpec(
    schemas.Statement, generate_examples=False, description="A page as JSON; with `Accept: text/csv` all of it as CSV."
)


def routes() -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @get(
        "/v1/accounts/{code:str}/statement",
        tags=["accounts"],
        operation_id="getStatement",
        **requires(Scope.LEDGER_READ, {200: _STATEMENT}, roles=[Role.MEMBER]),
    )
    async def get_statement(
        request: LedgerRequest,
        code: AccountCode,
        begin: Annotated[
            datetime | None, Parameter(query="from", description="Where the period begins; required on the first page.")
        ] = None,
        end: Annotated[
            datetime | None, Parameter(query="to", description="Before this time it ends; required on the first page.")
        ] = None,
        by: Annotated[
            By | None, Parameter(description="The time that lines are chosen and ordered by, `effective` unless said.")
        ] = None,
        limit: Limit = None,
        cursor: CursorParameter = None,
    ) -> Response[bytes] | Stream:
        """Get an account's statement of a period: opening balance, lines, closing balance, true at one entry.

        By `effective` time it has what takes effect in the period, by `recorded` time what was recorded in it, which
        never changes once the period is over.
        """
        tenant_id = request.user.tenant_id
        path = f"/v1/accounts/{code}/statement"
        position: Any = Place | None
        here = paging.start_filtered(path, cursor, limit, _period(begin, end, by), first=None, position=position)
        period, place = here.position
        if not period.begin < period.end:
            raise InvalidField("send from and to, and from before to")
        as_csv = request.accept.best_match([_JSON, _CSV]) == _CSV
        page_size = LINES_AT_ONCE if as_csv else here.limit
        confined_to = request.user.confined_to
        found = await read_statement(
            request.pool, tenant_id, code, period, confined_to=confined_to, after=place, limit=page_size
        )
        if as_csv:
            rows = schemas.csv_rows(found, stream_lines(request.pool, tenant_id, found, period))
            disposition = {"Content-Disposition": 'attachment; filename="statement.csv"'}
            return Stream(rows, media_type=f"{_CSV}; charset=utf-8; header=present", headers=_VARY | disposition)
        following = None if found.following is None else paging.after(here, (period, found.following))
        body = msgspec.json.encode(schemas.statement(found, period, following))
        return Response(body, media_type=_JSON, headers=_VARY)

    return [get_statement]


def _period(begin: datetime | None, end: datetime | None, by: By | None) -> Period:
    stated = {"begin": utc(begin, "from"), "end": utc(end, "to"), "by": by}
    return Period(**{name: value for name, value in stated.items() if value is not None})  # type: ignore[arg-type]
