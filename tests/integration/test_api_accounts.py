"""Accounts and lists over HTTP."""

import asyncio
import base64
import json
from itertools import pairwise
from typing import Any

import pytest

from tests.integration.ledger_client import LedgerClient


async def test_an_account_is_opened_and_shown(client: LedgerClient) -> None:
    opened = await client.open_account("a:b:c", "asset", asset="JPY", min_balance="-5", metadata={"k": "v"})
    assert opened.status == 201
    assert opened.body | {"opened_at": ""} == {
        "code": "a:b:c",
        "asset": "JPY",
        "scale": 0,
        "type": "asset",
        "normal_side": "debit",
        "status": "open",
        "min_balance": "-5",
        "max_balance": None,
        "owner": None,
        "metadata": {"k": "v"},
        "opened_at": "",
        "version": 3,
    }
    assert (await client.get("/v1/accounts/a:b:c")).body == opened.body


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"code": "user"}, 409, "account_exists"),
        ({"code": ""}, 422, "invalid_field"),
        ({"code": "a b"}, 422, "invalid_field"),
        ({"code": "a/b"}, 422, "invalid_field"),
        ({"code": "a\n"}, 422, "invalid_field"),
        ({"code": "a\0"}, 422, "invalid_field"),
        ({"code": "\u00e4"}, 422, "invalid_field"),
        ({"code": "a" * 256}, 422, "invalid_field"),
        ({"asset": "XAU"}, 422, "unknown_asset"),
        ({"asset": "U\0"}, 422, "invalid_field"),
        ({"kind": "wallet"}, 422, "invalid_field"),
        ({"min_balance": 0}, 422, "invalid_field"),
        ({"min_balance": "0.001"}, 422, "too_many_decimals"),
        ({"min_balance": "2", "max_balance": "1"}, 422, "invalid_field"),
        ({"min_balance": "1"}, 422, "insufficient_funds"),
        ({"status": "closed"}, 422, "invalid_field"),
        ({"metadata": "text"}, 422, "invalid_field"),
    ],
)
async def test_a_bad_account_is_told_why_and_not_opened(
    client: LedgerClient, fields: dict[str, Any], status: int, code: str
) -> None:
    answer = await client.open_account(**{"code": "new"} | fields)
    assert answer.told == (status, code), answer
    assert await client.head() == 2


async def test_opening_an_account_twice_with_a_key_is_opening_it_once(client: LedgerClient) -> None:
    body = {"code": "new", "asset": "USD", "type": "asset"}
    first, again = [await client.request("POST", "/v1/accounts", body=body, key="k") for _ in range(2)]
    assert (first.status, again.status) == (201, 201)
    assert first.body == again.body


# Lists.


async def test_pages_neither_skip_nor_repeat_while_others_write(client: LedgerClient) -> None:
    await asyncio.gather(*(client.transfer(f"{number}") for number in range(60)))
    before = {item["id"] async for page in client.pages("/v1/transactions", 500) for item in page}
    seen: list[int] = []
    async for page in client.pages("/v1/transactions", 7):
        seen += [item["id"] for item in page]
        await client.transfer(f"meanwhile {len(seen)}")
    assert all(newer > older for newer, older in pairwise(seen))
    assert set(seen) == before


async def test_accounts_are_listed_in_the_order_of_their_codes(client: LedgerClient) -> None:
    for code in ("b", "a", "A", "a:1", "a.1", "z", "a-1"):
        await client.open_account(code)
    seen: list[str] = []
    async for page in client.pages("/v1/accounts", 2):
        seen += [item["code"] for item in page]
        await client.open_account(f"0{len(seen)}")
    assert seen == ["A", "a", "a-1", "a.1", "a:1", "b", "bank", "user", "z"]


@pytest.mark.parametrize("path", ["/v1/accounts", "/v1/transactions", "/v1/accounts/bank/postings"])
@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"cursor": "nonsense"}, (400, "invalid_cursor")),
        ({"cursor": base64.urlsafe_b64encode(b'["/v1/other",5,1]').decode()}, (400, "invalid_cursor")),
        ({"cursor": "x" * 9_000}, (422, "invalid_field")),
        ({"limit": "0"}, (422, "invalid_field")),
        ({"limit": "501"}, (422, "invalid_field")),
        ({"limit": "many"}, (422, "invalid_field")),
    ],
)
async def test_a_list_refuses_what_is_no_page_of_it(
    client: LedgerClient, path: str, query: dict[str, str], told: tuple[int, str]
) -> None:
    assert (await client.get(path, **query)).told == told


@pytest.mark.parametrize(
    ("path", "position"),
    [
        ("/v1/accounts", [{}, "\0"]),
        ("/v1/accounts", [{"prefix": "\0"}, ""]),
        ("/v1/accounts", [{"metadata": "no"}, ""]),
        ("/v1/transactions", [{}, 2**70]),
        ("/v1/transactions", [{}, -1]),
        ("/v1/transactions", [{"account": "\0"}, 9]),
        ("/v1/transactions", [{"account": "a", "prefix": "b"}, 9]),
        ("/v1/transactions", [{"amount_from": "1e999999999"}, 9]),
        ("/v1/transactions", [{"metadata": "no"}, 9]),
        ("/v1/transactions", [{"recorded_from": "2026-01-01T00:00:00"}, 9]),
        ("/v1/accounts/bank/statement", [{}, None]),
        ("/v1/accounts/bank/statement", [{"begin": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"}, 1]),
        ("/v1/accounts/bank/postings", [2**70, 0]),
        ("/v1/accounts/bank/postings", [1, 2**70]),
    ],
)
async def test_a_cursor_made_up_by_a_client_breaks_nothing(client: LedgerClient, path: str, position: Any) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps([path, 5, position]).encode()).decode()
    answer = await client.get(path, cursor=cursor)
    assert answer.status in (200, 400, 422), answer


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/accounts/nobody", 404),
        ("/v1/accounts/nobody/balance", 404),
        ("/v1/accounts/nobody/postings", 404),
        ("/v1/accounts/%00", 400),
        ("/v1/accounts/%ff", 404),
        ("/v1/accounts/" + "a" * 300, 422),
        ("/v1/transactions/1", 404),
        ("/v1/transactions/999", 404),
        ("/v1/transactions/0", 422),
        (f"/v1/transactions/{2**63}", 422),
        ("/v1/transactions/one", 404),
        ("/v1/nothing", 404),
        ("/nothing", 404),
    ],
)
async def test_what_is_not_there_is_told_as_a_problem(client: LedgerClient, path: str, status: int) -> None:
    answer = await client.get(path)
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_wrong_method_is_told_as_a_problem(client: LedgerClient) -> None:
    answer = await client.request("DELETE", "/v1/transactions")
    assert answer.told == (405, "method_not_allowed")
    assert answer.headers["Allow"]
