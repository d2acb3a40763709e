"""Transactions."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Parameter
from litestar.response.base import ASGIResponse

from ledgerx.database import Pool
from ledgerx.decide import Recorded, Refused
from ledgerx.engine import Engine
from ledgerx.journal import Kind
from ledgerx.reading import NEWEST, read_transaction
from ledgerx.search import TransactionFilters, find_transactions
from ledgerx.tenancy import Scope
from ledgerx_api import conditional, idempotency, paging, schemas, tracing
from ledgerx_api.access import requires
from ledgerx_api.body import JsonBody
from ledgerx_api.paging import CursorParameter, Limit, Page
from ledgerx_api.parameters import TEXT, AmountFilter, MetadataFilter, OneAccount, Prefix, code_ranges, utc
from ledgerx_api.tokens import Principal

_TRANSACTIONS = "/v1/transactions"
_RECORDED = ResponseSpec(schemas.Transaction, generate_examples=False, description="Recorded.")


def routes(pool: Pool, engine: Engine) -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @post(
        _TRANSACTIONS,
        dto=JsonBody[schemas.NewTransaction],
        return_dto=None,
        tags=["transactions"],
        operation_id="createTransaction",
        **requires(Scope.LEDGER_WRITE, {201: _RECORDED}),
    )
    async def create_transaction(
        request: Request[Principal, Any, Any],
        data: schemas.NewTransaction,
        key: Annotated[
            str | None, Parameter(header=idempotency.HEADER, description="Required, in quotes or bare.")
        ] = None,
    ) -> ASGIResponse:
        """Record a transaction. The same key with the same request answers with the same transaction again."""
        principal = request.user
        command = schemas.post(
            data,
            idempotency_key=idempotency.parse_key(key),
            fingerprint=idempotency.fingerprint("post", "", principal.actor, await request.body()),
            actor=principal.actor,
            traceparent=tracing.traceparent(request.headers),
        )
        outcome = await engine.run(principal.tenant_id, command)
        if isinstance(outcome, Refused):
            raise outcome.error
        if isinstance(outcome, Recorded):
            return _answer(schemas.transaction(outcome.entry, outcome.balances), {})
        return _answer(schemas.transaction(outcome.entry), {idempotency.REPLAYED_HEADER: "true"})

    @get(
        _TRANSACTIONS,
        tags=["transactions"],
        operation_id="listTransactions",
        **requires(Scope.LEDGER_READ, conditional.answers(Page[schemas.Transaction], "A page.")),
    )
    async def list_transactions(
        request: Request[Principal, Any, Any],
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
        """List transactions, newest first. With filters a page may be short, even empty, and still have a next one."""
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
        here = paging.start_filtered(_TRANSACTIONS, cursor, limit, filters, first=NEWEST[0], position=int)
        filters, before = here.position
        found = await find_transactions(pool, request.user.tenant_id, filters, before=before, limit=here.limit)
        shown = paging.filtered_page(here, found.items, schemas.transaction, found.following)
        return conditional.answer(request, shown)

    @get(
        _TRANSACTIONS + "/{transaction_id:int}",
        tags=["transactions"],
        operation_id="getTransaction",
        **requires(Scope.LEDGER_READ, conditional.answers(schemas.Transaction, "The transaction.")),
    )
    async def get_transaction(
        request: Request[Principal, Any, Any],
        transaction_id: Annotated[int, Parameter(ge=1, le=2**63 - 1, description="The transaction's number.")],
    ) -> ASGIResponse:
        """Get a transaction."""
        found = await read_transaction(pool, request.user.tenant_id, transaction_id)
        return conditional.answer(request, schemas.transaction(found))

    return [create_transaction, list_transactions, get_transaction]


def _answer(transaction: schemas.Transaction, headers: dict[str, str]) -> ASGIResponse:
    # Litestar's Response costs a tenth of the route; this is the one route where that counts.
    return ASGIResponse(
        body=msgspec.json.encode(transaction), headers=headers, media_type="application/json", status_code=201
    )
