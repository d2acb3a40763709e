"""Lists with filters over HTTP, against the same filters tried on everything."""

import asyncio
import itertools
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledgerx import database as db
from ledgerx import search
from ledgerx.filters import TransactionFilters
from ledgerx.journal import Entry
from ledgerx.logins import Database
from ledgerx.reading import NEWEST
from ledgerx.search import find_transactions
from ledgerx.tenancy import ClientCredentials
from tests.integration.ledger_client import LedgerClient

Item = dict[str, Any]


async def listed(client: LedgerClient, path: str, limit: int = 3, **filters: Any) -> list[Item]:
    """All pages of a list; the filters are sent once, the cursors carry them."""
    page = (await client.get(path, limit=limit, **filters)).body
    items = list(page["items"])
    while page["next_cursor"] is not None:
        page = (await client.get(path, cursor=page["next_cursor"])).body
        assert len(page["items"]) <= limit
        items += page["items"]
    return items


@pytest.fixture
async def shop(client: LedgerClient) -> list[Item]:
    """Some 60 transactions of every sort, newest first."""
    for code in ("shops:1", "shops:1:till", "shops:2", "shops10", "shops:1-a"):
        await client.open_account(code)
    await client.open_account("yen", asset="JPY")
    await client.open_account("yen:bank", "asset", asset="JPY")
    credited = ["user", "shops:1", "shops:1:till", "shops:2", "shops10", "shops:1-a"]
    for number in range(60):
        fields: Item = {"credit": credited[number % 6], "amount": f"{number + 1}.50"}
        if number % 10 == 9:
            fields |= {"credit": "yen", "debit": "yen:bank", "amount": f"{number + 1}"}
        if number % 3 == 0:
            fields["category"] = ["food", "rent"][number % 2]
        if number % 4 == 0:
            fields["reference"] = f"wire {number % 8}"
        if number % 5 == 0:
            fields["metadata"] = {"order": str(number % 10), "n": number % 10, "vip": number % 2 == 0, "deep": {"a": 1}}
        if number % 7 == 0:
            fields["effective_at"] = f"2026-01-{1 + number // 7:02}T00:00:00Z"
        assert (await client.transfer(f"{number}", **fields)).status == 201
    return await listed(client, "/v1/transactions", 500)


def has_posting(item: Item, fits: Callable[[Item], bool]) -> bool:
    return any(fits(line) for line in item["postings"])


def below_shops_1(line: Item) -> bool:
    code: str = line["account"]
    return code == "shops:1" or code.startswith("shops:1:")


FILTERS: list[tuple[Item, Callable[[Item], bool]]] = [
    ({"account": "shops:2"}, lambda item: has_posting(item, lambda line: line["account"] == "shops:2")),
    ({"prefix": "shops:1"}, lambda item: has_posting(item, below_shops_1)),
    ({"category": "food"}, lambda item: item["category"] == "food"),
    ({"kind": "post"}, lambda item: item["kind"] == "post"),
    ({"reference": "wire 4"}, lambda item: item["reference"] == "wire 4"),
    ({"metadata": '{"order": "5", "vip": false}'}, lambda item: bool(item["metadata"] and item["metadata"]["n"] == 5)),
    ({"metadata": '{"n":0}'}, lambda item: bool(item["metadata"] and item["metadata"]["n"] == 0)),
    (
        {"effective_from": "2026-01-03T00:00:00Z", "effective_to": "2026-01-06T00:00:00Z"},
        lambda item: "2026-01-03" <= item["effective_at"] < "2026-01-06",
    ),
    (
        {"amount_from": "10", "amount_to": "20.50"},
        lambda item: has_posting(item, lambda line: 10 <= Decimal(line["amount"]) <= Decimal("20.5")),
    ),
]


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_any_filters_together_find_what_fits_all_of_them(
    client: LedgerClient, shop: list[Item], number: int
) -> None:
    for chosen in itertools.combinations(FILTERS, number):
        asked = {name: value for filters, _ in chosen for name, value in filters.items()}
        if sum(len(filters) for filters, _ in chosen) > len(asked) or {"account", "prefix"} <= asked.keys():
            continue
        expected = [item["id"] for item in shop if all(fits(item) for _, fits in chosen)]
        found = await listed(client, "/v1/transactions", 7, **asked)
        assert [item["id"] for item in found] == expected, asked


async def test_a_recorded_range_is_from_its_first_moment_to_before_its_last(
    client: LedgerClient, shop: list[Item]
) -> None:
    times = sorted({item["recorded_at"] for item in shop})
    begin, end = times[10], times[40]
    found = await listed(client, "/v1/transactions", 10, recorded_from=begin, recorded_to=end)
    assert [item["id"] for item in found] == [item["id"] for item in shop if begin <= item["recorded_at"] < end]
    later = (datetime.fromisoformat(times[-1]) + timedelta(microseconds=1)).isoformat().replace("+00:00", "Z")
    assert await listed(client, "/v1/transactions", recorded_from=later) == []
    assert len(await listed(client, "/v1/transactions", recorded_from=times[-1])) >= 1
    assert await listed(client, "/v1/transactions", recorded_to=times[0]) == []


async def test_a_page_looks_at_no_more_than_its_share_and_the_next_goes_on(
    shared_database: Database, client: LedgerClient, credentials: ClientCredentials, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.gather(*(client.transfer(f"{n}", "2.00" if n == 3 else "1.00") for n in range(50)))
    monkeypatch.setattr(search, "LOOKS", 10)
    filters = TransactionFilters(amount_from="2")
    async with db.pool(shared_database.api_url, application_name="test", max_size=1) as pool:
        found: list[Entry] = []
        pages = 0
        before: int | None = NEWEST[0]
        while before is not None and pages < 20:
            page = await find_transactions(
                pool, credentials.tenant_id, filters, confined_to=None, before=before, limit=2
            )
            found += page.items
            before, pages = page.following, pages + 1
    assert [entry.postings[0].amount for entry in found] == [200]
    assert pages >= 52 // 13


async def test_filtered_pages_neither_skip_nor_repeat_while_others_write(client: LedgerClient) -> None:
    await asyncio.gather(*(client.transfer(f"{n}", category="a" if n % 3 else "b") for n in range(60)))
    before = [item["id"] for item in await listed(client, "/v1/transactions", 500, category="a")]
    page = (await client.get("/v1/transactions", limit=4, category="a")).body
    seen = [item["id"] for item in page["items"]]
    while page["next_cursor"] is not None:
        await client.transfer(f"meanwhile {len(seen)}", category="a")
        page = (await client.get("/v1/transactions", cursor=page["next_cursor"])).body
        seen += [item["id"] for item in page["items"]]
    assert seen == before


async def test_accounts_are_found_by_any_filters(client: LedgerClient) -> None:
    for number in range(30):
        kind, asset = ["liability", "asset", "expense"][number % 3], ["USD", "JPY"][number % 2]
        code = ["users:1", "users:1:b", "users2", "users:2"][number % 4] + f":{number}" * (number > 3)
        await client.open_account(code, kind, asset=asset, metadata={"tier": number % 5, "name": "a" * number or "x"})
    everything = await listed(client, "/v1/accounts", 500)
    assert [item["code"] for item in everything] == sorted(item["code"] for item in everything)
    checks: list[tuple[Item, Callable[[Item], bool]]] = [
        ({"prefix": "users:1"}, lambda item: item["code"] == "users:1" or item["code"].startswith("users:1:")),
        ({"prefix": "users:1:"}, lambda item: item["code"].startswith("users:1:")),
        ({"type": "expense"}, lambda item: item["type"] == "expense"),
        ({"asset": "JPY"}, lambda item: item["asset"] == "JPY"),
        ({"status": "open"}, lambda item: True),
        ({"status": "closed"}, lambda item: False),
        ({"metadata": '{"tier":3}'}, lambda item: bool(item["metadata"] and item["metadata"]["tier"] == 3)),
    ]
    for chosen in itertools.chain(itertools.combinations(checks, 1), itertools.combinations(checks, 2)):
        asked = {name: value for filters, _ in chosen for name, value in filters.items()}
        if len(asked) < len(chosen):
            continue
        found = await listed(client, "/v1/accounts", 4, **asked)
        assert found == [item for item in everything if all(fits(item) for _, fits in chosen)], asked


@pytest.mark.parametrize(
    ("path", "query", "told"),
    [
        ("/v1/transactions", {"account": "a", "prefix": "b"}, (422, "invalid_field")),
        ("/v1/transactions", {"account": "a b"}, (422, "invalid_field")),
        ("/v1/transactions", {"category": ""}, (422, "invalid_field")),
        ("/v1/transactions", {"category": "\0"}, (422, "invalid_field")),
        ("/v1/transactions", {"reference": "x" * 256}, (422, "invalid_field")),
        ("/v1/transactions", {"kind": "gift"}, (422, "invalid_field")),
        ("/v1/transactions", {"amount_from": "1e3"}, (422, "invalid_field")),
        ("/v1/transactions", {"amount_to": "-1"}, (422, "invalid_field")),
        ("/v1/transactions", {"recorded_from": "yesterday"}, (422, "invalid_field")),
        ("/v1/transactions", {"effective_to": "2026-01-01T00:00:00"}, (422, "invalid_field")),
        ("/v1/transactions", {"metadata": "order"}, (422, "invalid_field")),
        ("/v1/transactions", {"metadata": "[]"}, (422, "invalid_field")),
        ("/v1/transactions", {"metadata": "{}"}, (422, "invalid_field")),
        ("/v1/transactions", {"metadata": '{"a":{}}'}, (422, "invalid_field")),
        ("/v1/transactions", {"metadata": '{"a":1.5}'}, (422, "invalid_field")),
        ("/v1/transactions", {"metadata": json.dumps({"a": "x" * 300})}, (422, "invalid_field")),
        ("/v1/accounts", {"prefix": "%"}, (422, "invalid_field")),
        ("/v1/accounts", {"type": "wallet"}, (422, "invalid_field")),
        ("/v1/accounts", {"status": "gone"}, (422, "invalid_field")),
        ("/v1/accounts", {"metadata": "1"}, (422, "invalid_field")),
    ],
)
async def test_a_filter_that_makes_no_sense_is_told(
    client: LedgerClient, path: str, query: dict[str, str], told: tuple[int, str]
) -> None:
    assert (await client.get(path, **query)).told == told


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
async def test_the_ends_of_time_are_times_like_others(client: LedgerClient, moment: str) -> None:
    await client.transfer("k")
    for name in ("recorded_from", "recorded_to", "effective_from", "effective_to"):
        found = await listed(client, "/v1/transactions", limit=5, **{name: moment})
        assert len(found) == (name.endswith("from") == moment.startswith("0"))


async def test_a_cursor_keeps_its_filters_and_takes_no_others(client: LedgerClient) -> None:
    for number in range(3):
        await client.transfer(f"{number}", category="a")
    cursor = (await client.get("/v1/transactions", limit=1, category="a")).body["next_cursor"]
    assert (await client.get("/v1/transactions", cursor=cursor, category="a")).status == 200
    assert (await client.get("/v1/transactions", cursor=cursor, category="b")).told == (400, "invalid_cursor")
    assert (await client.get("/v1/accounts", cursor=cursor)).told == (400, "invalid_cursor")
