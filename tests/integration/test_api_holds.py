import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.ledger_client import Answer, LedgerClient

TRANSACTIONS = "/v1/transactions"


async def post(client: LedgerClient, key: str, path: str = "", **body: Any) -> Answer:
    return await client.request("POST", f"{TRANSACTIONS}{path}", body=body or None, key=key)


async def transfer(client: LedgerClient, key: str, amount: str, **more: Any) -> Answer:
    return await post(client, key, debit="user", credit="bank", amount=amount, **more)


@pytest.fixture
async def funded(client: LedgerClient) -> LedgerClient:
    """A client whose user has 100 and cannot go below zero."""
    answer = await post(client, "fund", debit="bank", credit="user", amount="100")
    assert answer.status == 201
    return client


async def balance(client: LedgerClient, code: str = "user") -> tuple[str, str, str, str]:
    body = (await client.get(f"/v1/accounts/{code}/balance")).body
    return body["posted"], body["pending_in"], body["pending_out"], body["available"]


async def test_a_hold_reserves_until_it_is_captured(funded: LedgerClient) -> None:
    held = await transfer(funded, "h", "30", kind="hold", category="card")
    assert held.status == 201
    assert [line["layer"] for line in held.body["postings"]] == ["pending_debit", "pending_credit"]
    assert held.body["balances"]["user"]["available"] == "70.00"
    assert await balance(funded) == ("100.00", "0.00", "30.00", "70.00")
    assert await balance(funded, "bank") == ("100.00", "0.00", "30.00", "70.00")
    assert (await transfer(funded, "too much", "71")).told == (422, "insufficient_funds")

    captured = await post(funded, "c", f"/{held.body['id']}/capture")
    assert captured.status == 201
    assert (captured.body["kind"], captured.body["target"], captured.body["category"]) == (
        "capture",
        held.body["id"],
        "card",
    )
    assert await balance(funded) == ("70.00", "0.00", "0.00", "70.00")
    shown = (await funded.get(f"{TRANSACTIONS}/{held.body['id']}")).body
    assert shown["resolved_by"] == captured.body["id"]
    again = await post(funded, "c", f"/{held.body['id']}/capture")
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.body["id"] == captured.body["id"]


async def test_a_part_is_captured_and_the_rest_released(funded: LedgerClient) -> None:
    held = (await transfer(funded, "h", "30", kind="hold")).body["id"]
    lines = [
        {"account": "user", "direction": "debit", "amount": "12"},
        {"account": "bank", "direction": "credit", "amount": "12"},
    ]
    more = [{**line, "amount": "31"} for line in lines]
    refused = await post(funded, "more", f"/{held}/capture", postings=more)
    assert refused.told == (422, "exceeds_target")
    assert refused.body["left"] == "30.00"
    assert (await post(funded, "c", f"/{held}/capture", postings=lines)).status == 201
    assert await balance(funded) == ("88.00", "0.00", "0.00", "88.00")


async def test_a_hold_is_released_without_a_body(funded: LedgerClient) -> None:
    held = (await transfer(funded, "h", "30", kind="hold")).body["id"]
    released = await post(funded, "r", f"/{held}/release")
    assert (released.status, released.body["kind"]) == (201, "release")
    assert await balance(funded) == ("100.00", "0.00", "0.00", "100.00")
    assert (await post(funded, "r2", f"/{held}/release")).told == (409, "hold_already_resolved")
    assert (await post(funded, "c", f"/{held}/capture")).told == (409, "hold_already_resolved")


async def test_a_hold_past_its_time_is_not_captured(funded: LedgerClient) -> None:
    expires_at = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    held = (await transfer(funded, "h", "30", kind="hold", expires_at=expires_at)).body
    assert datetime.fromisoformat(held["expires_at"]) == datetime.fromisoformat(expires_at)
    await asyncio.sleep(1.1)
    assert (await post(funded, "c", f"/{held['id']}/capture")).told == (409, "hold_expired")
    assert (await post(funded, "r", f"/{held['id']}/release")).status == 201


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"kind": "hold", "expires_at": "2020-01-01T00:00:00Z"}, (422, "invalid_field")),
        ({"kind": "hold", "expires_at": "2999-01-01T00:00:00"}, (422, "invalid_field")),
        ({"expires_at": "2999-01-01T00:00:00Z"}, (422, "invalid_field")),
        ({"kind": "capture"}, (422, "invalid_field")),
    ],
)
async def test_a_bad_hold_is_refused(funded: LedgerClient, fields: dict[str, str], told: tuple[int, str]) -> None:
    assert (await transfer(funded, "h", "1", **fields)).told == told


@pytest.mark.parametrize("path", ["capture", "release", "reverse"])
async def test_what_ends_a_transaction_needs_one_and_a_key(funded: LedgerClient, path: str) -> None:
    assert (await post(funded, "k", f"/99/{path}")).told == (404, "not_found")
    assert (await post(funded, "k", f"/1/{path}")).told == (404, "not_found")
    without_key = await funded.request("POST", f"{TRANSACTIONS}/3/{path}")
    assert without_key.told == (400, "missing_idempotency_key")


async def test_only_holds_are_resolved_and_only_posts_reversed(funded: LedgerClient) -> None:
    held = (await transfer(funded, "h", "30", kind="hold")).body["id"]
    assert (await post(funded, "a", "/3/capture")).told == (409, "not_a_hold")
    assert (await post(funded, "b", f"/{held}/reverse")).told == (409, "not_reversible")


async def test_a_hold_is_resolved_once_however_many_try(funded: LedgerClient) -> None:
    held = (await transfer(funded, "h", "30", kind="hold")).body["id"]
    answers = await asyncio.gather(
        *(post(funded, f"{path} {n}", f"/{held}/{path}") for n in range(15) for path in ("capture", "release"))
    )
    assert Counter(answer.told for answer in answers) == {(201, None): 1, (409, "hold_already_resolved"): 29}
    posted, _, pending_out, _ = await balance(funded)
    assert (posted, pending_out) in {("70.00", "0.00"), ("100.00", "0.00")}


async def test_a_reversal_takes_back_no_more_than_is_left(funded: LedgerClient) -> None:
    paid = (await transfer(funded, "p", "30", category="food")).body["id"]

    def part(amount: str) -> list[dict[str, str]]:
        return [
            {"account": "user", "direction": "debit", "amount": amount},
            {"account": "bank", "direction": "credit", "amount": amount},
        ]

    first = await post(funded, "r1", f"/{paid}/reverse", postings=part("10"), reference="refund")
    assert (first.body["kind"], first.body["target"], first.body["category"]) == ("reverse", paid, "food")
    assert [line["direction"] for line in first.body["postings"]] == ["credit", "debit"]
    assert (await post(funded, "r2", f"/{paid}/reverse", postings=part("20.01"))).told == (422, "exceeds_target")
    rest = await post(funded, "r3", f"/{paid}/reverse")
    assert [line["amount"] for line in rest.body["postings"]] == ["20.00", "20.00"]
    assert (await post(funded, "r4", f"/{paid}/reverse")).told == (409, "already_reversed")
    assert await balance(funded) == ("100.00", "0.00", "0.00", "100.00")
    shown = (await funded.get(f"{TRANSACTIONS}/{paid}")).body
    assert shown["reversed_by"] == [first.body["id"], rest.body["id"]]


async def test_partial_reversals_in_a_race_never_exceed_the_whole(funded: LedgerClient) -> None:
    paid = (await transfer(funded, "p", "10")).body["id"]
    lines = [
        {"account": "user", "direction": "debit", "amount": "3"},
        {"account": "bank", "direction": "credit", "amount": "3"},
    ]
    answers = await asyncio.gather(*(post(funded, f"r{n}", f"/{paid}/reverse", postings=lines) for n in range(20)))
    assert Counter(answer.told for answer in answers) == {(201, None): 3, (422, "exceeds_target"): 17}
    assert await balance(funded) == ("99.00", "0.00", "0.00", "99.00")


async def test_an_amendment_shows_and_leaves_the_journal_as_it_was(funded: LedgerClient) -> None:
    paid = (await transfer(funded, "p", "10", category="food", description="lunch", metadata={"a": 1})).body
    path = f"{TRANSACTIONS}/{paid['id']}"
    amended = await funded.request("PATCH", path, body={"category": "travel", "description": None})
    assert amended.status == 200
    seen = {name: amended.body[name] for name in ("category", "description", "metadata", "hash")}
    assert seen == {"category": "travel", "description": None, "metadata": {"a": 1}, "hash": paid["hash"]}
    assert amended.body["amended_by"] == [paid["id"] + 1]
    listed = (await funded.get(TRANSACTIONS)).body["items"][0]
    assert (listed["id"], listed["category"]) == (paid["id"], "travel")
    line = (await funded.get("/v1/accounts/user/postings")).body["items"][0]
    assert (line["transaction"], line["category"], line["description"]) == (paid["id"], "travel", None)
    for body, told in [
        ({"category": ""}, (422, "invalid_field")),
        ({"reference": "x"}, (422, "invalid_field")),
        ({"metadata": {"a": 1.5}}, (422, "invalid_field")),
    ]:
        assert (await funded.request("PATCH", path, body=body)).told == told
    assert (await funded.request("PATCH", f"{TRANSACTIONS}/1", body={"category": "x"})).told == (404, "not_found")


async def test_a_condition_on_a_balance_holds_or_nothing_is_recorded(funded: LedgerClient) -> None:
    version = (await funded.get("/v1/accounts/user/balance")).body["version"]
    assert version == 3
    first, second = await asyncio.gather(
        *(transfer(funded, f"t{n}", "1", if_balance_version={"user": version}) for n in range(2))
    )
    assert {first.told, second.told} == {(201, None), (412, "precondition_failed")}
    refused = first if first.status == 412 else second
    assert refused.body["version"] == 4
    assert (await transfer(funded, "t", "1", if_balance_version={"nobody": 0})).told == (422, "unknown_account")


@pytest.mark.parametrize("path", ["", "/{held}/capture", "/{held}/release"])
async def test_a_dry_run_tells_what_would_be_and_records_nothing(funded: LedgerClient, path: str) -> None:
    held = (await transfer(funded, "h", "30", kind="hold")).body["id"]
    body = {"debit": "user", "credit": "bank", "amount": "5"} if not path else None
    before = await balance(funded)
    tried = await funded.request("POST", TRANSACTIONS + path.format(held=held) + "?dry_run=true", body=body)
    assert tried.status == 200
    assert (tried.body["dry_run"], tried.body["id"]) == (True, held + 1)
    assert await balance(funded) == before
    assert (await funded.get(f"{TRANSACTIONS}/{held + 1}")).told == (404, "not_found")


async def test_a_dry_run_is_refused_like_the_real_thing(funded: LedgerClient) -> None:
    body = {"debit": "user", "credit": "bank", "amount": "500"}
    tried = await funded.request("POST", f"{TRANSACTIONS}?dry_run=true", body=body)
    assert tried.told == (422, "insufficient_funds")
    assert tried.body["shortfall"] == "400.00"
