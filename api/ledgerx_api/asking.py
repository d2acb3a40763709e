"""From a request to the engine and back: what every command carries, and what its outcome answers."""

from typing import Annotated, Any

from litestar.params import HeaderParameter, Parameter
from litestar.response.base import ASGIResponse
from msgspec.json import encode

from ledgerx.commands import AnyCommand, random_key
from ledgerx.members import own_key
from ledgerx.outcomes import Outcome, Recorded, Refused, Replayed
from ledgerx_api import idempotency, schemas, tracing
from ledgerx_api.answers import JsonAnswer
from ledgerx_api.preconditions import etag
from ledgerx_api.requests import LedgerRequest
from ledgerx_api.tokens import Principal

RequiredKey = Annotated[
    str | None, HeaderParameter(name=idempotency.HEADER, description="Required, in quotes or bare; not for a dry run.")
]
OptionalKey = Annotated[str | None, HeaderParameter(name=idempotency.HEADER, description="In quotes or bare.")]
_REPLAYED = [(idempotency.REPLAYED_HEADER.lower().encode(), b"true")]
DryRun = Annotated[bool, Parameter(description="Decide and answer, but record nothing.")]


def caller(request: LedgerRequest, key: str | None, *, key_required: bool) -> dict[str, Any]:
    """The fields of `Command` but the fingerprint; without a key it gets a random one.

    Raises `MissingIdempotencyKey` and `InvalidIdempotencyKey`.
    """
    optional = key is None and not key_required
    return {
        "idempotency_key": random_key() if optional else kept_key(request.user, key),
        "actor": request.user.actor,
        "confined_to": request.user.confined_to,
        "traceparent": tracing.traceparent(request.headers),
    }


def kept_key(principal: Principal, header: str | None) -> str:
    """The key that the journal keeps for that of a header. Raises `MissingIdempotencyKey`, `InvalidIdempotencyKey`."""
    key = idempotency.parse_key(header)
    return key if principal.confined_to is None else own_key(principal.actor, key)


async def envelope(
    request: LedgerRequest, operation: str, target: str, key: str | None, *, key_required: bool
) -> dict[str, Any]:
    """The fields of `Command`. Raises what `caller` does, and `Malformed`."""
    fields = caller(request, key, key_required=key_required)
    fingerprint = idempotency.fingerprint(operation, target, request.user.actor, await request.body())
    return fields | {"fingerprint": fingerprint}


async def ask(request: LedgerRequest, command: AnyCommand) -> Recorded | Replayed:
    """Run a command. Raises its refusal."""
    return accepted(await request.engine.run(request.user.tenant_id, command))


async def answer_transaction(request: LedgerRequest, command: AnyCommand, *, dry_run: bool) -> ASGIResponse:
    """Run a command that makes a transaction, or with `dry_run` only try it, and answer with that transaction."""
    if dry_run:
        [tried] = await request.engine.try_all(request.user.tenant_id, [command])
        return JsonAnswer(encode(schemas.outcome(accepted(tried), dry_run=True)), status=200)
    outcome = await ask(request, command)
    return JsonAnswer(
        encode(schemas.outcome(outcome)), status=201, headers=_REPLAYED if isinstance(outcome, Replayed) else ()
    )


def accepted(outcome: Outcome) -> Recorded | Replayed:
    """An outcome that is no refusal. Raises what it was refused for."""
    if isinstance(outcome, Refused):
        raise outcome.error
    return outcome


def version_headers(outcome: Recorded | Replayed) -> dict[str, str]:
    """What tells the version that a change left, and whether it had been recorded before."""
    replayed = {idempotency.REPLAYED_HEADER: "true"} if isinstance(outcome, Replayed) else {}
    return etag(outcome.entry.seq) | replayed
