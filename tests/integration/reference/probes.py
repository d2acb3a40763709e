"""Asks every operation for the errors that many have: with the request of its first example, spoilt in one place.

Whatever is answered is recorded, so a new route needs nothing here.
"""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import msgspec

from ledgerx.engine import MAX_WAITING
from ledgerx.passwords import MAX_WAITING as MAX_WAITING_PASSWORDS
from ledgerx.roles import SCOPES, Role
from ledgerx_api import batch
from ledgerx_api.access import TENANT_HEADER
from ledgerx_api.tokens import Principal
from tests.integration.api_process import ApiProcess
from tests.integration.reference.recorder import Recorder, Request, request, send
from tests.integration.reference.scenario import AUDIENCE, DEPOSIT_KEY, TENANT, UNREACHABLE_ISSUER, Cast
from tests.oidc_server import OidcIssuer

QUOTA = 100
_KEY = "Idempotency-Key"
_POLL_S = 0.05
_MAX_BODY_BYTES = 1024 * 1024
# Positions in cursors that a client made up: values that no list ends at.
_FORGED: Sequence[Any] = ("\0", [{}, "\0"], [{}, 2**70], [2**70, 0])
# Values of parameters in paths that lead nowhere, where "nothing" would not do.
_NOTHING = {
    "transaction_id": "999999",
    "export_id": str(UUID(int=0)),
    "client_id": "nobody",
    "user_id": str(UUID(int=0)),
    "secret_id": str(UUID(int=0)),
    "webhook_id": str(UUID(int=0)),
}


async def probe(recorder: Recorder, api: ApiProcess, session: aiohttp.ClientSession, cast: Cast) -> None:
    """Record the errors of tokens, bodies, parameters and headers."""
    outside = OidcIssuer(UNREACHABLE_ISSUER).token(aud=AUDIENCE)
    for operation, asked in recorder.first_examples():
        if asked.principal is not None:
            nobody = api.sign(Principal(asked.principal.tenant_id, "client:nobody", frozenset()))
            for token in ("", "garbage", nobody):
                recorder.note(asked, await send(api, session, asked, token=token))
            told = msgspec.structs.replace(asked, headers={**asked.headers, TENANT_HEADER: f"{cast.other_id}"})
            recorder.note(asked, await send(api, session, told, token=outside))
        for spoilt in _spoilt(recorder, operation, asked):
            recorder.note(spoilt, await send(api, session, spoilt))


def _spoilt(recorder: Recorder, operation: str, asked: Request) -> Iterator[Request]:
    replaced = msgspec.structs.replace
    if "requestBody" in recorder.documented.operations[operation]:
        limit = batch.MAX_BODY_BYTES if "batch" in asked.path else _MAX_BODY_BYTES
        for body in (b"{", {"nonsense": 1}, b" " * (limit + 1)):
            yield replaced(asked, body=body)
        yield replaced(asked, body="text", media_type="text/plain")
    queries = recorder.documented.parameters(operation, "query")
    for name in queries:
        yield replaced(asked, query={**asked.query, name: "\x00"})
    for position in _FORGED if "cursor" in queries else ():
        cursor = base64.urlsafe_b64encode(json.dumps([asked.path, 5, position]).encode()).decode()
        yield replaced(asked, query={"cursor": cursor})
    for headers in _spoilt_headers(recorder.documented.parameters(operation, "header"), asked.headers):
        yield replaced(asked, headers=headers)
    _, in_path = recorder.documented.operation(asked.method, asked.path)
    # With a key that is known already nothing else would be looked at.
    headers = {name: value if name != _KEY else '"another"' for name, value in asked.headers.items()}
    for name, value in in_path.items():
        for other in (_NOTHING.get(name, "nothing"), "x" * 256, "9" * 20, "%00"):
            yield replaced(asked, path=asked.path.replace(f"/{value}", f"/{other}"), headers=headers)


def _spoilt_headers(documented: Mapping[str, Any], given: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    if _KEY in documented:
        yield {name: value for name, value in given.items() if name != _KEY}
        for key in ("", f'"{DEPOSIT_KEY}"', '"close"'):
            yield {**given, _KEY: key}
    if "If-Match" in documented:
        for tag in ('"0"', "0" * 2_000):
            yield {name: value for name, value in given.items() if name != _KEY} | {"If-Match": tag}
    if "Last-Event-ID" in documented:
        yield {**given, "Last-Event-ID": "nonsense"}


async def probe_scarcity(recorder: Recorder, api: ApiProcess, session: aiohttp.ClientSession, cast: Cast) -> None:
    """Record what `api` refuses that grants `QUOTA` to a tenant, 1 to an address, and has 1 account and no stream."""
    principal = cast.others_owner
    for number in range(2):
        account = {"code": f"account-{number}", "asset": "EUR", "type": "asset"}
        await _note(recorder, api, session, request("POST", "/v1/accounts", account, principal=principal))
    await _note(recorder, api, session, request("GET", "/v1/events/stream", principal=principal))
    await _note(recorder, api, session, _batch(principal, QUOTA + 1))
    # Four requests were paid for.
    await _note(recorder, api, session, _batch(principal, QUOTA - 4))
    await _note(recorder, api, session, _batch(principal, 1))
    for _, asked in recorder.first_examples():
        spoken = asked if asked.principal is None else msgspec.structs.replace(asked, principal=principal)
        for _ in range(2):
            await _note(recorder, api, session, spoken)


async def probe_suspension(
    recorder: Recorder, api: ApiProcess, session: aiohttp.ClientSession, cast: Cast, logins: Sequence[Request]
) -> None:
    """Record what `api` answers for the other tenant, which is suspended, and to those who want to log in there."""
    for _, asked in recorder.first_examples():
        if asked.principal is not None:
            spoken = msgspec.structs.replace(asked, principal=cast.others_owner)
            await _note(recorder, api, session, spoken)
    for asked in logins:
        await _note(recorder, api, session, asked)


async def probe_without_exports(
    recorder: Recorder, api: ApiProcess, session: aiohttp.ClientSession, cast: Cast
) -> None:
    """Record what `api` answers that has no storage for exports, and did have one."""
    listed = await send(api, session, request("GET", "/v1/exports", principal=cast.service))
    [done] = [one["id"] for one in listed.body["items"] if one["status"] == "done"]
    for asked in (
        request("POST", "/v1/exports", {"format": "csv", "dataset": "postings"}, principal=cast.service),
        request("GET", f"/v1/exports/{done}", principal=cast.service),
        request("GET", f"/v1/exports/{done}/download", principal=cast.service),
    ):
        await _note(recorder, api, session, asked)


async def probe_outage(recorder: Recorder, api: ApiProcess, session: aiohttp.ClientSession) -> None:
    """Record what `api` answers while no database does: first nothing for long, then that its queue is full."""
    examples = list(recorder.first_examples())
    dry_runs = [
        msgspec.structs.replace(asked, query={"dry_run": "true"})
        for operation, asked in examples
        if "dry_run" in recorder.documented.parameters(operation, "query")
    ]
    await asyncio.gather(*(_note(recorder, api, session, asked) for asked in [*dict(examples).values(), *dry_runs]))

    async def fill() -> Request:
        return _batch(_owner(uuid4()), MAX_WAITING // 2, atomic=True)

    async with _kept_busy(api, session, [fill] * 2):
        await _wait_until_full(api, session)
        for operation, asked in examples:
            if _KEY in recorder.documented.parameters(operation, "header"):
                await _note(recorder, api, session, asked)


async def probe_passwords(recorder: Recorder, api: ApiProcess, session: aiohttp.ClientSession, cast: Cast) -> None:
    """Record what `api` answers while more passwords wait to be hashed than may."""
    password = "correct horse battery"
    numbers = itertools.count()

    def newcomer() -> dict[str, str]:
        return {"tenant": TENANT, "email": f"{next(numbers)}@example.com", "password": password}

    async def log_in() -> Request:
        return request("POST", "/v1/auth/login", newcomer())

    async def register() -> Request:
        return request("POST", "/v1/auth/register", newcomer())

    async def create() -> Request:
        user = {"email": f"{next(numbers)}@example.com", "role": "member", "password": password}
        return request("POST", "/v1/users", user, principal=cast.owner)

    user = await recorder.done(
        request("POST", "/v1/users", {"email": "mary@example.com", "role": "owner"}, principal=cast.owner)
    )
    mary = Principal(cast.tenant_id, f"user:{user['id']}", SCOPES[Role.OWNER], Role.OWNER)

    async def change() -> Request:
        body = {"current_password": password, "new_password": password}
        return request("POST", "/v1/users/me/password", body, principal=mary)

    async def reset() -> Request:
        token = await recorder.done(request("POST", f"/v1/users/{user['id']}/password-reset", principal=cast.owner))
        return request("POST", "/v1/auth/password-reset", {"token": token["token"], "password": password})

    flood = [log_in] * (2 * MAX_WAITING_PASSWORDS)
    async with _kept_busy(api, session, flood):
        for make in (log_in, register, create, change, reset):
            while (answer := await send(api, session, asked := await make())).told[1] != "overloaded":
                pass
            recorder.note(asked, answer)


@asynccontextmanager
async def _kept_busy(
    api: ApiProcess, session: aiohttp.ClientSession, work: Sequence[Callable[[], Awaitable[Request]]]
) -> AsyncIterator[None]:
    """Each piece of `work` is sent again and again meanwhile."""

    async def keep_sending(make: Callable[[], Awaitable[Request]]) -> None:
        while True:
            await send(api, session, await make())

    tasks = [asyncio.create_task(keep_sending(make)) for make in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _wait_until_full(api: ApiProcess, session: aiohttp.ClientSession) -> None:
    full, metrics = f"ledgerx_engine_waiting_commands {MAX_WAITING}.0\n", request("GET", "/metrics")
    while full not in (await send(api, session, metrics)).body:  # noqa: ASYNC110 - another process sets no event
        await asyncio.sleep(_POLL_S)


async def _note(recorder: Recorder, api: ApiProcess, session: aiohttp.ClientSession, asked: Request) -> None:
    recorder.note(asked, await send(api, session, asked))


def _owner(tenant_id: UUID) -> Principal:
    return Principal(tenant_id, f"user:{UUID(int=0)}", SCOPES[Role.OWNER], Role.OWNER)


def _batch(principal: Principal, size: int, *, atomic: bool = False) -> Request:
    item = {"debit": "bank", "credit": "fees", "amount": "1"}
    body = {"transactions": [item] * size, "atomic": atomic}
    return request("POST", "/v1/transactions/batch", body, key="many", principal=principal)
