"""Assets, categories and settings over HTTP."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from ledgerx.roles import SCOPES, Role
from ledgerx.tenancy import ClientCredentials
from ledgerx_api.tokens import Principal
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import Answer, LedgerClient

ASSETS, CATEGORIES, SETTINGS = "/v1/assets", "/v1/categories", "/v1/settings"


@pytest.fixture
async def owner(api: ApiProcess, credentials: ClientCredentials, client: LedgerClient) -> AsyncIterator[LedgerClient]:
    """The client of the tenant, with the token of an owner."""
    person = Principal(credentials.tenant_id, f"user:{uuid4()}", SCOPES[Role.OWNER], Role.OWNER)
    before, client.token = client.token, api.sign(person)
    yield client
    client.token = before


async def post(client: LedgerClient, path: str, *, key: str | None = None, **body: Any) -> Answer:
    return await client.request("POST", path, body=body, key=key)


async def change(client: LedgerClient, path: str, *, if_match: str | None = None, **body: Any) -> Answer:
    headers = {} if if_match is None else {"If-Match": if_match}
    return await client.request("PATCH", path, body=body, headers=headers)


async def delete(client: LedgerClient, path: str, *, if_match: str | None = None) -> Answer:
    return await client.request("DELETE", path, headers={} if if_match is None else {"If-Match": if_match})


# Assets.


async def test_an_asset_is_registered_shown_renamed_and_deleted(client: LedgerClient) -> None:
    made = await post(client, ASSETS, code="BTC", scale=8, name="Bitcoin")
    assert (made.status, made.headers["ETag"]) == (201, '"3"')
    assert made.body == {"code": "BTC", "scale": 8, "name": "Bitcoin", "registered": True, "version": 3}
    found = await client.get(f"{ASSETS}/BTC")
    assert (found.body, found.headers["ETag"]) == (made.body, '"3"')
    renamed = await change(client, f"{ASSETS}/BTC", name=None)
    assert (renamed.status, renamed.headers["ETag"]) == (200, '"4"')
    assert renamed.body == made.body | {"name": None, "version": 4}
    assert (await delete(client, f"{ASSETS}/BTC", if_match='"3"')).told == (412, "precondition_failed")
    assert (await delete(client, f"{ASSETS}/BTC", if_match='"4"')).status == 204
    for gone in (
        await client.get(f"{ASSETS}/BTC"),
        await change(client, f"{ASSETS}/BTC", name="x"),
        await delete(client, f"{ASSETS}/BTC"),
    ):
        assert gone.told == (404, "not_found")


async def test_currencies_are_known_without_being_registered(client: LedgerClient) -> None:
    yen = await client.get(f"{ASSETS}/JPY")
    assert yen.body == {"code": "JPY", "scale": 0, "name": None, "registered": False, "version": None}
    again = await client.request("GET", f"{ASSETS}/JPY", headers={"If-None-Match": yen.headers["ETag"]})
    assert again.status == 304
    assert (await change(client, f"{ASSETS}/JPY", name="x")).told == (404, "not_found")
    assert (await client.get(f"{ASSETS}/XXX")).told == (404, "not_found")
    await post(client, ASSETS, code="JPY", scale=2)
    assert (await client.get(f"{ASSETS}/JPY")).body["scale"] == 2
    await delete(client, f"{ASSETS}/JPY")
    assert (await client.get(f"{ASSETS}/JPY")).body == yen.body


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"code": "usd"}, (422, "invalid_field")),
        ({"code": ""}, (422, "invalid_field")),
        ({"code": "1A"}, (422, "invalid_field")),
        ({"code": "A."}, (422, "invalid_field")),
        ({"code": "A/B"}, (422, "invalid_field")),
        ({"code": "A\n"}, (422, "invalid_field")),
        ({"code": "A" * 33}, (422, "invalid_field")),
        ({"scale": -1}, (422, "invalid_field")),
        ({"scale": 19}, (422, "invalid_field")),
        ({"scale": 1.5}, (422, "invalid_field")),
        ({"scale": "2"}, (422, "invalid_field")),
        ({"name": ""}, (422, "invalid_field")),
        ({"name": "\0"}, (422, "invalid_field")),
        ({"symbol": "x"}, (422, "invalid_field")),
        ({"code": "USD", "scale": 3}, (409, "asset_in_use")),
        ({"code": "BTC"}, (409, "asset_exists")),
    ],
)
async def test_a_bad_asset_is_told_why_and_not_registered(
    client: LedgerClient, body: dict[str, Any], told: tuple[int, str]
) -> None:
    await post(client, ASSETS, code="BTC", scale=8)
    answer = await client.request("POST", ASSETS, body={"code": "A", "scale": 0} | body)
    assert answer.told == told
    assert await client.head() == 3


@pytest.mark.parametrize("code", ["A", "BTC", "USD-X", "P.T_S", "A" * 32, "XAU"])
async def test_what_may_be_a_code_is_one(client: LedgerClient, code: str) -> None:
    assert (await post(client, ASSETS, code=code, scale=18)).status == 201
    assert (await client.open_account("a", asset=code)).body["scale"] == 18
    assert (await client.get(f"{ASSETS}/{code}")).body["scale"] == 18
    assert (await delete(client, f"{ASSETS}/{code}")).told == (409, "asset_in_use")


async def test_a_key_registers_once(client: LedgerClient) -> None:
    first, again = [await post(client, ASSETS, key="k", code="BTC", scale=8) for _ in range(2)]
    assert first.body == again.body
    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert (await post(client, ASSETS, key="k", code="BTC", scale=7)).told == (422, "idempotency_key_reused")


async def test_every_amount_of_an_asset_has_its_scale(client: LedgerClient) -> None:
    """Postings, balances, limits, statements, summaries, the trial balance, lists and the feed."""
    assert (await post(client, ASSETS, code="WEI", scale=18)).status == 201
    limit = "123456789012.000000000000000001"
    await client.open_account("w:in", asset="WEI", max_balance=limit)
    await client.open_account("w:out", "asset", asset="WEI")
    smallest, amount = "0.000000000000000001", "1.500000000000000000"
    body = {"debit": "w:out", "credit": "w:in", "asset": "WEI"}
    fine = await client.transfer("fine", "0.0000000000000000001", **body)
    assert (fine.told, fine.body["scale"]) == ((422, "too_many_decimals"), 18)
    excess = await client.transfer("excess", "123456789012.000000000000000002", **body)
    assert (excess.told, excess.body["excess"]) == ((422, "limit_exceeded"), smallest)
    made = await client.transfer("k", "1.5", **body, category="c")
    assert [(line["amount"], line["scale"]) for line in made.body["postings"]] == [(amount, 18)] * 2
    assert made.body["balances"]["w:in"]["posted"] == amount
    assert (await client.get("/v1/accounts/w:in")).body["max_balance"] == limit
    balance = (await client.get("/v1/accounts/w:in/balance")).body
    assert (balance["posted"], balance["scale"]) == (amount, 18)
    [posting] = (await client.get("/v1/accounts/w:in/postings")).body["items"]
    assert (posting["amount"], posting["balance"]["posted"]) == (amount, amount)
    times = {"from": "2000-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
    statement = (await client.get("/v1/accounts/w:in/statement", **times)).body
    assert (statement["closing"]["posted"], statement["items"][0]["amount"]) == (amount, amount)
    csv = await client.request("GET", "/v1/accounts/w:in/statement", params=times, headers={"Accept": "text/csv"})
    assert csv.body.count(amount) >= 3
    [total] = (await client.get("/v1/balance", prefix="w:in")).body["items"]
    assert (total["posted"], total["scale"]) == (amount, 18)
    trial = {item["asset"]: item for item in (await client.get("/v1/trial-balance")).body["items"]}
    assert (trial["WEI"]["debits"], trial["WEI"]["scale"]) == (amount, 18)
    days = {"from": made.body["recorded_at"][:10], "to": "2030-01-01", "account": "w:in"}
    [group] = (await client.get("/v1/summary", **days)).body["items"]
    assert (group["credits"], group["scale"]) == (amount, 18)
    for query, found in (({"amount_from": "1.5"}, 1), ({"amount_from": "1.500000000000000001"}, 0)):
        assert len((await client.get("/v1/transactions", **query)).body["items"]) == found
    events = (await client.get("/v1/events")).body["items"]
    assert events[-1]["data"]["postings"][0]["amount"] == amount
    assert events[3]["data"]["account"]["max_balance"] == limit
    unbalanced = {
        "postings": [
            {"account": a, "direction": d, "amount": n}
            for a, d, n in (("w:in", "debit", "1"), ("w:out", "credit", "1.000000000000000001"))
        ]
    }
    told = await client.request("POST", "/v1/transactions", body=unbalanced, key="u")
    assert told.body["difference"] == {"WEI": "-" + smallest}


async def test_assets_are_listed_in_pages(client: LedgerClient) -> None:
    for code in ("BTC", "ZZZ", "A"):
        await post(client, ASSETS, code=code, scale=1)
    seen = [item async for page in client.pages(ASSETS, 7) for item in page]
    codes = [item["code"] for item in seen]
    assert codes == sorted(set(codes))
    assert [item["code"] for item in seen if item["registered"]] == ["A", "BTC", "ZZZ"]
    assert {"EUR", "JPY", "USD"} < set(codes)
    page = (await client.get(ASSETS, registered="true", limit=2)).body
    assert [item["code"] for item in page["items"]] == ["A", "BTC"]
    rest = (await client.get(ASSETS, cursor=page["next_cursor"])).body
    assert ([item["code"] for item in rest["items"]], rest["next_cursor"]) == (["ZZZ"], None)
    others = await client.get(ASSETS, cursor=page["next_cursor"], registered="false")
    assert others.told == (400, "invalid_cursor")


# Categories.


async def test_a_category_is_registered_shown_changed_and_deleted(client: LedgerClient) -> None:
    made = await post(client, CATEGORIES, code="food:fruit", name="Fruit", description="apples and the like")
    assert (made.status, made.headers["ETag"]) == (201, '"3"')
    assert made.body == {
        "code": "food:fruit",
        "name": "Fruit",
        "description": "apples and the like",
        "version": 3,
    }
    assert (await client.get(f"{CATEGORIES}/food:fruit")).body == made.body
    changed = await change(client, f"{CATEGORIES}/food:fruit", if_match='"3"', description=None)
    assert changed.body == made.body | {"description": None, "version": 4}
    stale = await change(client, f"{CATEGORIES}/food:fruit", if_match='"3"', name="x")
    assert (stale.told, stale.body["version"]) == ((412, "precondition_failed"), 4)
    assert (await post(client, CATEGORIES, code="food:fruit")).told == (409, "category_exists")
    assert (await post(client, CATEGORIES, code="food fruit")).told == (422, "invalid_field")
    assert (await delete(client, f"{CATEGORIES}/food:fruit")).status == 204
    assert (await client.get(f"{CATEGORIES}/food:fruit")).told == (404, "not_found")
    assert (await change(client, f"{CATEGORIES}/food:fruit", name="x")).told == (404, "not_found")


async def test_categories_are_listed_by_prefix(client: LedgerClient) -> None:
    for code in ("food", "food:fruit", "food:fruit:apples", "foods", "rent"):
        await post(client, CATEGORIES, code=code)
    page = (await client.get(CATEGORIES, prefix="food", limit=2)).body
    assert [item["code"] for item in page["items"]] == ["food", "food:fruit"]
    rest = (await client.get(CATEGORIES, cursor=page["next_cursor"])).body
    assert ([item["code"] for item in rest["items"]], rest["next_cursor"]) == (["food:fruit:apples"], None)
    assert [item["code"] async for page in client.pages(CATEGORIES, 2) for item in page][-2:] == ["foods", "rent"]


async def test_strict_categories_refuse_what_is_not_registered(owner: LedgerClient) -> None:
    settings = await owner.get(SETTINGS)
    assert (settings.body, settings.headers["ETag"]) == ({"strict_categories": False}, '"0"')
    assert (await owner.transfer("free", category="anything")).status == 201
    await post(owner, CATEGORIES, code="food")
    changed = await change(owner, SETTINGS, if_match='"0"', strict_categories=True)
    assert (changed.status, changed.body, changed.headers["ETag"]) == (200, {"strict_categories": True}, '"5"')
    assert (await change(owner, SETTINGS, if_match='"0"', strict_categories=False)).told == (412, "precondition_failed")
    assert (await change(owner, SETTINGS, strict_categories=None)).told == (422, "invalid_field")

    unknown = await owner.transfer("unknown", category="anything")
    assert (unknown.told, unknown.body["category"]) == ((422, "unknown_category"), "anything")
    held = await owner.transfer("hold", category="anything", kind="hold")
    assert held.told == (422, "unknown_category")
    known = await owner.transfer("known", category="food")
    assert known.status == 201
    path = f"/v1/transactions/{known.body['id']}"
    assert (await change(owner, path, category="anything")).told == (422, "unknown_category")
    assert (await change(owner, path, description="other")).status == 200
    items = [{"debit": "bank", "credit": "user", "amount": "1", "category": category} for category in ("food", "x")]
    batch = await owner.request(
        "POST", "/v1/transactions/batch", body={"transactions": items, "atomic": False}, key="batch"
    )
    assert [result["status"] for result in batch.body["results"]] == [201, 422]

    assert (await delete(owner, f"{CATEGORIES}/food")).status == 204
    assert (await owner.transfer("deleted", category="food")).told == (422, "unknown_category")
    assert (await owner.transfer("known", category="food")).headers["Idempotency-Replayed"] == "true"
    reversed_ = await owner.request("POST", f"{path}/reverse", key="reverse")
    assert (reversed_.status, reversed_.body["category"]) == (201, "food")
    [event] = [one for one in (await owner.get("/v1/events")).body["items"] if one["subject"] == "settings"]
    assert event["data"]["settings"] == {"strict_categories": True}


async def test_settings_are_the_owners(client: LedgerClient) -> None:
    assert (await client.get(SETTINGS)).told == (403, "forbidden")
    assert (await change(client, SETTINGS, strict_categories=True)).told == (403, "forbidden")
