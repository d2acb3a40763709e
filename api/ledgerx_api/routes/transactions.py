"""Transactions: recording them, and what ends, takes back and amends them."""

from typing import Annotated, Any

from litestar import get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Parameter
from litestar.response.base import ASGIResponse

from ledgerx.database import Pool
from ledgerx.engine import Engine
from ledgerx.reading import NEWEST, read_transaction, read_transactions
from ledgerx.tenancy import Scope
from ledgerx_api import movements, paging, schemas
from ledgerx_api.access import requires
from ledgerx_api.asking import DryRun, LedgerRequest, OptionalKey, RequiredKey, answer_transaction, ask, envelope
from ledgerx_api.body import JsonBody
from ledgerx_api.paging import CursorParameter, Limit, Page

TRANSACTIONS = "/v1/transactions"
_ONE = TRANSACTIONS + "/{transaction_id:int}"
TransactionId = Annotated[int, Parameter(ge=1, le=2**63 - 1, description="The transaction's number.")]
_RECORDED = {
    201: ResponseSpec(schemas.Transaction, generate_examples=False, description="Recorded."),
    200: ResponseSpec(schemas.Transaction, generate_examples=False, description="A dry run: not recorded."),
}
_WRITES: dict[str, Any] = {"return_dto": None, "tags": ["transactions"], **requires(Scope.LEDGER_WRITE, _RECORDED)}


def routes(pool: Pool, engine: Engine) -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @post(TRANSACTIONS, dto=JsonBody[movements.NewTransaction], operation_id="createTransaction", **_WRITES)
    async def create_transaction(
        request: LedgerRequest, data: movements.NewTransaction, key: RequiredKey = None, dry_run: DryRun = False
    ) -> ASGIResponse:
        """Record a transaction. The same key with the same request answers with the same transaction again."""
        command = movements.transact(data, **await envelope(request, "post", "", key, key_required=not dry_run))
        return await answer_transaction(engine, request, command, dry_run=dry_run)

    @post(_ONE + "/capture", dto=JsonBody[movements.PartOf], operation_id="captureTransaction", **_WRITES)
    async def capture_transaction(
        request: LedgerRequest,
        transaction_id: TransactionId,
        data: movements.PartOf = movements.WHOLE,
        key: RequiredKey = None,
        dry_run: DryRun = False,
    ) -> ASGIResponse:
        """Settle a hold: whole, or only `postings` of it; the rest is released."""
        fields = await envelope(request, "capture", str(transaction_id), key, key_required=not dry_run)
        command = movements.capture(transaction_id, data, **fields)
        return await answer_transaction(engine, request, command, dry_run=dry_run)

    @post(_ONE + "/release", dto=JsonBody[movements.Movement], operation_id="releaseTransaction", **_WRITES)
    async def release_transaction(
        request: LedgerRequest,
        transaction_id: TransactionId,
        data: movements.Movement = movements.PLAIN,
        key: RequiredKey = None,
        dry_run: DryRun = False,
    ) -> ASGIResponse:
        """Give up a hold."""
        fields = await envelope(request, "release", str(transaction_id), key, key_required=not dry_run)
        command = movements.release(transaction_id, data, **fields)
        return await answer_transaction(engine, request, command, dry_run=dry_run)

    @post(_ONE + "/reverse", dto=JsonBody[movements.PartOf], operation_id="reverseTransaction", **_WRITES)
    async def reverse_transaction(
        request: LedgerRequest,
        transaction_id: TransactionId,
        data: movements.PartOf = movements.WHOLE,
        key: RequiredKey = None,
        dry_run: DryRun = False,
    ) -> ASGIResponse:
        """Take back what is left of a post or a capture, or only `postings` of it."""
        fields = await envelope(request, "reverse", str(transaction_id), key, key_required=not dry_run)
        command = movements.reverse(transaction_id, data, **fields)
        return await answer_transaction(engine, request, command, dry_run=dry_run)

    @patch(
        _ONE,
        dto=JsonBody[movements.Annotations],
        return_dto=None,
        tags=["transactions"],
        operation_id="amendTransaction",
        **requires(Scope.LEDGER_WRITE),
    )
    async def amend_transaction(
        request: LedgerRequest, transaction_id: TransactionId, data: movements.Annotations, key: OptionalKey = None
    ) -> schemas.Transaction:
        """Change category, description or metadata of a transaction, by an entry of its own in the journal."""
        fields = await envelope(request, "amend", str(transaction_id), key, key_required=False)
        await ask(engine, request, movements.amend(transaction_id, data, **fields))
        return schemas.linked_transaction(await read_transaction(pool, request.user.tenant_id, transaction_id))

    @get(TRANSACTIONS, tags=["transactions"], operation_id="listTransactions", **requires(Scope.LEDGER_READ))
    async def list_transactions(
        request: LedgerRequest, limit: Limit = None, cursor: CursorParameter = None
    ) -> Page[schemas.Transaction]:
        """List transactions, newest first."""
        here = paging.start(TRANSACTIONS, cursor, limit, first=NEWEST[0], position=int)
        found = await read_transactions(pool, request.user.tenant_id, before=here.position, limit=here.limit + 1)
        return paging.page(here, found, schemas.transaction, lambda last: last.seq)

    @get(_ONE, tags=["transactions"], operation_id="getTransaction", **requires(Scope.LEDGER_READ))
    async def get_transaction(request: LedgerRequest, transaction_id: TransactionId) -> schemas.Transaction:
        """Get a transaction with what became of it."""
        return schemas.linked_transaction(await read_transaction(pool, request.user.tenant_id, transaction_id))

    return [
        create_transaction,
        capture_transaction,
        release_transaction,
        reverse_transaction,
        amend_transaction,
        list_transactions,
        get_transaction,
    ]
