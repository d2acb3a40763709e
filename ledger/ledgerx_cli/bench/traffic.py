"""The requests of each scenario, and the accounts they touch.

A post moves money from one of `ACCOUNTS` accounts, each in its turn, to another of them, or to one that all posts
share: what differs between the scenarios of posts is the heat of that one account, and whether it is guarded.
"""

import secrets
from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import count, cycle, islice, repeat

import msgspec

from ledgerx_cli.bench import load
from ledgerx_cli.bench.target import BenchFailed, Target
from ledgerx_cli.bench.wire import encode_request

ACCOUNTS = 1_000
_USERS = [f"bench:users:{number:04d}" for number in range(ACCOUNTS)]
_HOT = "bench:hot"
_HOT_GUARDED = "bench:hot-guarded"
_AMOUNT = "1.00"
_SETUP_CONNECTIONS = 16


class Scenario(StrEnum):
    """What is measured over HTTP."""

    NOOP = "noop"
    POSTS = "posts"
    POSTS_HOT = "posts-hot"
    POSTS_HOT_GUARDED = "posts-hot-guarded"
    READS = "reads"
    BATCH_1000 = "batch-1000"
    BATCH_10000 = "batch-10000"

    @property
    def transactions(self) -> int:
        """Transactions in one request, and what rates and CPU time count."""
        return {Scenario.BATCH_1000: 1_000, Scenario.BATCH_10000: 10_000}.get(self, 1)

    @property
    def writes(self) -> bool:
        """Whether its requests append to the journal."""
        return self not in (Scenario.NOOP, Scenario.READS)


def open_accounts(target: Target, token: str) -> None:
    """Open the accounts of all scenarios, those that an earlier run left apart. Raises `BenchFailed`."""
    accounts: list[dict[str, str]] = [{"code": code} for code in (*_USERS, _HOT)]
    accounts.append({"code": _HOT_GUARDED, "min_balance": "0"})
    bodies = (msgspec.json.encode({**account, "asset": "USD", "type": "liability"}) for account in accounts)
    requests = (_encode(target, token, "POST", "/v1/accounts", body=body) for body in bodies)
    opened = load.run(requests, host=target.host, port=target.port, connections=_SETUP_CONNECTIONS)
    refusals = opened.errors.keys() - {"409 account_exists"}
    if refusals:
        raise BenchFailed(f"accounts could not be opened: {', '.join(sorted(refusals))}")


def requests_of(scenario: Scenario, target: Target, token: str) -> Iterator[bytes]:
    """Requests without end; every post has an idempotency key of its own, across runs too."""
    match scenario:
        case Scenario.NOOP:
            return repeat(_encode(target, None, "GET", "/livez"))
        case Scenario.READS:
            return cycle([_encode(target, token, "GET", f"/v1/accounts/{code}/balance") for code in _USERS])
        case Scenario.POSTS:
            return _posts(target, token, [*_USERS[ACCOUNTS // 2 :], *_USERS[: ACCOUNTS // 2]])
        case Scenario.POSTS_HOT:
            return _posts(target, token, [_HOT] * ACCOUNTS)
        case Scenario.POSTS_HOT_GUARDED:
            return _posts(target, token, [_HOT_GUARDED] * ACCOUNTS)
        case Scenario.BATCH_1000 | Scenario.BATCH_10000:
            return _batches(target, token, scenario.transactions)


def _posts(target: Target, token: str, credited: list[str]) -> Iterator[bytes]:
    run = secrets.token_hex(8)
    placeholder = "0" * 12
    halves: list[tuple[bytes, bytes]] = []
    for debit, credit in zip(_USERS, credited, strict=True):
        body = msgspec.json.encode({"debit": debit, "credit": credit, "amount": _AMOUNT})
        key = {"Idempotency-Key": f'"{run}-{placeholder}"'}
        before, _, after = _encode(target, token, "POST", "/v1/transactions", headers=key, body=body).partition(
            placeholder.encode()
        )
        halves.append((before, after))
    for number, (before, after) in zip(count(), cycle(halves), strict=False):
        yield b"%b%012d%b" % (before, number, after)


def _batches(target: Target, token: str, size: int) -> Iterator[bytes]:
    run = secrets.token_hex(8)
    pairs = zip(cycle(_USERS), cycle([*_USERS[ACCOUNTS // 2 :], *_USERS[: ACCOUNTS // 2]]), strict=False)
    items = [{"debit": debit, "credit": credit, "amount": _AMOUNT} for debit, credit in islice(pairs, size)]
    body = msgspec.json.encode({"transactions": items})
    for number in count():
        key = {"Idempotency-Key": f'"{run}-{number}"'}
        yield _encode(target, token, "POST", "/v1/transactions/batch", headers=key, body=body)


def _encode(
    target: Target,
    token: str | None,
    method: str,
    path: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> bytes:
    authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
    return encode_request(
        method, path, host=f"{target.host}:{target.port}", headers={**authorization, **(headers or {})}, body=body
    )
