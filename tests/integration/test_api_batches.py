import json
from typing import Any

import pytest

from tests.integration.ledger_client import Answer, LedgerClient

BATCH = "/v1/transactions/batch"
NDJSON = {"Content-Type": "application/x-ndjson"}


def deposit(amount: str = "1", **more: Any) -> dict[str, Any]:
    return {"debit": "bank", "credit": "user", "amount": amount, **more}


def payout(amount: str) -> dict[str, Any]:
    return {"debit": "user", "credit": "bank", "amount": amount}


async def send(client: LedgerClient, *items: Any, key: str | None = "b", **more: Any) -> Answer:
    return await client.request("POST", BATCH, body={"transactions": items, **more}, key=key)


async def posted(client: LedgerClient, code: str = "user") -> str:
    found: str = (await client.get(f"/v1/accounts/{code}/balance")).body["posted"]
    return found


async def test_items_stand_on_their_own_and_answer_in_order(client: LedgerClient) -> None:
    answer = await send(client, deposit("5"), payout("9"), {**payout("2"), "kind": "hold"}, payout("3"))
    assert answer.status == 200
    assert [result["status"] for result in answer.body["results"]] == [201, 422, 201, 201]
    assert answer.body["results"][1]["problem"]["code"] == "insufficient_funds"
    assert answer.body["results"][1]["problem"]["shortfall"] == "4.00"
    assert answer.body["summary"] == {"recorded": 3, "replayed": 0, "refused": 1}
    assert await posted(client) == "2.00"


async def test_an_atomic_batch_is_all_or_nothing(client: LedgerClient) -> None:
    refused = await send(client, deposit("5"), payout("3"), payout("3"), atomic=True)
    assert refused.told == (422, "batch_refused")
    assert (refused.body["index"], refused.body["problem"]["code"]) == (2, "insufficient_funds")
    assert await posted(client) == "0.00"
    assert (await client.get("/v1/transactions")).body["items"] == []
    done = await send(client, deposit("5"), payout("3"), payout("2"), atomic=True)
    assert [result["status"] for result in done.body["results"]] == [201, 201, 201]
    assert await posted(client) == "0.00"


async def test_a_batch_sent_again_is_replayed_item_by_item(client: LedgerClient) -> None:
    first = await send(client, deposit("5"), payout("9"))
    again = await send(client, deposit("5"), payout("9"))
    assert again.body["summary"] == {"recorded": 0, "replayed": 1, "refused": 1}
    assert again.body["results"][0]["replayed"] is True
    assert again.body["results"][0]["transaction"]["id"] == first.body["results"][0]["transaction"]["id"]
    other = await send(client, deposit("6"))
    assert other.body["results"][0]["problem"]["code"] == "idempotency_key_reused"
    # Only successes are remembered: the item that was refused decides anew.
    later = await send(client, deposit("5"), payout("4"))
    assert later.body["summary"] == {"recorded": 1, "replayed": 1, "refused": 0}


async def test_a_key_of_an_item_is_one_key_wherever_it_is_used(client: LedgerClient) -> None:
    twice = await send(client, deposit(idempotency_key="mine"), deposit(idempotency_key="mine"))
    assert twice.body["summary"] == {"recorded": 1, "replayed": 1, "refused": 0}
    single = await client.request("POST", "/v1/transactions", body=deposit(), key="mine")
    assert single.headers["Idempotency-Replayed"] == "true"
    bad = await send(client, deposit(idempotency_key=""), deposit(idempotency_key="é"))
    assert [result["problem"]["code"] for result in bad.body["results"]] == ["invalid_idempotency_key"] * 2


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"transactions": []}, (422, "invalid_field")),
        ({}, (422, "invalid_field")),
        ({"transactions": [deposit()], "more": 1}, (422, "invalid_field")),
        ({"transactions": [{**deposit(), "amount": 1}]}, (422, "invalid_amount")),
        ({"transactions": [deposit()] * 10_001}, (422, "invalid_field")),
        (b"{", (400, "malformed")),
        (b" " * (16 * 1024 * 1024 + 1), (413, "too_large")),
    ],
    ids=lambda value: None if isinstance(value, tuple) else str(value)[:30],
)
async def test_a_bad_batch_is_refused_whole(client: LedgerClient, body: Any, told: tuple[int, str]) -> None:
    assert (await client.request("POST", BATCH, body=body, key="b")).told == told


async def test_a_batch_needs_a_key(client: LedgerClient) -> None:
    assert (await send(client, deposit(), key=None)).told == (400, "missing_idempotency_key")


async def test_too_many_postings_are_refused(client: LedgerClient) -> None:
    lines = [
        {"account": "bank", "direction": "debit", "amount": "1"},
        {"account": "user", "direction": "credit", "amount": "1"},
    ] * 500
    answer = await send(client, *[{"postings": lines}] * 51)
    assert answer.told == (413, "too_large")


@pytest.mark.parametrize("atomic", [False, True])
async def test_ten_thousand_transactions_in_one_request(client: LedgerClient, atomic: bool) -> None:
    answer = await send(client, *[deposit("0.01")] * 10_000, atomic=atomic)
    assert answer.body["summary"] == {"recorded": 10_000, "replayed": 0, "refused": 0}
    ids = [result["transaction"]["id"] for result in answer.body["results"]]
    assert ids == sorted(ids)
    assert await posted(client) == "100.00"


async def test_a_dry_run_of_a_batch_records_nothing(client: LedgerClient) -> None:
    body = {"transactions": [deposit("5"), payout("3"), payout("3")]}
    tried = await client.request("POST", f"{BATCH}?dry_run=true", body=body)
    assert [result["status"] for result in tried.body["results"]] == [200, 200, 422]
    atomic = await client.request("POST", f"{BATCH}?dry_run=true", body={**body, "atomic": True})
    assert atomic.told == (422, "batch_refused")
    assert await posted(client) == "0.00"


async def test_lines_are_answered_by_lines_and_a_summary(client: LedgerClient) -> None:
    lines = [json.dumps(deposit("1")) for _ in range(1_200)]
    lines[3:5] = ["{", json.dumps({**deposit(), "amount": 5})]
    body = "\n".join(lines).encode()
    answer = await client.request("POST", BATCH, body=body, key="n", headers=NDJSON)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    *results, summary = (
        answer.body if isinstance(answer.body, list) else [json.loads(line) for line in answer.body.splitlines()]
    )
    assert summary == {"summary": {"recorded": 1_198, "replayed": 0, "refused": 2}}
    assert [results[n]["problem"]["code"] for n in (3, 4)] == ["malformed", "invalid_amount"]
    assert results[5]["transaction"]["idempotency_key"] == "n#5"
    again = await client.request("POST", BATCH, body=body, key="n", headers=NDJSON)
    assert json.loads(again.body.splitlines()[-1]) == {"summary": {"recorded": 0, "replayed": 1_198, "refused": 2}}


@pytest.mark.parametrize(("body", "told"), [(b"\n \n", (422, "invalid_field")), (b"{}\n" * 10_001, (413, "too_large"))])
async def test_bad_lines_are_refused_whole(client: LedgerClient, body: bytes, told: tuple[int, str]) -> None:
    assert (await client.request("POST", BATCH, body=body, key="n", headers=NDJSON)).told == told
