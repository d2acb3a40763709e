"""Transactions over HTTP: what is answered, what is refused, and that a refusal writes nothing."""

import asyncio
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledgerx.tenancy import ClientCredentials
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import LedgerClient

GOOD = {"debit": "bank", "credit": "user", "amount": "1.00"}


def body_with(raw: bytes) -> bytes:
    """A good transaction with one more member, given as it stands."""
    return json.dumps(GOOD).encode()[:-1] + b"," + raw + b"}"


def lines(*postings: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "postings": [
            {"account": account, "direction": direction, "amount": amount} for account, direction, amount in postings
        ]
    }


async def test_a_transaction_is_answered_whole(client: LedgerClient) -> None:
    sent = GOOD | {
        "amount": "12.3",
        "reference": "r",
        "category": "c",
        "description": "€ 😀",
        "metadata": {"b": [1, None], "a": "x"},
        "effective_at": "2026-01-01T01:00:00+01:00",
    }
    answer = await client.request("POST", "/v1/transactions", body=sent, key='"a key"')
    assert answer.status == 201
    assert "Idempotency-Replayed" not in answer.headers
    transaction = answer.body
    assert transaction["id"] == 3
    assert transaction["idempotency_key"] == "a key"
    assert transaction["effective_at"] == "2026-01-01T00:00:00Z"
    assert [transaction[name] for name in ("reference", "category", "description")] == ["r", "c", "€ 😀"]
    assert transaction["metadata"] == {"a": "x", "b": [1, None]}
    assert transaction["postings"] == [
        {"account": "bank", "direction": "debit", "amount": "12.30", "asset": "USD", "scale": 2},
        {"account": "user", "direction": "credit", "amount": "12.30", "asset": "USD", "scale": 2},
    ]
    assert transaction["balances"] == {
        "user": {"posted": "12.30", "pending_in": "0.00", "pending_out": "0.00", "available": "12.30"}
    }


async def test_a_replay_is_the_same_transaction_and_says_so(client: LedgerClient) -> None:
    first = await client.transfer("k", metadata={"a": 1})
    body = json.dumps({"metadata": {"a": 1}, "amount": "1.00", "credit": "user", "debit": "bank"}, indent=3).encode()
    again = await client.request("POST", "/v1/transactions", body=body, key='"k"')
    assert (again.status, again.headers["Idempotency-Replayed"]) == (201, "true")
    assert again.body == {name: value for name, value in first.body.items() if name != "balances"}


async def test_fifty_concurrent_requests_with_one_key_make_one_transaction(client: LedgerClient) -> None:
    answers = await asyncio.gather(*(client.transfer("k") for _ in range(50)))
    assert {(answer.status, answer.body["id"]) for answer in answers} == {(201, 3)}
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 49
    assert await client.head() == 3


async def test_what_was_acknowledged_is_read_at_once(client: LedgerClient) -> None:
    for number in range(1, 6):
        created = (await client.transfer(f"{number}")).body
        created.pop("balances")
        assert (await client.get(f"/v1/transactions/{created['id']}")).body == created
        assert (await client.get("/v1/transactions", limit=1)).body["items"] == [created]
        balance = (await client.get("/v1/accounts/user/balance")).body
        assert (balance["posted"], balance["sequence"]) == (f"{number}.00", created["id"])
        [line] = (await client.get("/v1/accounts/user/postings", limit=1)).body["items"]
        assert (line["transaction"], line["balance"]["posted"]) == (created["id"], f"{number}.00")


async def test_running_balances_add_up_over_all_pages(client: LedgerClient) -> None:
    for number in range(12):
        await client.transfer(f"in {number}", f"{number + 1}.01")
        await client.transfer(f"out {number}", "0.50", debit="user", credit="bank")
    found = [line async for page in client.pages("/v1/accounts/user/postings", 5) for line in page]
    assert len(found) == 24
    running = 0
    for line in reversed(found):
        cents = int(line["amount"].replace(".", ""))
        running += cents if line["direction"] == "credit" else -cents
        assert int(line["balance"]["posted"].replace(".", "")) == running


# Each breaks one rule; nothing of it may be written.
BAD_TRANSACTIONS: dict[str, tuple[Any, int, str]] = {
    "unbalanced": (lines(("bank", "debit", "1.00"), ("user", "credit", "1.01")), 422, "unbalanced"),
    "unknown account": (GOOD | {"credit": "nobody"}, 422, "unknown_account"),
    "wrong asset": (GOOD | {"asset": "EUR"}, 422, "asset_mismatch"),
    "too many decimals": (GOOD | {"amount": "1.001"}, 422, "too_many_decimals"),
    "negative": (GOOD | {"amount": "-1.00"}, 422, "invalid_amount"),
    "zero": (GOOD | {"amount": "0.00"}, 422, "invalid_amount"),
    "huge": (GOOD | {"amount": "9" * 31}, 422, "invalid_amount"),
    "huge with decimals": (GOOD | {"amount": "9" * 29}, 422, "invalid_amount"),
    "gigantic": (GOOD | {"amount": "9" * 10_000}, 422, "invalid_amount"),
    "number as amount": (GOOD | {"amount": 1}, 422, "invalid_amount"),
    "fraction as amount": (GOOD | {"amount": 1.5}, 422, "invalid_amount"),
    "number in a posting": (
        {"postings": [{"account": "bank", "direction": "debit", "amount": 1}] * 2},
        422,
        "invalid_amount",
    ),
    "null as amount": (GOOD | {"amount": None}, 422, "invalid_amount"),
    "exponent": (GOOD | {"amount": "1e2"}, 422, "invalid_amount"),
    "other digits": (GOOD | {"amount": "\u0661"}, 422, "invalid_amount"),
    "overdrawn": (GOOD | {"debit": "user", "credit": "bank"}, 422, "insufficient_funds"),
    "one posting": (lines(("bank", "debit", "1.00")), 422, "invalid_field"),
    "too many postings": (lines(*[("bank", "debit", "1.00")] * 1_001), 422, "invalid_field"),
    "unknown direction": (lines(("bank", "up", "1.00"), ("user", "down", "1.00")), 422, "invalid_field"),
    "both forms": (GOOD | lines(("bank", "debit", "1.00"), ("user", "credit", "1.00")), 422, "invalid_field"),
    "neither form": ({"reference": "r"}, 422, "invalid_field"),
    "half a form": ({"debit": "bank", "amount": "1.00"}, 422, "invalid_field"),
    "unknown member": (GOOD | {"extra": 1}, 422, "invalid_field"),
    "unknown kind": (GOOD | {"kind": "gift"}, 422, "invalid_field"),
    "NUL in a code": (GOOD | {"credit": "us\0er"}, 422, "invalid_field"),
    "NUL in a text": (GOOD | {"description": "\0"}, 422, "invalid_field"),
    "NUL in metadata": (GOOD | {"metadata": {"a": ["\0"]}}, 422, "invalid_field"),
    "NUL byte": (body_with(b'"description":"\0"'), 400, "malformed"),
    "half a surrogate pair": (body_with(b'"description":"\\ud800"'), 400, "malformed"),
    "half a surrogate pair in metadata": (body_with(b'"metadata":{"a":"\\ud800"}'), 400, "malformed"),
    "no UTF-8": (body_with(b'"description":"\xff"'), 400, "malformed"),
    "no UTF-8 in metadata": (body_with(b'"metadata":{"a":"\xff"}'), 400, "malformed"),
    "metadata is a list": (GOOD | {"metadata": []}, 422, "invalid_field"),
    "fraction in metadata": (GOOD | {"metadata": {"a": 1.5}}, 422, "invalid_field"),
    "54 bits in metadata": (GOOD | {"metadata": {"a": 2**53}}, 422, "invalid_field"),
    "endless number in metadata": (body_with(b'"metadata":{"a":' + b"1" * 5_000 + b"}"), 400, "malformed"),
    "infinite number in metadata": (body_with(b'"metadata":{"a":1e999}'), 400, "malformed"),
    "repeated key in metadata": (body_with(b'"metadata":{"a":1,"a":2}'), 422, "invalid_field"),
    "large metadata": (GOOD | {"metadata": {"a": "x" * 17_000}}, 422, "invalid_field"),
    "deep metadata": (body_with(b'"metadata":{"a":' + b"[" * 32 + b"]" * 32 + b"}"), 422, "invalid_field"),
    "deep body": (b"[" * 100_000 + b"]" * 100_000, 422, "invalid_field"),
    "time without a zone": (GOOD | {"effective_at": "2026-01-01T00:00:00"}, 422, "invalid_field"),
    "time that is none": (GOOD | {"effective_at": "yesterday"}, 422, "invalid_field"),
    "time before all time": (GOOD | {"effective_at": "0001-01-01T00:00:00+10:00"}, 422, "invalid_field"),
    "long reference": (GOOD | {"reference": "r" * 256}, 422, "invalid_field"),
    "empty reference": (GOOD | {"reference": ""}, 422, "invalid_field"),
    "no object": ([GOOD], 422, "invalid_field"),
    "no JSON": (b"{", 400, "malformed"),
    "no body": (b"", 400, "malformed"),
}


@pytest.mark.parametrize("case", BAD_TRANSACTIONS)
async def test_a_bad_transaction_is_told_why_and_not_written(client: LedgerClient, case: str) -> None:
    body, status, code = BAD_TRANSACTIONS[case]
    answer = await client.request("POST", "/v1/transactions", body=body, key="k")
    assert answer.told == (status, code), answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body.keys() >= {"type", "title", "status", "detail", "code"}
    assert await client.head() == 2
    # The key of a refusal is free.
    assert (await client.transfer("k")).status == 201


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (None, "missing_idempotency_key"),
        ("", "invalid_idempotency_key"),
        ('""', "invalid_idempotency_key"),
        ("k" * 256, "invalid_idempotency_key"),
        ("k\u00e9", "invalid_idempotency_key"),
    ],
)
async def test_a_transaction_needs_a_usable_key(client: LedgerClient, key: str | None, code: str) -> None:
    answer = await client.request("POST", "/v1/transactions", body=GOOD, key=key)
    assert answer.told == (400, code)
    assert await client.head() == 2


@pytest.mark.parametrize("other", [{"amount": "1.0"}, {"reference": "r"}, {"credit": "bank"}, {"amount": "999.999"}])
async def test_a_key_used_for_another_request_is_refused(client: LedgerClient, other: dict[str, str]) -> None:
    assert (await client.transfer("k")).status == 201
    assert (await client.transfer("k", **GOOD | other)).told == (422, "idempotency_key_reused")
    assert await client.head() == 3


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])
async def test_only_json_is_taken(client: LedgerClient, media_type: str) -> None:
    answer = await client.request("POST", "/v1/transactions", body=GOOD, key="k", headers={"Content-Type": media_type})
    assert answer.told == (415, "unsupported_media_type")


async def test_a_shortfall_is_told_exactly(client: LedgerClient) -> None:
    await client.transfer("fund", "1.00")
    answer = await client.transfer("k", "1.01", debit="user", credit="bank")
    assert (answer.body["account"], answer.body["shortfall"]) == ("user", "0.01")


async def test_fields_in_error_are_listed(client: LedgerClient) -> None:
    answer = await client.request(
        "POST", "/v1/transactions", body={"postings": [{"account": "bank", "direction": "debit", "amount": 1}]}, key="k"
    )
    assert [error["field"] for error in answer.body["errors"]] == ["postings[0].amount"]


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(["bank", "user", "1.00", "debit", "credit", "USD", "post", "2026-01-01T00:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
BASES = {"/v1/transactions": GOOD, "/v1/accounts": {"code": "new", "asset": "USD", "type": "asset"}}
MEMBERS = ("postings", "debit", "amount", "asset", "kind", "metadata", "effective_at", "code", "type", "min_balance")


@pytest.fixture
def connection(api: ApiProcess) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=30)
    yield connection
    connection.close()


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(
    api: ApiProcess, credentials: ClientCredentials, connection: http.client.HTTPConnection
) -> None:
    connection.putrequest("POST", "/v1/transactions")
    for name, value in {
        "Authorization": f"Bearer {api.token(credentials.tenant_id)}",
        "Content-Type": "application/json",
        "Idempotency-Key": "k",
        "Content-Length": "2000000",
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (413, "too_large")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(sorted(BASES)),
    changes=st.dictionaries(st.sampled_from(MEMBERS), JSON_VALUES, max_size=2),
    other=st.none() | JSON_VALUES,
)
def test_no_json_makes_the_server_fail(
    api: ApiProcess,
    credentials: ClientCredentials,
    connection: http.client.HTTPConnection,
    path: str,
    changes: dict[str, Any],
    other: Any,
) -> None:
    body = BASES[path] | changes if other is None else other
    headers = {
        "Authorization": f"Bearer {api.token(credentials.tenant_id)}",
        "Content-Type": "application/json",
        "Idempotency-Key": "k",
    }
    connection.request("POST", path, json.dumps(body).encode(), headers)
    answer = connection.getresponse()
    assert answer.status in (201, 400, 409, 422), answer.read()
    answer.read()
