"""Many transactions in one request."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.response import Stream

from ledgerx.commands import Post
from ledgerx.engine import MAX_BATCH
from ledgerx.errors import BatchRefused, LedgerError, TooLarge
from ledgerx.outcomes import Outcome, Refused, Replayed
from ledgerx.roles import Role
from ledgerx.tenancy import Scope
from ledgerx_api import idempotency, movements, schemas
from ledgerx_api.access import requires
from ledgerx_api.asking import DryRun, RequiredKey, caller, kept_key
from ledgerx_api.batch import MAX_BODY_BYTES, MAX_POSTINGS, NDJSON, Batch, BatchBody
from ledgerx_api.problems import problem_of
from ledgerx_api.rate_limits import RateLimiter
from ledgerx_api.requests import LedgerRequest
from ledgerx_api.tokens import Principal

T = TypeVar("T")
R = TypeVar("R")
# Items that are worked on at a stretch, some 5 us each.
_TURN = 100


class BatchResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one item: the `transaction` it made, now or (`replayed`) earlier, or the `problem` it met."""

    status: int
    replayed: bool = False
    transaction: schemas.Transaction | msgspec.UnsetType = msgspec.UNSET
    problem: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class BatchSummary(msgspec.Struct, frozen=True):
    """How many items of a batch were recorded, replayed and refused."""

    recorded: int
    replayed: int
    refused: int


class BatchAnswer(msgspec.Struct, frozen=True):
    """The results of a batch in the order of its items."""

    results: list[BatchResult]
    summary: BatchSummary


def routes(limiter: RateLimiter) -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @post(
        "/v1/transactions/batch",
        dto=BatchBody,
        return_dto=None,
        status_code=200,
        request_max_body_size=MAX_BODY_BYTES,
        tags=["transactions"],
        operation_id="createTransactions",
        **requires(
            Scope.LEDGER_WRITE,
            {200: ResponseSpec(BatchAnswer, generate_examples=False, description="What became of each item.")},
            roles=[Role.MEMBER],
        ),
    )
    async def create_transactions(
        request: LedgerRequest, data: Batch, key: RequiredKey = None, dry_run: DryRun = False
    ) -> Response[Any]:
        """Record up to 10,000 transactions, each on its own or all of them or none.

        A body of type `application/x-ndjson` has a transaction a line, each on its own. Its answer has a result a line
        in the same order, as they are there, and a last line with the member `summary`: an answer without it was cut.
        """
        await limiter.charge(request, len(data.items))
        commands = await _commands(request, data, key, key_required=not dry_run)
        if data.lines:
            return Stream(_results_by_line(request, commands, dry_run=dry_run), media_type=NDJSON)
        given = [command for command in commands if not isinstance(command, LedgerError)]
        if data.atomic and len(given) < len(commands):
            number, error = next((n, one) for n, one in enumerate(commands) if isinstance(one, LedgerError))
            raise BatchRefused.of(number, error)
        results = await _results(request, commands, atomic=data.atomic, dry_run=dry_run)
        return Response(BatchAnswer(results, _summary(results)))

    return [create_transactions]


async def _in_turns(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """What a function makes of each item, with the loop free for others after every few: thousands take their time."""
    made: list[R] = []
    for first in range(0, len(items), _TURN):
        made += map(function, items[first : first + _TURN])
        await asyncio.sleep(0)
    return made


async def _commands(
    request: LedgerRequest, batch: Batch, key: str | None, *, key_required: bool
) -> list[Post | LedgerError]:
    """A command for each item, or what is wrong with it.

    Raises `MissingIdempotencyKey`, `InvalidIdempotencyKey`, what `Batch.read` does, and `TooLarge` for too many
    postings.
    """
    common = caller(request, key, key_required=key_required)
    batch_key = common.pop("idempotency_key")
    number = itertools.count()
    commands = await _in_turns(
        lambda item: _command(request.user, batch, item, f"{batch_key}#{next(number)}", common), batch.items
    )
    if sum(len(command.lines) for command in commands if isinstance(command, Post)) > MAX_POSTINGS:
        raise TooLarge(f"a batch has at most {MAX_POSTINGS} postings")
    return commands


def _command(
    principal: Principal, batch: Batch, item: bytes | msgspec.Raw, key: str, common: Mapping[str, Any]
) -> Post | LedgerError:
    data = batch.read(item)
    if isinstance(data, LedgerError):
        return data
    try:
        content = idempotency.content_of(item)
        if content.pop("idempotency_key", None) is not None:
            key = kept_key(principal, data.idempotency_key)
        fingerprint = idempotency.fingerprint_of("post", "", principal.actor, content)
        return movements.transact(data, idempotency_key=key, fingerprint=fingerprint, **common)
    except LedgerError as error:
        return error


async def _results(
    request: LedgerRequest,
    commands: Sequence[Post | LedgerError],
    *,
    atomic: bool = False,
    dry_run: bool = False,
) -> list[BatchResult]:
    tenant_id = request.user.tenant_id
    given = [command for command in commands if not isinstance(command, LedgerError)]
    outcomes: Sequence[Outcome]
    if dry_run:
        outcomes = await request.engine.try_all(tenant_id, given, atomic=atomic)
    elif atomic:
        outcomes = await request.engine.run_atomic(tenant_id, given)
    else:
        outcomes = await request.engine.run_all(tenant_id, given)
    decided = iter(outcomes)

    def result(command: Post | LedgerError) -> BatchResult:
        return _result(Refused(command) if isinstance(command, LedgerError) else next(decided), dry_run=dry_run)

    return await _in_turns(result, commands)


async def _results_by_line(
    request: LedgerRequest, commands: Sequence[Post | LedgerError], *, dry_run: bool
) -> AsyncIterator[bytes]:
    results: list[BatchResult] = []
    for first in range(0, len(commands), MAX_BATCH):
        chunk = commands[first : first + MAX_BATCH]
        try:
            found = await _results(request, chunk, dry_run=dry_run)
        except LedgerError as error:
            found = [_result(Refused(error), dry_run=dry_run)] * len(chunk)
        results += found
        yield b"".join(msgspec.json.encode(result) + b"\n" for result in found)
    yield msgspec.json.encode({"summary": _summary(results)}) + b"\n"


def _result(outcome: Outcome, *, dry_run: bool) -> BatchResult:
    if isinstance(outcome, Refused):
        if isinstance(outcome.error, BatchRefused):
            raise outcome.error
        return BatchResult(status=outcome.error.status, problem=problem_of(outcome.error))
    return BatchResult(
        status=200 if dry_run else 201,
        replayed=isinstance(outcome, Replayed),
        transaction=schemas.outcome(outcome, dry_run=dry_run),
    )


def _summary(results: Sequence[BatchResult]) -> BatchSummary:
    replayed = sum(result.replayed for result in results)
    refused = sum(result.problem is not msgspec.UNSET for result in results)
    return BatchSummary(len(results) - replayed - refused, replayed, refused)
