"""Accounts and their postings."""

from typing import Annotated

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter
from litestar.response.base import ASGIResponse

from ledgerx.filters import AccountFilters
from ledgerx.journal import AccountStatus, AccountType
from ledgerx.reading import (
    NEWEST,
    AccountRecord,
    read_account,
    read_postings,
)
from ledgerx.roles import Role
from ledgerx.search import find_accounts
from ledgerx.tenancy import Scope
from ledgerx_api import conditional, paging, schemas
from ledgerx_api.access import requires
from ledgerx_api.paging import CursorParameter, Limit, Page
from ledgerx_api.parameters import TEXT, AccountCode, MetadataFilter, Prefix
from ledgerx_api.requests import LedgerRequest

ACCOUNTS = "/v1/accounts"
ONE_ACCOUNT = ACCOUNTS + "/{code:str}"


def routes() -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @get(
        ACCOUNTS,
        tags=["accounts"],
        operation_id="listAccounts",
        **requires(Scope.LEDGER_READ, conditional.answers(Page[schemas.Account], "A page."), roles=[Role.MEMBER]),
    )
    async def list_accounts(
        request: LedgerRequest,
        prefix: Prefix = None,
        owner: Annotated[str | None, Parameter(pattern=TEXT, description="Of this owner.")] = None,
        account_type: Annotated[AccountType | None, Parameter(query="type", description="Of this type.")] = None,
        asset: Annotated[str | None, Parameter(pattern=TEXT, description="With this asset.")] = None,
        status: Annotated[AccountStatus | None, Parameter(description="In this state.")] = None,
        metadata: MetadataFilter = None,
        limit: Limit = None,
        cursor: CursorParameter = None,
    ) -> ASGIResponse:
        """List accounts in the order of their codes. With filters a page may be short and still have a next one.

        Members list their own accounts.
        """
        filters = AccountFilters(
            prefix=prefix, owner=owner, type=account_type, asset=asset, status=status, metadata=metadata
        )
        here = paging.start_filtered(ACCOUNTS, cursor, limit, filters, first="", position=str)
        filters, after = here.position
        user = request.user
        found = await find_accounts(
            request.pool, user.tenant_id, filters, confined_to=user.confined_to, after=after, limit=here.limit
        )
        return conditional.answer(request, paging.filtered_page(here, found.items, schemas.account, found.following))

    @get(
        ONE_ACCOUNT,
        tags=["accounts"],
        operation_id="getAccount",
        **requires(Scope.LEDGER_READ, conditional.answers(schemas.Account, "The account."), roles=[Role.MEMBER]),
    )
    async def get_account(request: LedgerRequest, code: AccountCode) -> ASGIResponse:
        """Get an account. Its `ETag` is its version."""
        user = request.user
        found = schemas.account(await read_account(request.pool, user.tenant_id, code, confined_to=user.confined_to))
        return conditional.answer(request, found, version=found.version)

    @get(
        ONE_ACCOUNT + "/postings",
        tags=["accounts"],
        operation_id="listAccountPostings",
        **requires(Scope.LEDGER_READ, roles=[Role.MEMBER]),
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
        confined_to = request.user.confined_to
        account: AccountRecord = await read_account(request.pool, tenant_id, code, confined_to=confined_to)
        found = await read_postings(
            request.pool, tenant_id, account.account, before=here.position, limit=here.limit + 1
        )
        scale = account.account.scale
        return paging.page(
            here, found, lambda line: schemas.account_posting(line, scale), lambda last: (last.seq, last.line)
        )

    return [list_accounts, get_account, list_account_postings]
