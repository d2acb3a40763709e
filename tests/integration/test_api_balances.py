"""Balances over HTTP: at a time, of many accounts, of the whole ledger; and reads that were read before."""

import asyncio
from typing import Any

import pytest

from tests.integration.ledger_client import LedgerClient

BALANCE = "/v1/accounts/bank/balance"


async def test_a_balance_at_a_time_counts_what_was_known_and_in_effect(client: LedgerClient) -> None:
    await client.transfer("plain", "1.00")
    back = (await client.transfer("back", "2.00", effective_at="2020-01-01T00:00:00Z")).body
    ahead = (await client.transfer("ahead", "4.00", effective_at="2090-01-01T00:00:00Z")).body

    async def posted(**query: str) -> tuple[str, int]:
        body = (await client.get(BALANCE, **query)).body
        return body["posted"], body["sequence"]

    assert await posted() == ("7.00", 5)
    assert await posted(as_of=back["recorded_at"]) == ("3.00", 4)
    assert await posted(effective_at=ahead["recorded_at"]) == ("3.00", 5)
    assert await posted(effective_at="2019-12-31T23:59:59.999999Z") == ("0.00", 5)
    assert await posted(effective_at="2020-01-01T00:00:00Z") == ("2.00", 5)
    assert await posted(effective_at="2020-01-01T00:00:00Z", as_of="2020-01-01T00:00:00Z") == ("0.00", 0)
    assert await posted(effective_at="2090-01-01T00:00:00Z", as_of=back["recorded_at"]) == ("3.00", 4)
    assert await posted(effective_at="9999-12-31T23:59:59Z") == ("7.00", 5)
    answer = (await client.get(BALANCE, as_of="0001-01-01T01:00:00+01:00")).body
    assert (answer["posted"], answer["recorded_at"], answer["as_of"]) == ("0.00", None, "0001-01-01T00:00:00Z")


async def test_a_balance_at_a_time_is_right_at_once_after_a_write(client: LedgerClient) -> None:
    total = 0
    for number in range(20):
        recorded = (await client.transfer(f"{number}", f"{number + 1}.00")).body
        total += number + 1
        for query in ({"as_of": recorded["recorded_at"]}, {"effective_at": recorded["effective_at"]}):
            body = (await client.get(BALANCE, **query)).body
            assert (body["posted"], body["sequence"]) == (f"{total}.00", recorded["id"])


@pytest.mark.parametrize(
    ("path", "query", "told"),
    [
        (BALANCE, {"as_of": "2026-01-01"}, (422, "invalid_field")),
        (BALANCE, {"as_of": "2026-01-01T00:00:00"}, (422, "invalid_field")),
        (BALANCE, {"effective_at": "never"}, (422, "invalid_field")),
        (BALANCE, {"effective_at": "0001-01-01T00:00:00+01:00"}, (422, "invalid_field")),
        ("/v1/accounts/nobody/balance", {"as_of": "2026-01-01T00:00:00Z"}, (404, "not_found")),
        ("/v1/balance", {}, (422, "invalid_field")),
        ("/v1/balance", {"account": "a", "prefix": "b"}, (422, "invalid_field")),
        ("/v1/balance", {"prefix": "a%"}, (422, "invalid_field")),
        ("/v1/balance", {"account": "nobody"}, (404, "not_found")),
    ],
)
async def test_a_balance_that_cannot_be_is_told(
    client: LedgerClient, path: str, query: dict[str, str], told: tuple[int, str]
) -> None:
    assert (await client.get(path, **query)).told == told


async def test_a_prefix_is_an_account_and_all_below_it(client: LedgerClient) -> None:
    for code, asset in (("p", "USD"), ("p:1", "USD"), ("p:1:x", "USD"), ("p2", "USD"), ("p-1", "USD"), ("p:y", "JPY")):
        await client.open_account(code, asset=asset)
    await client.open_account("p:debit", "asset")
    await client.open_account("yen", "asset", asset="JPY")
    for number, code in enumerate(("p", "p:1", "p:1:x", "p2", "p-1")):
        await client.transfer(code, f"{10**number}.00", credit=code)
    await client.transfer("y", "7", debit="yen", credit="p:y")

    async def posted(**query: str) -> list[tuple[str, str, str, int]]:
        body = (await client.get("/v1/balance", **query)).body
        return [(one["asset"], one["normal_side"], one["posted"], one["accounts"]) for one in body["items"]]

    assert await posted(prefix="p") == [
        ("JPY", "credit", "7", 1),
        ("USD", "debit", "0.00", 1),
        ("USD", "credit", "111.00", 3),
    ]
    assert ("USD", "credit", "110.00", 2) in await posted(prefix="p:")
    assert await posted(prefix="p:1") == [("USD", "credit", "110.00", 2)]
    assert await posted(account="p") == [("USD", "credit", "1.00", 1)]
    assert await posted(prefix="q") == []


async def test_the_trial_balance_balances_at_every_moment(client: LedgerClient) -> None:
    await client.open_account("fees", "revenue")
    await client.open_account("yen", asset="JPY")
    await client.open_account("yen:bank", "asset", asset="JPY")

    async def trial() -> Any:
        return (await client.get("/v1/trial-balance")).body

    posts = [client.transfer(f"{n}", f"{n}.00", credit=["user", "fees"][n % 2]) for n in range(1, 31)]
    yen = client.transfer("y", "5", debit="yen:bank", credit="yen")
    answers = await asyncio.gather(*(trial() for _ in range(10)), *posts, yen)
    for answer in answers[:10]:
        for asset in answer["items"]:
            assert asset["debits"] == asset["credits"]
    last = await trial()
    assert last["sequence"] == 5 + 31
    assert [one["asset"] for one in last["items"]] == ["JPY", "USD"]
    dollars = last["items"][1]
    assert dollars["debits"] == f"{sum(range(1, 31))}.00"
    assert dollars["types"] == [
        {"type": "asset", "accounts": 1, "debits": "465.00", "credits": "0.00"},
        {"type": "liability", "accounts": 1, "debits": "0.00", "credits": "240.00"},
        {"type": "revenue", "accounts": 1, "debits": "0.00", "credits": "225.00"},
    ]


@pytest.mark.parametrize("path", ["/v1/accounts", "/v1/accounts/bank", "/v1/transactions", "/v1/transactions/3"])
async def test_who_has_an_answer_already_is_told_so(client: LedgerClient, path: str) -> None:
    await client.transfer("k")
    first = await client.get(path)
    tag = first.headers["ETag"]
    for header in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await client.request("GET", path, headers={"If-None-Match": header})
        assert (again.status, again.body, again.headers["ETag"]) == (304, "", tag)
    for header in ('"other"', tag.strip('"'), ""):
        again = await client.request("GET", path, headers={"If-None-Match": header})
        assert (again.status, again.body, again.headers["ETag"]) == (200, first.body, tag)


async def test_a_list_that_changed_has_another_tag(client: LedgerClient) -> None:
    await client.transfer("k")
    tag = (await client.get("/v1/transactions")).headers["ETag"]
    await client.transfer("l")
    again = await client.request("GET", "/v1/transactions", headers={"If-None-Match": tag})
    assert again.status == 200
    assert again.headers["ETag"] != tag
