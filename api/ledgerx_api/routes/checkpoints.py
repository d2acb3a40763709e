"""Checkpoints of the journal, and proofs that lead to them."""

from typing import Annotated

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Parameter

from ledgerx.checkpoints import (
    ConsistencyProof,
    InclusionProof,
    prove_consistency,
    prove_inclusion,
    read_checkpoints,
)
from ledgerx.errors import NotFound
from ledgerx.tenancy import Scope
from ledgerx_api import paging
from ledgerx_api import schemas_checkpoints as schemas
from ledgerx_api.access import requires
from ledgerx_api.paging import CursorParameter, Limit, Page
from ledgerx_api.requests import LedgerRequest
from ledgerx_api.routes.transactions import TransactionId

_PATH = "/v1/checkpoints"
_BEYOND_ALL = 2**63 - 1
_JSON, _TEXT = "application/json", "text/plain"
_VARY = {"Vary": "Accept"}
_LIST = ResponseSpec(
    Page[schemas.Checkpoint],
    generate_examples=False,
    description="A page as JSON; with `Accept: text/plain` the note of the latest one.",
)


def routes() -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @get(_PATH, tags=["integrity"], operation_id="listCheckpoints", **requires(Scope.LEDGER_READ, {200: _LIST}))
    async def list_checkpoints(
        request: LedgerRequest, limit: Limit = None, cursor: CursorParameter = None
    ) -> Response[bytes]:
        """List the signed checkpoints of the journal, the latest first."""
        here = paging.start(_PATH, cursor, limit, first=_BEYOND_ALL, position=int)
        tenant_id = request.user.tenant_id
        if request.accept.best_match([_JSON, _TEXT]) == _TEXT:
            latest = await read_checkpoints(request.pool, tenant_id, before=_BEYOND_ALL, limit=1)
            if not latest:
                raise NotFound("there is no checkpoint yet")
            return Response(latest[0].note.encode(), media_type=_TEXT, headers=_VARY)
        found = await read_checkpoints(request.pool, tenant_id, before=here.position, limit=here.limit + 1)
        page = paging.page(here, found, schemas.checkpoint, lambda one: one.size)
        return Response(msgspec.json.encode(page), media_type=_JSON, headers=_VARY)

    @get(
        _PATH + "/proof",
        tags=["integrity"],
        operation_id="proveConsistency",
        **requires(Scope.LEDGER_READ),
    )
    async def prove_checkpoints(
        request: LedgerRequest,
        older: Annotated[
            int,
            Parameter(query="from", ge=1, le=_BEYOND_ALL, description="The size of the older one, kept here or not."),
        ],
        newer: Annotated[int, Parameter(query="to", ge=1, le=_BEYOND_ALL, description="The size of the newer one.")],
    ) -> ConsistencyProof:
        """Prove that the journal of one checkpoint begins with that of an earlier one: `ledgerx verify-proof`."""
        return await prove_consistency(request.pool, request.user.tenant_id, older=older, newer=newer)

    @get(
        "/v1/transactions/{transaction_id:int}/proof",
        tags=["integrity"],
        operation_id="proveTransaction",
        **requires(Scope.LEDGER_READ),
    )
    async def prove_transaction(
        request: LedgerRequest,
        transaction_id: TransactionId,
        checkpoint: Annotated[
            int | None,
            Parameter(ge=1, le=_BEYOND_ALL, description="The size of a checkpoint, the latest unless said."),
        ] = None,
    ) -> InclusionProof:
        """Prove that a transaction is in the journal of a checkpoint: `ledgerx verify-proof` verifies it offline."""
        return await prove_inclusion(request.pool, request.user.tenant_id, transaction_id, size=checkpoint)

    return [list_checkpoints, prove_checkpoints, prove_transaction]
