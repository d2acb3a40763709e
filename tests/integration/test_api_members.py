"""Members over HTTP: what they see of their own accounts and of transactions with others, and what they may pay."""

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from ledgerx import database as db
from ledgerx import search
from ledgerx.filters import TransactionFilters
from ledgerx.journal import Entry
from ledgerx.logins import Database
from ledgerx.reading import NEWEST
from ledgerx.roles import SCOPES, Role
from ledgerx.search import find_transactions
from ledgerx.tenancy import ClientCredentials, let_members_post
from ledgerx_api.tokens import Principal
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import Answer, LedgerClient
from tests.integration.people import speaking_for

Item = dict[str, Any]
PERIOD = {"from": "2000-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
DAYS = {"from": "2026-01-01", "to": "2027-01-01"}


def new_member(credentials: ClientCredentials) -> Principal:
    return Principal(credentials.tenant_id, f"user:{uuid4()}", SCOPES[Role.MEMBER], Role.MEMBER)


@pytest.fixture
def alice(credentials: ClientCredentials) -> Principal:
    return new_member(credentials)


@pytest.fixture
def bob(credentials: ClientCredentials) -> Principal:
    return new_member(credentials)


@pytest.fixture
async def ledger(
    client: LedgerClient, credentials: ClientCredentials, shared_database: Database, alice: Principal, bob: Principal
) -> LedgerClient:
    """The tenant's own client. Alice has 100 in `alice` and nothing in `alice:savings`, Bob 50 in `bob`."""
    async with await db.connect(shared_database.owner_url, application_name="test") as connection:
        await let_members_post(connection, credentials.tenant_id, allowed=True)
    for code, owner in (("alice", alice), ("alice:savings", alice), ("bob", bob), ("shop", None)):
        limits: Item = {"min_balance": "0"} if owner else {}
        owned = str(owner.user_id) if owner else None
        assert (await client.open_account(code, owner=owned, **limits)).status == 201
    for key, code, amount in (("fund alice", "alice", "100"), ("fund bob", "bob", "50")):
        assert (await client.transfer(key, amount, credit=code)).status == 201
    return client


@pytest.fixture
async def member(api: ApiProcess, alice: Principal, ledger: LedgerClient) -> AsyncIterator[LedgerClient]:
    """A client that speaks for Alice."""
    del ledger
    async with speaking_for(api, alice) as client:
        yield client


async def pay(client: LedgerClient, key: str, amount: str = "1", **fields: Any) -> Answer:
    return await client.transfer(key, amount, **{"debit": "alice", "credit": "bob"} | fields)


async def split(client: LedgerClient, key: str, **fields: Any) -> Answer:
    """A bill of 10 from `alice`: 6 to `shop`, 3 to `bob`, 1 to `alice:savings`."""
    lines = [
        {"account": "alice", "direction": "debit", "amount": "10"},
        {"account": "shop", "direction": "credit", "amount": "6"},
        {"account": "bob", "direction": "credit", "amount": "3"},
        {"account": "alice:savings", "direction": "credit", "amount": "1"},
    ]
    return await client.request("POST", "/v1/transactions", body={"postings": lines, **fields}, key=key)


def lines_of(item: Item) -> list[tuple[str | None, str, str]]:
    return [(line["account"], line["direction"], line["amount"]) for line in item["postings"]]


def tells_of_others(answer: Any) -> bool:
    """Whether an answer names anything of which Alice should not know."""
    text = json.dumps(answer)
    return any(secret in text for secret in ('"bob', '"shop', '"bank', '"user"', "client:", "fund alice", "user:"))


async def test_members_post_where_the_tenant_says_so(
    ledger: LedgerClient, member: LedgerClient, credentials: ClientCredentials, shared_database: Database
) -> None:
    async with await db.connect(shared_database.owner_url, application_name="test") as connection:
        await let_members_post(connection, credentials.tenant_id, allowed=False)
    refused = [await pay(member, "a"), await pay(member, "b", credit="nobody"), await pay(member, "c", debit="bob")]
    refused += [await member.request("POST", "/v1/transactions/999/reverse", body={}, key="d")]
    assert {json.dumps(answer.body) for answer in refused} == {json.dumps(refused[0].body)}
    assert refused[0].told == (403, "forbidden")
    batch = await member.request(
        "POST",
        "/v1/transactions/batch",
        body={"transactions": [{"debit": "alice", "credit": "bob", "amount": "1"}]},
        key="e",
    )
    assert [result["status"] for result in batch.body["results"]] == [403]
    assert (await pay(ledger, "f")).status == 201


async def test_what_a_member_posts_shows_its_own_side_only(ledger: LedgerClient, member: LedgerClient) -> None:
    dry = await member.request(
        "POST", "/v1/transactions?dry_run=true", body={"debit": "alice", "credit": "bob", "amount": "4"}
    )
    first, again = await split(member, "k", category="food"), await split(member, "k", category="food")
    assert (dry.status, first.status, again.status) == (200, 201, 201)
    assert again.headers["Idempotency-Replayed"] == "true"
    shown = [
        ("alice", "debit", "10.00"),
        ("alice:savings", "credit", "1.00"),
        (None, "credit", "9.00"),
    ]
    assert lines_of(first.body) == lines_of(again.body) == shown
    assert lines_of(dry.body) == [("alice", "debit", "4.00"), (None, "credit", "4.00")]
    assert (first.body["balances"].keys(), dry.body["balances"].keys()) == ({"alice", "alice:savings"}, {"alice"})
    batch = await member.request(
        "POST",
        "/v1/transactions/batch",
        body={
            "transactions": [
                {"debit": "alice", "credit": "shop", "amount": "2"},
                {"debit": "bob", "credit": "alice", "amount": "2"},
            ]
        },
        key="batch",
    )
    made, refused = batch.body["results"]
    assert lines_of(made["transaction"]) == [("alice", "debit", "2.00"), (None, "credit", "2.00")]
    assert (refused["status"], refused["problem"]["code"]) == (422, "unknown_account")
    for body in (dry.body, first.body, again.body, made):
        told = body.get("transaction", body)
        assert (told["hash"], told["actor"][:5]) == (None, "user:")
        told["actor"] = None
        assert not tells_of_others(told)
    assert (first.body["idempotency_key"], made["transaction"]["idempotency_key"]) == ("k", "batch#0")
    whole = (await ledger.get(f"/v1/transactions/{first.body['id']}")).body
    assert [line["account"] for line in whole["postings"]] == ["alice", "shop", "bob", "alice:savings"]
    assert whole["hash"]
    assert tells_of_others(whole)


async def test_what_others_post_shows_the_members_side_and_not_who_did_it(
    ledger: LedgerClient, member: LedgerClient
) -> None:
    made = (await split(ledger, "bill 7", category="food", metadata={"order": "7"}, reference="r")).body
    got = await member.get(f"/v1/transactions/{made['id']}")
    [listed, *_] = (await member.get("/v1/transactions")).body["items"]
    for item in (got.body, listed):
        assert lines_of(item) == [
            ("alice", "debit", "10.00"),
            ("alice:savings", "credit", "1.00"),
            (None, "credit", "9.00"),
        ]
        assert (item["actor"], item["idempotency_key"], item["hash"]) == (None, None, None)
        assert (item["category"], item["metadata"], item["reference"]) == ("food", {"order": "7"}, "r")
        assert not tells_of_others(item)
    # The tag is of what this caller is shown.
    tag = got.headers["ETag"]
    theirs = await ledger.request("GET", f"/v1/transactions/{made['id']}", headers={"If-None-Match": tag})
    mine = await member.request("GET", f"/v1/transactions/{made['id']}", headers={"If-None-Match": tag})
    assert (theirs.status, mine.status) == (200, 304)


async def test_pending_lines_have_a_line_that_stands_for_the_others(ledger: LedgerClient, member: LedgerClient) -> None:
    held = (await pay(ledger, "hold", "5", kind="hold")).body["id"]
    captured = await member.request("POST", f"/v1/transactions/{held}/capture", body={}, key="capture")
    assert captured.status == 201

    def layers(item: Item) -> list[tuple[str | None, str, str | None]]:
        return [(line["account"], line["direction"], line.get("layer")) for line in item["postings"]]

    assert layers((await member.get(f"/v1/transactions/{held}")).body) == [
        ("alice", "debit", "pending_debit"),
        (None, "credit", "pending_credit"),
    ]
    assert sorted(layers(captured.body), key=str) == sorted(
        [
            ("alice", "credit", "pending_debit"),
            ("alice", "debit", None),
            (None, "debit", "pending_credit"),
            (None, "credit", None),
        ],
        key=str,
    )


async def test_the_lists_of_a_member_are_full_pages_of_its_own(
    ledger: LedgerClient, member: LedgerClient, alice: Principal
) -> None:
    for number in range(7):
        await ledger.open_account(f"p:{number}:a", owner=str(alice.user_id))
        await ledger.open_account(f"p:{number}:b")
        assert (await ledger.transfer(f"foreign {number}", debit="bob", credit=f"p:{number}:b")).status == 201
        assert (await ledger.transfer(f"own {number}", debit="bob", credit=f"p:{number}:a")).status == 201
    own = ["alice", "alice:savings", *(f"p:{number}:a" for number in range(7))]
    pages = [page async for page in member.pages("/v1/accounts", 4)]
    assert [[account["code"] for account in page] for page in pages] == [own[:4], own[4:8], own[8:]]
    numbers = [page async for page in member.pages("/v1/transactions", 3)]
    assert [len(page) for page in numbers] == [3, 3, 2]
    assert not tells_of_others(numbers)

    async def codes(**query: str) -> list[str]:
        return [account["code"] for account in (await member.get("/v1/accounts", **query)).body["items"]]

    assert await codes(prefix="p", limit="500") == own[2:]
    assert await codes(owner=str(alice.user_id)) == own
    assert await codes(owner=str(uuid4())) == []
    assert await codes(prefix="bob") == await codes(type="asset") == []
    # Somebody else's cursor is worth what one's own is.
    cursor = (await ledger.get("/v1/accounts", limit=1)).body["next_cursor"]
    assert await codes(cursor=cursor) == ["alice:savings"]


async def test_filters_of_a_member_are_tried_on_its_own_lines(ledger: LedgerClient, member: LedgerClient) -> None:
    made = (await split(ledger, "bill", metadata={"order": "7"})).body["id"]

    async def found(**query: str) -> list[int]:
        answer = await member.get("/v1/transactions", **query)
        assert answer.status == 200
        return [item["id"] for item in answer.body["items"]]

    assert await found(account="alice:savings") == await found(amount_to="1") == [made]
    assert await found(metadata='{"order":"7"}') == await found(amount_from="10", amount_to="10") == [made]
    assert await found(account="bob") == await found(prefix="shop") == await found(account="nothing") == []
    assert await found(amount_from="2", amount_to="7") == []
    # Of what has the same annotations and is not Alice's, nothing is told, not even by where a page ends.
    assert (await ledger.transfer("theirs", credit="bob", category="pay", metadata={"order": "8"})).status == 201
    for query in ({"category": "pay"}, {"metadata": '{"order":"8"}'}):
        answer = (await member.get("/v1/transactions", limit=1, **query)).body
        assert answer == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("most", [1_000, 1])
async def test_a_member_with_many_accounts_finds_the_same(
    ledger: LedgerClient,
    credentials: ClientCredentials,
    shared_database: Database,
    alice: Principal,
    monkeypatch: pytest.MonkeyPatch,
    most: int,
) -> None:
    monkeypatch.setattr(search, "MAX_OWNED_ACCOUNTS", most)
    for number in range(6):
        await split(ledger, f"bill {number}", category=f"c{number % 2}")
        await ledger.transfer(f"other {number}", credit="bob")
    async with db.pool(shared_database.api_url, application_name="test", max_size=1) as pool:
        for filters, expected in ((TransactionFilters(), 7), (TransactionFilters(category="c1"), 3)):
            before: int | None = NEWEST[0]
            found: list[Entry] = []
            while before is not None:
                page = await find_transactions(
                    pool, credentials.tenant_id, filters, confined_to=alice.confined_to, before=before, limit=2
                )
                found += page.items
                before = page.following
            assert len(found) == expected
            assert all({line.account for line in entry.postings} <= {"alice", "alice:savings", ""} for entry in found)


async def test_where_a_page_of_a_member_ends_tells_of_its_own_only(
    ledger: LedgerClient,
    credentials: ClientCredentials,
    shared_database: Database,
    alice: Principal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "LOOKS", 1)
    for number in range(4):
        await ledger.transfer(f"other {number}", credit="bob", category="pay", reference="pay", metadata={"a": 1})
    asked: list[Item] = [{}, {"category": "pay"}, {"reference": "pay"}, {"metadata": '{"a":1}'}, {"account": "bob"}]
    async with db.pool(shared_database.api_url, application_name="test", max_size=1) as pool:
        for filters in asked:
            wanted = TransactionFilters(**filters)
            found = await find_transactions(
                pool, credentials.tenant_id, wanted, confined_to=alice.confined_to, before=NEWEST[0], limit=1
            )
            assert (len(found.items), found.following) == (0 if filters else 1, None)


async def test_the_past_of_an_account_is_its_owners(ledger: LedgerClient, member: LedgerClient) -> None:
    del ledger
    now = "2100-01-01T00:00:00Z"
    for times in ({"as_of": now}, {"effective_at": now}, {"as_of": now, "effective_at": now}):
        assert (await member.get("/v1/accounts/alice/balance", **times)).body["posted"] == "100.00"
        assert (await member.get("/v1/accounts/bob/balance", **times)).told == (404, "not_found")


async def test_sums_of_a_member_are_those_of_its_own_accounts(ledger: LedgerClient, member: LedgerClient) -> None:
    await split(ledger, "bill", category="food")
    await ledger.open_account("alice:other", owner=None)
    await ledger.transfer("other", "500", credit="alice:other")
    balance = (await member.get("/v1/balance", prefix="alice")).body
    assert [(one["posted"], one["accounts"]) for one in balance["items"]] == [("91.00", 2)]
    assert (await member.get("/v1/balance", prefix="bob")).body["items"] == []
    unsaid = await member.get("/v1/balance")
    assert unsaid.told == (422, "invalid_field")

    async def summed(**query: str) -> list[tuple[str, str, str]]:
        items = (await member.get("/v1/summary", **DAYS, group_by="account", **query)).body["items"]
        return [(item["account"], item["debits"], item["credits"]) for item in items]

    own = [("alice", "10.00", "100.00"), ("alice:savings", "0.00", "1.00")]
    assert await summed(prefix="alice") == own
    assert await summed(account="alice") == own[:1]
    assert await summed(account="bob") == await summed(prefix="alice:other") == []
    assert (await member.get("/v1/summary", **DAYS)).told == (403, "forbidden")


async def test_a_member_reads_its_statement(ledger: LedgerClient, member: LedgerClient) -> None:
    await split(ledger, "bill", reference="r")
    page = (await member.get("/v1/accounts/alice/statement", **PERIOD)).body
    assert [line["amount"] for line in page["items"]] == ["100.00", "10.00"]
    assert (page["opening"]["posted"], page["closing"]["posted"]) == ("0.00", "90.00")
    headers = {"Accept": "text/csv"}
    table = await member.request("GET", "/v1/accounts/alice/statement", headers=headers, params=PERIOD)
    rows = list(csv.DictReader(io.StringIO(table.body)))
    assert [row["kind"] for row in rows] == ["opening", "post", "post", "closing"]
    theirs = await member.request("GET", "/v1/accounts/bob/statement", headers=headers, params=PERIOD)
    missing = await member.request("GET", "/v1/accounts/bo/statement", headers=headers, params=PERIOD)
    assert theirs.told == (404, "not_found")
    assert theirs.body == json.loads(json.dumps(missing.body).replace("bo\\", "bob\\"))


async def test_keys_of_members_are_their_own(
    api: ApiProcess, ledger: LedgerClient, member: LedgerClient, bob: Principal
) -> None:
    body = {"debit": "alice", "credit": "bob", "amount": "1"}
    assert (await ledger.request("POST", "/v1/transactions", body=body, key="k")).status == 201
    first = await member.request("POST", "/v1/transactions", body=body, key="k")
    async with speaking_for(api, bob) as other:
        his = await other.transfer("k", debit="bob", credit="alice")
        item = {"idempotency_key": "mine", "debit": "bob", "credit": "alice", "amount": "1"}
        batch = await other.request("POST", "/v1/transactions/batch", body={"transactions": [item]}, key="b")
        single = await other.request(
            "POST", "/v1/transactions", body={"debit": "bob", "credit": "alice", "amount": "1"}, key="mine"
        )
    assert (first.status, his.status) == (201, 201)
    assert "Idempotency-Replayed" not in first.headers
    assert "Idempotency-Replayed" not in his.headers
    assert single.headers["Idempotency-Replayed"] == "true"
    assert single.body["id"] == batch.body["results"][0]["transaction"]["id"]
    assert (await member.request("POST", "/v1/transactions", body=body | {"amount": "2"}, key="k")).told == (
        422,
        "idempotency_key_reused",
    )
    # Nor does a member take a key from a service.
    assert (await member.transfer("order 8", debit="alice", credit="bob")).status == 201
    later = await ledger.transfer("order 8", "3", debit="bank", credit="bob")
    assert (later.status, "Idempotency-Replayed" in later.headers) == (201, False)


async def test_reversals_between_others_are_not_told(
    api: ApiProcess, ledger: LedgerClient, member: LedgerClient, bob: Principal
) -> None:
    await ledger.open_account("till", "asset")
    lines = [
        {"account": "bank", "direction": "debit", "amount": "10"},
        {"account": "alice", "direction": "credit", "amount": "10"},
        {"account": "till", "direction": "debit", "amount": "3"},
        {"account": "bob", "direction": "credit", "amount": "3"},
    ]
    made = await ledger.request("POST", "/v1/transactions", body={"postings": lines}, key="k")
    path = f"/v1/transactions/{made.body['id']}"
    theirs = await ledger.request("POST", f"{path}/reverse", body={"postings": lines[2:]}, key="theirs")
    ours = await ledger.request("POST", f"{path}/reverse", body={"postings": lines[:2]}, key="ours")
    amended = await ledger.request("PATCH", path, body={"category": "late"})
    assert (theirs.status, ours.status, amended.status) == (201, 201, 200)
    shown = (await member.get(path)).body
    assert shown["reversed_by"] == [ours.body["id"]]
    assert (shown["category"], len(shown["amended_by"])) == ("late", 1)
    assert (await member.get(f"/v1/transactions/{theirs.body['id']}")).told == (404, "not_found")
    async with speaking_for(api, bob) as other:
        assert (await other.get(path)).body["reversed_by"] == [theirs.body["id"]]
        assert lines_of((await other.get(path)).body) == [("bob", "credit", "3.00"), (None, "debit", "3.00")]


async def test_an_account_changes_hands_at_one_entry_of_the_journal(
    api: ApiProcess, ledger: LedgerClient, member: LedgerClient, bob: Principal
) -> None:
    async def give_away() -> Answer:
        return await ledger.request("PATCH", "/v1/accounts/alice", body={"owner": str(bob.user_id)})

    before = await pay(member, "before")
    assert before.status == 201
    given, *paid = await asyncio.gather(give_away(), *(pay(member, f"{number}", "0.01") for number in range(40)))
    assert given.status == 200
    at = given.body["version"]
    assert all(answer.body["id"] < at if answer.status == 201 else answer.status == 422 for answer in paid)
    assert (await pay(member, "after")).told == (422, "unknown_account")
    assert (await member.get("/v1/accounts/alice")).told == (404, "not_found")
    assert (await member.get(f"/v1/transactions/{before.body['id']}")).told == (404, "not_found")
    # Of what it did itself a member has the number, and nothing of accounts that are its own no more.
    again = await pay(member, "before")
    assert (again.status, again.body["id"], again.body["postings"]) == (201, before.body["id"], [])
    async with speaking_for(api, bob) as other:
        assert (await other.get("/v1/accounts/alice/balance")).status == 200
        assert lines_of((await other.get(f"/v1/transactions/{before.body['id']}")).body)[0][0] == "alice"


REFUSED: list[tuple[str, Callable[[LedgerClient], Any]]] = [
    ("frozen", lambda ledger: ledger.request("PATCH", "/v1/accounts/x", body={"frozen": True})),
    ("closed", lambda ledger: ledger.request("DELETE", "/v1/accounts/x")),
    ("full", lambda ledger: ledger.request("PATCH", "/v1/accounts/x", body={"max_balance": "0"})),
]


@pytest.mark.parametrize("setting", [one for _, one in REFUSED], ids=[name for name, _ in REFUSED])
async def test_an_account_that_takes_nothing_is_like_one_that_is_not_there(
    ledger: LedgerClient, member: LedgerClient, setting: Callable[[LedgerClient], Any]
) -> None:
    items = [{"debit": "alice", "credit": "x", "amount": "1"}, {"debit": "alice", "credit": "bob", "amount": "1"}]

    async def answers(name: str) -> list[Answer]:
        batch = "/v1/transactions/batch"
        return [
            await pay(member, name, credit="x"),
            await pay(member, f"{name} hold", credit="x", kind="hold"),
            await pay(member, f"{name} condition", if_balance_version={"x": 0}),
            await member.request("POST", "/v1/transactions?dry_run=true", body=items[0]),
            await member.request("POST", batch, body={"transactions": items, "atomic": True}, key=f"{name} atomic"),
            await member.request("POST", f"{batch}?dry_run=true", body={"transactions": items[:1]}),
        ]

    missing = await answers("missing")
    assert [answer.status for answer in missing] == [422, 422, 422, 422, 422, 200]
    await ledger.open_account("x")
    assert (await setting(ledger)).status == 200
    assert [(answer.status, answer.body) for answer in await answers("there")] == [
        (answer.status, answer.body) for answer in missing
    ]


async def test_a_member_pays_no_more_than_it_has(ledger: LedgerClient, member: LedgerClient) -> None:
    paid = await asyncio.gather(*(pay(member, f"{number}", "30") for number in range(10)))
    assert sorted(answer.status for answer in paid) == [201] * 3 + [422] * 7
    [refusal] = {json.dumps(answer.body) for answer in paid if answer.status == 422}
    assert json.loads(refusal)["shortfall"] == "20.00"
    assert json.loads(refusal)["account"] == "alice"
    assert Decimal((await ledger.get("/v1/accounts/bob/balance")).body["posted"]) == 140
