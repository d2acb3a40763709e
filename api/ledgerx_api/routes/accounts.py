"""Accounts, their balances and postings."""

from typing import Annotated

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from ledgerx.database import Pool
from ledgerx.reading import (
    NEWEST,
    AccountRecord,
    read_account,
    read_accounts,
    read_balance,
    read_postings,
)
from ledgerx.tenancy import Scope
from ledgerx_api import paging, schemas
from ledgerx_api.access import requires
from ledgerx_api.asking import LedgerRequest
from ledgerx_api.paging import CursorParameter, Limit, Page
from ledgerx_api.preconditions import etag

AccountCode = Annotated[str, Parameter(max_length=255, description="The account's code.")]
ACCOUNTS = "/v1/accounts"
ONE_ACCOUNT = ACCOUNTS + "/{code:str}"


def routes(pool: Pool) -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @get(ACCOUNTS, tags=["accounts"], operation_id="listAccounts", **requires(Scope.LEDGER_READ))
    async def list_accounts(
        request: LedgerRequest,
        limit: Limit = None,
        cursor: CursorParameter = None,
    ) -> Page[schemas.Account]:
        """List accounts in the order of their codes."""
        here = paging.start(ACCOUNTS, cursor, limit, first="", position=str)
        found = await read_accounts(pool, request.user.tenant_id, after=here.position, limit=here.limit + 1)
        return paging.page(here, found, schemas.account, lambda last: last.account.code)

    @get(ONE_ACCOUNT, tags=["accounts"], operation_id="getAccount", **requires(Scope.LEDGER_READ))
    async def get_account(request: LedgerRequest, code: AccountCode) -> Response[schemas.Account]:
        """Get an account."""
        record = await read_account(pool, request.user.tenant_id, code)
        return Response(schemas.account(record), headers=etag(record.account.seq))

    @get(ONE_ACCOUNT + "/balance", tags=["accounts"], operation_id="getBalance", **requires(Scope.LEDGER_READ))
    async def get_balance(request: LedgerRequest, code: AccountCode) -> schemas.AccountBalance:
        """Get an account's balance, right at the entry `sequence` of the journal."""
        return schemas.account_balance(await read_balance(pool, request.user.tenant_id, code))

    @get(
        ONE_ACCOUNT + "/postings",
        tags=["accounts"],
        operation_id="listAccountPostings",
        **requires(Scope.LEDGER_READ),
    )
    async def list_account_postings(
        request: LedgerRequest,
        code: AccountCode,
        limit: Limit = None,
        cursor: CursorParameter = None,
    ) -> Page[schemas.AccountPosting]:
        """List an account's postings, newest first, each with the balance just after it."""
        tenant_id = request.user.tenant_id
        path = f"{ACCOUNTS}/{code}/postings"
        here = paging.start(path, cursor, limit, first=NEWEST, position=tuple[int, int])
        account: AccountRecord = await read_account(pool, tenant_id, code)
        found = await read_postings(pool, tenant_id, account.account, before=here.position, limit=here.limit + 1)
        scale = account.account.scale
        return paging.page(
            here, found, lambda line: schemas.account_posting(line, scale), lambda last: (last.seq, last.line)
        )

    return [list_accounts, get_account, get_balance, list_account_postings]
