"""Rate limits over HTTP, and with the counts in a real Redis that several processes share."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import aiohttp
import prometheus_client
import pytest
import pytest_asyncio

from ledgerx.errors import RateLimited
from ledgerx.logins import Database
from ledgerx.settings import Secret
from ledgerx.tenancy import ClientCredentials
from ledgerx_api import rate_limits
from ledgerx_api.rate_limits import RateLimiter
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import Answer, LedgerClient, client_of, new_tenant
from tests.integration.redis_process import RedisProcess
from tests.limited_requests import ask, limiter

Process: TypeAlias = Callable[..., RateLimiter]

HOUR = "3600"
LOGIN = "/v1/auth/token"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisProcess]:
    """A Redis of the test's own, running."""
    process = RedisProcess(tmp_path)
    process.start()
    yield process
    process.end()


@pytest_asyncio.fixture
async def sharing(redis: RedisProcess) -> AsyncIterator[Process]:
    """Makes the limits of one more process that counts in `redis`."""
    async with AsyncExitStack() as stack:

        def make(**settings: Any) -> RateLimiter:
            limits = limiter(rate_limit_url=Secret(redis.url), **settings)
            stack.push_async_callback(limits.close)
            return limits

        yield make


def store_failures() -> float:
    return prometheus_client.REGISTRY.get_sample_value("ledgerx_rate_limit_store_failures_total") or 0.0


async def test_processes_share_a_window(sharing: Process) -> None:
    one, other = (sharing(rate_limit_client=6, rate_limit_tenant=2_000) for _ in range(2))
    statuses = [(await ask(limits)).status for _ in range(4) for limits in (one, other)]
    assert statuses == [200] * 6 + [429] * 2
    refused = await ask(other)
    assert refused.headers["ratelimit"].startswith('"client";r=0;t=')
    assert 1 <= int(refused.headers["retry-after"]) <= 61


async def test_processes_under_load_grant_no_more_than_there_is(sharing: Process) -> None:
    quota = 5_000
    processes = [sharing(rate_limit_client=quota) for _ in range(3)]

    async def client(limits: RateLimiter) -> int:
        return [(await ask(limits)).status for _ in range(quota // 20)].count(200)

    granted = sum(await asyncio.gather(*(client(limits) for limits in processes for _ in range(10))))
    # What a process holds and does not spend, and what a lost race for the last of it costs, is a few pieces.
    assert 0.98 * quota <= granted <= quota


async def test_a_batch_takes_from_what_another_process_left(sharing: Process) -> None:
    one, other = (sharing(rate_limit_tenant=20_000) for _ in range(2))
    assert (await ask(one, transactions=10_000)).status == 200
    assert (await ask(other, transactions=9_000)).status == 200
    with pytest.raises(RateLimited):
        await ask(one, transactions=5_000)
    assert (await ask(one)).status == 200


async def test_a_shared_window_ends(sharing: Process) -> None:
    limits = sharing(rate_limit_client=2, rate_limit_window_s=1)
    assert [(await ask(limits)).status for _ in range(3)] == [200, 200, 429]
    while (answer := await ask(limits)).status == 429:  # noqa: ASYNC110 - another process sets no event
        await asyncio.sleep(0.05)
    assert answer.headers["ratelimit"].startswith('"client";r=1;')


async def test_without_its_store_requests_pass_and_it_is_left_alone(
    sharing: Process, redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = sharing(rate_limit_client=3)
    assert (await ask(limits)).headers["ratelimit"]
    redis.end()
    before = store_failures()
    answers = [await ask(limits) for _ in range(20)]
    assert {answer.status for answer in answers} == {200}
    assert answers[-1].headers["ratelimit-policy"] == '"client";q=3;w=60'
    assert store_failures() == before + 1

    redis.start()
    monkeypatch.setattr(rate_limits, "STORE_PAUSE_S", 0)
    limits = sharing(rate_limit_client=3)
    assert [(await ask(limits)).status for _ in range(4)] == [200, 200, 200, 429]


async def test_a_store_that_refuses_us_is_one_that_fails(redis: RedisProcess) -> None:
    limits = limiter(rate_limit_client=3, rate_limit_url=Secret(redis.url.replace("s3cret", "wrong")))
    before = store_failures()
    assert [(await ask(limits)).status for _ in range(5)] == [200] * 5
    assert store_failures() == before + 1
    await limits.close()


async def test_a_store_that_hangs_holds_nobody_up_and_is_believed_again_later(
    sharing: Process, redis: RedisProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = sharing(rate_limit_client=3)
    assert (await ask(limits)).status == 200
    redis.send(signal.SIGSTOP)
    before = store_failures()
    answers = await asyncio.gather(*(ask(limits) for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
    assert store_failures() == before + 1

    redis.send(signal.SIGCONT)
    monkeypatch.setattr(limits, "_store_rests_until", 0.0)
    assert [(await ask(limits)).status for _ in range(3)] == [200, 200, 429]


@pytest.fixture
def api_with(shared_database: Database, tmp_path: Path) -> Iterator[Callable[..., ApiProcess]]:
    """Starts the API with other settings."""
    processes: list[ApiProcess] = []

    def start(**settings: str) -> ApiProcess:
        processes.append(ApiProcess(shared_database, tmp_path, **settings))
        processes[-1].start()
        return processes[-1]

    yield start
    for process in processes:
        process.end()


async def test_answers_of_all_kinds_say_what_is_left_until_it_is_used_up(
    api_with: Callable[..., ApiProcess], shared_database: Database, credentials: ClientCredentials
) -> None:
    api = api_with(RATE_LIMIT_CLIENT="6", RATE_LIMIT_TENANT="100", RATE_LIMIT_WINDOW_S=HOUR)
    async with client_of(api.base_url, credentials) as client:
        answers = [
            await client.transfer("k"),
            await client.transfer("k", amount="2.00"),
            await client.get("/v1/accounts/nobody"),
            await client.get("/v1/accounts"),
        ]
        assert [answer.status for answer in answers] == [201, 422, 404, 200]
        for left, answer in zip((3, 2, 1, 0), answers, strict=True):
            assert answer.headers["RateLimit-Policy"] == '"client";q=6;w=3600, "tenant";q=100;w=3600'
            assert answer.headers["RateLimit"].startswith(f'"client";r={left};t=')
        refused = await client.transfer("l")
        assert refused.told == (429, "rate_limited")
        assert 3_500 < int(refused.headers["Retry-After"]) <= 3_601
        assert refused.headers["Content-Type"] == "application/problem+json"

        metrics = (await client.get("/metrics")).body
        assert 'ledgerx_rate_limited_total{policy="client"} 1.0' in metrics
        assert 'ledgerx_http_request_seconds_count{method="POST",route="/v1/transactions",status="429"} 1.0' in metrics
    async with client_of(api.base_url, await new_tenant(shared_database)) as stranger:
        assert (await stranger.transfer("k")).status == 201


async def test_log_ins_are_limited_by_the_address_that_trusted_proxies_tell(
    api_with: Callable[..., ApiProcess], credentials: ClientCredentials
) -> None:
    async def log_in(session: aiohttp.ClientSession, headers: Mapping[str, str]) -> Answer:
        form = b"grant_type=client_credentials&client_id=%b&client_secret=wrong" % credentials.client_id.encode()
        form_type = {"Content-Type": "application/x-www-form-urlencoded"}
        return await LedgerClient(session).request("POST", LOGIN, body=form, headers=form_type | dict(headers))

    behind_proxy = api_with(RATE_LIMIT_ADDRESS="2", RATE_LIMIT_WINDOW_S=HOUR, TRUSTED_PROXIES="127.0.0.0/8, ::1")
    open_to_all = api_with(RATE_LIMIT_ADDRESS="2", RATE_LIMIT_WINDOW_S=HOUR)
    forged = [{"X-Forwarded-For": f"198.51.100.{n}, 203.0.113.9"} for n in range(3)]
    async with (
        aiohttp.ClientSession(behind_proxy.base_url) as session,
        aiohttp.ClientSession(open_to_all.base_url) as direct,
    ):
        assert [(await log_in(session, one)).status for one in forged] == [401, 401, 429]
        assert (await log_in(session, {"X-Forwarded-For": "203.0.113.10"})).status == 401
        assert [(await log_in(direct, one)).status for one in forged] == [401, 401, 429]
        assert (await LedgerClient(direct).get("/livez")).status == 200


async def test_two_apis_share_their_limits_and_serve_without_the_store(
    api_with: Callable[..., ApiProcess], redis: RedisProcess, credentials: ClientCredentials
) -> None:
    one, other = (api_with(RATE_LIMIT_URL=redis.url, RATE_LIMIT_CLIENT="4") for _ in range(2))
    async with aiohttp.ClientSession(one.base_url) as session, aiohttp.ClientSession(other.base_url) as another:
        clients = [LedgerClient(session), LedgerClient(another)]
        for client in clients:
            await client.log_in(credentials)
        statuses = [(await client.get("/v1/accounts")).status for _ in range(3) for client in clients]
        assert statuses == [200] * 4 + [429] * 2
        redis.end()
        # Nothing is known here of the window of this client, and nobody answers.
        stranger = LedgerClient(session, one.token(credentials.tenant_id))
        assert {(await stranger.get("/v1/accounts")).status for _ in range(10)} == {200}


async def test_a_tenant_opens_no_more_accounts_than_its_quota(
    api_with: Callable[..., ApiProcess], shared_database: Database, credentials: ClientCredentials
) -> None:
    api = api_with(MAX_ACCOUNTS="3")
    async with client_of(api.base_url, credentials) as client:
        opened = await asyncio.gather(*(client.open_account(f"more:{n}") for n in range(5)))
        assert sorted(answer.status for answer in opened) == [201] + [409] * 4
        assert (await client.open_account("one-more")).told == (409, "too_many_accounts")
    async with client_of(api.base_url, await new_tenant(shared_database)) as stranger:
        assert (await stranger.open_account("more")).status == 201
