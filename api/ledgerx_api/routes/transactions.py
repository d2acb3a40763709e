"""Transactions: recording them, and what ends, takes back and amends them."""

from datetime import datetime
from typing import Annotated, Any

from litestar import get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Parameter
from litestar.response.base import ASGIResponse

from ledgerx.filters import TransactionFilters
from ledgerx.journal import Kind
from ledgerx.reading import NEWEST, read_transaction
from ledgerx.roles import Role
from ledgerx.search import find_transactions
from ledgerx.tenancy import Scope
from ledgerx_api import conditional, movements, paging, schemas
from ledgerx_api.access import requires
from ledgerx_api.asking import DryRun, OptionalKey, RequiredKey, answer_transaction, ask, envelope
from ledgerx_api.body import JsonBody
from ledgerx_api.paging import CursorParameter, Limit, Page
from ledgerx_api.parameters import TEXT, AmountFilter, MetadataFilter, OneAccount, Prefix, code_ranges, utc
from ledgerx_api.requests import LedgerRequest

TRANSACTIONS = "/v1/transactions"
_ONE = TRANSACTIONS + "/{transaction_id:int}"
TransactionId = Annotated[int, Parameter(ge=1, le=2**63 - 1, description="The transaction's number.")]
_RECORDED = {
    201: ResponseSpec(schemas.Transaction, generate_examples=False, description="Recorded."),
    200: ResponseSpec(schemas.Transaction, generate_examples=False, description="A dry run: not recorded."),
}
_WRITES: dict[str, Any] = {
    "return_dto": None,
    "tags": ["transactions"],
    **requires(Scope.LEDGER_WRITE, _RECORDED, roles=[Role.MEMBER]),
}


def routes() -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @post(TRANSACTIONS, dto=JsonBody[movements.NewTransaction], operation_id="createTransaction", **_WRITES)
    async def create_transaction(
        request: LedgerRequest, data: movements.NewTransaction, key: RequiredKey = None, dry_run: DryRun = False
    ) -> ASGIResponse:
        """Record a transaction. The same key with the same request answers with the same transaction again."""
        command = movements.transact(data, **await envelope(request, "post", "", key, key_required=not dry_run))
        return await answer_transaction(request, command, dry_run=dry_run)

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
        return await answer_transaction(request, command, dry_run=dry_run)

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
        return await answer_transaction(request, command, dry_run=dry_run)

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
        return await answer_transaction(request, command, dry_run=dry_run)

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
        await ask(request, movements.amend(transaction_id, data, **fields))
        found = await read_transaction(request.pool, request.user.tenant_id, transaction_id, confined_to=None)
        return schemas.linked_transaction(found)

    @get(
        TRANSACTIONS,
        tags=["transactions"],
        operation_id="listTransactions",
        **requires(Scope.LEDGER_READ, conditional.answers(Page[schemas.Transaction], "A page."), roles=[Role.MEMBER]),
    )
    async def list_transactions(
        request: LedgerRequest,
        account: OneAccount = None,
        prefix: Prefix = None,
        category: Annotated[str | None, Parameter(pattern=TEXT, description="Of this category.")] = None,
        kind: Annotated[Kind | None, Parameter(description="Of this kind.")] = None,
        reference: Annotated[str | None, Parameter(pattern=TEXT, description="With this reference.")] = None,
        metadata: MetadataFilter = None,
        recorded_from: Annotated[datetime | None, Parameter(description="Recorded at or after this time.")] = None,
        recorded_to: Annotated[datetime | None, Parameter(description="Recorded before this time.")] = None,
        effective_from: Annotated[datetime | None, Parameter(description="In effect at or after this time.")] = None,
        effective_to: Annotated[datetime | None, Parameter(description="In effect before this time.")] = None,
        amount_from: AmountFilter = None,
        amount_to: AmountFilter = None,
        limit: Limit = None,
        cursor: CursorParameter = None,
    ) -> ASGIResponse:
        """List transactions, newest first. With filters a page may be short, even empty, and still have a next one.

        Members list those that touch their own accounts; what they ask of accounts and amounts is asked of these.
        """
        code_ranges(account, prefix)
        filters = TransactionFilters(
            account=account,
            prefix=prefix,
            category=category,
            kind=kind,
            reference=reference,
            metadata=metadata,
            recorded_from=utc(recorded_from, "recorded_from"),
            recorded_to=utc(recorded_to, "recorded_to"),
            effective_from=utc(effective_from, "effective_from"),
            effective_to=utc(effective_to, "effective_to"),
            amount_from=amount_from,
            amount_to=amount_to,
        )
        here = paging.start_filtered(TRANSACTIONS, cursor, limit, filters, first=NEWEST[0], position=int)
        filters, before = here.position
        user = request.user
        found = await find_transactions(
            request.pool, user.tenant_id, filters, confined_to=user.confined_to, before=before, limit=here.limit
        )
        shown = paging.filtered_page(here, found.items, schemas.transaction, found.following)
        return conditional.answer(request, shown)

    @get(
        _ONE,
        tags=["transactions"],
        operation_id="getTransaction",
        **requires(
            Scope.LEDGER_READ, conditional.answers(schemas.Transaction, "The transaction."), roles=[Role.MEMBER]
        ),
    )
    async def get_transaction(request: LedgerRequest, transaction_id: TransactionId) -> ASGIResponse:
        """Get a transaction with what became of it."""
        user = request.user
        found = await read_transaction(request.pool, user.tenant_id, transaction_id, confined_to=user.confined_to)
        return conditional.answer(request, schemas.linked_transaction(found))

    return [
        create_transaction,
        capture_transaction,
        release_transaction,
        reverse_transaction,
        amend_transaction,
        list_transactions,
        get_transaction,
    ]
