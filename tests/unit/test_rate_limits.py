"""Rate limits with the counts in this process: who pays, what answers say, and when it ends."""

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar, Request, post
from litestar.types import ASGIApp, Scope

from ledgerx.errors import ConfigurationError, LedgerError, RateLimited, TooCostly
from ledgerx.settings import Secret, load
from ledgerx_api import problems, rate_limits
from ledgerx_api.settings import ApiSettings
from ledgerx_api.tokens import Principal
from tests.limited_requests import ALICE, ALICES_NEIGHBOUR, STRANGER, ask, call, limiter, scope_of
from tests.unit.memory_ledger import NOON


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


async def test_an_answer_says_the_policies_and_what_is_left(clock: time_machine.Traveller) -> None:
    limits = limiter(rate_limit_tenant=5_000, rate_limit_client=3, rate_limit_window_s=10)
    first = await ask(limits)
    assert first.headers == {
        "x-own": "kept",
        "ratelimit-policy": '"client";q=3;w=10, "tenant";q=5000;w=10',
        "ratelimit": '"client";r=2;t=10, "tenant";r=4999;t=10',
    }
    clock.shift(3.5)
    assert (await ask(limits)).headers["ratelimit"] == '"client";r=1;t=7, "tenant";r=4998;t=7'


async def test_what_is_too_much_is_a_problem_that_says_when_to_come_again(clock: time_machine.Traveller) -> None:
    limits = limiter(rate_limit_client=2, rate_limit_window_s=10)
    assert [(await ask(limits)).status for _ in range(2)] == [200, 200]
    clock.shift(4)
    refused = await ask(limits)
    assert refused.status == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "6"
    assert refused.headers["ratelimit"] == '"client";r=0;t=6'
    assert refused.headers["ratelimit-policy"] == '"client";q=2;w=10'
    problem = msgspec.json.decode(refused.body)
    assert (problem["code"], problem["policy"]) == ("rate_limited", "client")


async def test_after_the_window_there_is_all_of_it_again(clock: time_machine.Traveller) -> None:
    limits = limiter(rate_limit_client=2, rate_limit_tenant=9_000, rate_limit_window_s=10)
    for _ in range(3):
        assert [(await ask(limits)).status for _ in range(3)] == [200, 200, 429]
        clock.shift(9.9)
        assert (await ask(limits)).status == 429
        clock.shift(0.2)


async def test_nothing_is_carried_from_one_window_to_the_next(clock: time_machine.Traveller) -> None:
    limits = limiter(rate_limit_client=5_000)
    for _ in range(3):
        assert (await ask(limits)).headers["ratelimit"] == '"client";r=4999;t=60'
        clock.shift(61)


async def test_tenants_and_clients_pay_apart_from_each_other(clock: time_machine.Traveller) -> None:
    limits = limiter(rate_limit_client=2, rate_limit_tenant=3)
    assert [(await ask(limits, ALICE)).status for _ in range(3)] == [200, 200, 429]
    assert [(await ask(limits, ALICES_NEIGHBOUR)).status for _ in range(2)] == [200, 429]
    # The same actor of another tenant is another client.
    assert [(await ask(limits, STRANGER)).status for _ in range(3)] == [200, 200, 429]


async def test_a_refusal_costs_nothing(clock: time_machine.Traveller) -> None:
    limits = limiter(rate_limit_client=10, rate_limit_tenant=12)
    assert [(await ask(limits, ALICE)).status for _ in range(3)] == [200] * 3
    with pytest.raises(RateLimited):
        await ask(limits, ALICE, transactions=9)
    # The request itself had been paid for.
    assert (await ask(limits, ALICE)).headers["ratelimit"] == '"client";r=5;t=60, "tenant";r=7;t=60'
    with pytest.raises(RateLimited):
        await ask(limits, ALICES_NEIGHBOUR, transactions=8)
    assert (await ask(limits, ALICES_NEIGHBOUR)).headers["ratelimit"] == '"client";r=8;t=60, "tenant";r=5;t=60'


async def test_addresses_pay_for_log_ins_only(clock: time_machine.Traveller) -> None:
    limits = limiter(rate_limit_address=2)
    login = "/v1/auth/token"
    assert [(await ask(limits, None, login)).status for _ in range(3)] == [200, 200, 429]
    assert (await ask(limits, None, login, peer="192.0.2.2")).status == 200
    elsewhere = await ask(limits, None, "/livez")
    assert elsewhere.headers == {"x-own": "kept"}
    assert (await ask(limits, ALICE)).headers == {"x-own": "kept"}


async def test_a_route_behind_the_log_in_pays_for_its_address_too(clock: time_machine.Traveller) -> None:
    limits = limiter(rate_limit_address=2, rate_limit_client=5)
    answer = await ask(limits, ALICE, "/v1/auth/logout")
    assert answer.headers["ratelimit"] == '"client";r=4;t=60, "address";r=1;t=60'


async def test_a_forged_address_buys_no_log_in(clock: time_machine.Traveller) -> None:
    limits = limiter("10.0.0.0/8", rate_limit_address=2)
    login = "/v1/auth/token"
    direct = [await ask(limits, None, login, headers={"x-forwarded-for": f"198.51.100.{n}"}) for n in range(3)]
    assert [answer.status for answer in direct] == [200, 200, 429]
    proxied = [
        await ask(limits, None, login, peer="10.0.0.1", headers={"x-forwarded-for": f"198.51.100.{n}, 203.0.113.9"})
        for n in range(3)
    ]
    assert [answer.status for answer in proxied] == [200, 200, 429]
    other = await ask(limits, None, login, peer="10.0.0.1", headers={"x-forwarded-for": "203.0.113.10"})
    assert other.status == 200


async def test_an_ipv6_site_is_one_address(clock: time_machine.Traveller) -> None:
    limits = limiter(rate_limit_address=2)
    statuses = [(await ask(limits, None, "/v1/auth/token", peer=f"2001:db8::{n}")).status for n in range(1, 4)]
    assert statuses == [200, 200, 429]


async def test_a_batch_costs_its_transactions(clock: time_machine.Traveller) -> None:
    limits = limiter(rate_limit_client=20_000, rate_limit_tenant=30_000)
    answer = await ask(limits, transactions=10_000)
    assert answer.headers["ratelimit"] == '"client";r=10000;t=60, "tenant";r=20000;t=60'
    assert (await ask(limits, transactions=10_000)).headers["ratelimit"].startswith('"client";r=0;')
    assert (await ask(limits)).status == 429
    clock.shift(61)
    assert (await ask(limits, transactions=20_000)).status == 200


async def test_what_no_window_allows_is_not_told_to_wait(clock: time_machine.Traveller) -> None:
    limits = limiter(rate_limit_client=9_999, rate_limit_tenant=20_000)
    with pytest.raises(TooCostly) as refused:
        await ask(limits, transactions=10_000)
    assert refused.value.status == 422
    assert refused.value.extra == {"policy": "client", "limit": 9_999}
    assert (await ask(limits, transactions=9_998)).headers["ratelimit"].startswith('"client";r=0;')


@pytest.mark.parametrize(
    ("transactions", "status", "code", "left"),
    [(6, 201, None, 3), (9, 201, None, 0), (10, 429, "rate_limited", 8), (11, 422, "too_costly", 8)],
)
async def test_a_route_that_charges_answers_with_the_headers_too(
    clock: time_machine.Traveller, transactions: int, status: int, code: str | None, left: int
) -> None:
    limits = limiter(rate_limit_client=10)
    await ask(limits)

    @post("/batch")
    async def batch(request: Request[Any, Any, Any]) -> None:
        await limits.charge(request, transactions)

    def logged_in(app: ASGIApp) -> ASGIApp:
        async def middleware(scope: Scope, receive: Any, send: Any) -> None:
            scope["user"] = ALICE
            await app(scope, receive, send)

        return middleware

    app = Litestar(
        [batch],
        middleware=[logged_in, limits.limited],
        exception_handlers={LedgerError: problems.answer},
        openapi_config=None,
        logging_config=None,
    )
    answer = await call(cast("ASGIApp", app), scope_of(None, "/batch"))
    assert answer.status == status
    assert answer.headers["ratelimit"] == f'"client";r={left};t=60'
    assert ("retry-after" in answer.headers) == (status == 429)
    assert code is None or msgspec.json.decode(answer.body)["code"] == code


async def test_requests_side_by_side_spend_no_more_than_there_is(clock: time_machine.Traveller) -> None:
    limits = limiter(rate_limit_client=2_500, rate_limit_tenant=100_000)
    answers = await asyncio.gather(*(ask(limits) for _ in range(3_000)))
    assert sum(answer.status == 200 for answer in answers) == 2_500


@given(st.integers(1, 5_000), st.lists(st.tuples(st.sampled_from([ALICE, ALICES_NEIGHBOUR]), st.integers(1, 2_000))))
def test_a_window_grants_exactly_its_quota(quota: int, costs: list[tuple[Principal, int]]) -> None:
    async def spend() -> None:
        limits = limiter(rate_limit_client=quota, rate_limit_tenant=2 * quota)
        left = {ALICE: quota, ALICES_NEIGHBOUR: quota}
        for principal, cost in costs:
            request: Request[Any, Any, Any] = Request(cast("Any", scope_of(principal, "/")))
            try:
                await limits.charge(request, cost + 1)
            except TooCostly:
                assert cost + 1 > quota
            except RateLimited:
                assert cost > left[principal]
            else:
                left[principal] -= cost
                assert left[principal] >= 0

    with time_machine.travel(NOON, tick=False):
        asyncio.run(spend())


async def test_who_is_forgotten_here_is_still_known_to_the_store(
    clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limits, "_REMEMBERED", 2)
    limits = limiter(rate_limit_address=1)
    peers = [f"192.0.2.{n}" for n in range(5)]
    for status in (200, 429):
        assert {(await ask(limits, None, "/v1/auth/token", peer=peer)).status for peer in peers} == {status}


async def test_without_limits_nothing_is_said() -> None:
    assert (await ask(limiter(), transactions=10_000)).headers == {"x-own": "kept"}


@pytest.mark.parametrize(
    "url",
    ["memcached://h:1", "h:6379", "postgresql://u:s3cret@h/d", "valkey://:s3cret@h", "redis://:s3cret@h:port"],
)
def test_an_unusable_store_is_named_and_its_password_is_not(url: str) -> None:
    with pytest.raises(ConfigurationError, match="LEDGERX_RATE_LIMIT_URL") as caught:
        limiter(rate_limit_url=Secret(url))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("variable", ["RATE_LIMIT_TENANT", "RATE_LIMIT_WINDOW_S", "MAX_ACCOUNTS"])
def test_a_limit_is_not_negative(variable: str) -> None:
    environ = {"LEDGERX_DATABASE_URL": "", "LEDGERX_KEYS": "", f"LEDGERX_{variable}": "-1"}
    with pytest.raises(ConfigurationError, match=f"LEDGERX_{variable}"):
        load(ApiSettings, environ)
