"""Balances: of an account at any time, of many accounts at once, and of the whole tenant."""

from datetime import datetime
from typing import Annotated

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter

from ledgerx.balances import Balances, read_balance_at, read_totals
from ledgerx.errors import InvalidField, NotFound
from ledgerx.roles import Role
from ledgerx.tenancy import Scope
from ledgerx_api import schemas_reading as schemas
from ledgerx_api.access import requires
from ledgerx_api.parameters import AccountCode, OneAccount, Prefix, code_ranges, utc
from ledgerx_api.requests import LedgerRequest


def routes() -> list[HTTPRouteHandler]:
    """The handlers of this module."""
    balances = Balances()

    @get(
        "/v1/accounts/{code:str}/balance",
        tags=["accounts"],
        operation_id="getBalance",
        **requires(Scope.LEDGER_READ, roles=[Role.MEMBER]),
    )
    async def get_balance(
        request: LedgerRequest,
        code: AccountCode,
        as_of: Annotated[
            datetime | None, Parameter(description="Only what was recorded at or before this time counts.")
        ] = None,
        effective_at: Annotated[
            datetime | None, Parameter(description="Only what takes effect at or before this time counts.")
        ] = None,
    ) -> schemas.AccountBalance:
        """Get an account's balance now, or at a recorded or effective time or both; right at the entry `sequence`."""
        tenant_id, confined_to = request.user.tenant_id, request.user.confined_to
        as_of, effective_at = utc(as_of, "as_of"), utc(effective_at, "effective_at")
        if as_of is None and effective_at is None:
            return schemas.account_balance(await balances.read(request.pool, tenant_id, code, confined_to=confined_to))
        found = await read_balance_at(
            request.pool, tenant_id, code, confined_to=confined_to, as_of=as_of, effective_at=effective_at
        )
        return schemas.account_balance(found, as_of=as_of, effective_at=effective_at)

    @get(
        "/v1/balance",
        tags=["balances"],
        operation_id="getAggregateBalance",
        **requires(Scope.LEDGER_READ, roles=[Role.MEMBER]),
    )
    async def get_aggregate_balance(
        request: LedgerRequest, account: OneAccount = None, prefix: Prefix = None
    ) -> schemas.AggregateBalance:
        """Get the balance of an account, or of all accounts of a prefix together, by asset and normal side.

        Of a prefix, members get that of their own accounts.
        """
        ranges = code_ranges(account, prefix)
        if ranges is None:
            raise InvalidField("send account or prefix; /v1/trial-balance is for the whole ledger")
        found = await read_totals(request.pool, request.user.tenant_id, ranges, confined_to=request.user.confined_to)
        if account is not None and not found.totals:
            raise NotFound(f'there is no account "{account}"')
        return schemas.aggregate_balance(found)

    @get("/v1/trial-balance", tags=["balances"], operation_id="getTrialBalance", **requires(Scope.LEDGER_READ))
    async def get_trial_balance(request: LedgerRequest) -> schemas.TrialBalance:
        """Get the posted balances of the whole ledger by asset and type: debits and credits are equal."""
        return schemas.trial_balance(await read_totals(request.pool, request.user.tenant_id, confined_to=None))

    return [get_balance, get_aggregate_balance, get_trial_balance]
