"""Webhooks over HTTP, as far as the API goes: nothing is sent here."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from ledgerx.logins import Database
from ledgerx.roles import Role
from ledgerx.webhook_deliveries import MAX_ASKED
from ledgerx.webhooks import MAX_ENDPOINTS
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import LedgerClient, client_of, new_tenant
from tests.integration.people import Person, audited, new_people, speaking_for

HOOKS = "/v1/webhooks"
URL = "https://example.com/hooks"


@pytest.fixture
async def operator(shared_database: Database) -> Person:
    [person] = await new_people(shared_database, Role.OPERATOR)
    return person


@pytest.fixture
async def hooks(api: ApiProcess, operator: Person) -> AsyncIterator[LedgerClient]:
    """A client of a tenant with two accounts: its journal has two entries."""
    async with speaking_for(api, operator.principal) as client:
        await client.open_account("bank", "asset")
        await client.open_account("user")
        yield client


async def make(client: LedgerClient, **fields: Any) -> Any:
    return await client.request("POST", HOOKS, body={"url": URL} | fields)


async def act(client: LedgerClient, made: Any, path: str, **body: Any) -> Any:
    return await client.request("POST", f"{HOOKS}/{made.body['id']}/{path}", body=body)


async def test_a_webhook_is_made_shown_changed_and_removed(
    hooks: LedgerClient, operator: Person, shared_database: Database
) -> None:
    made = await make(hooks, description="to the CRM", event_types=["ledgerx.transaction.posted"])
    assert made.status == 201
    assert made.headers["Location"] == f"{HOOKS}/{made.body['id']}"
    assert (made.headers["ETag"], made.headers["Cache-Control"]) == ('"1"', "no-store")
    assert made.body["secret"].startswith("whsec_")
    shown = {name: value for name, value in made.body.items() if name != "secret"}
    assert shown | {"id": 0, "created_at": 0, "updated_at": 0} == {
        "id": 0,
        "url": URL,
        "description": "to the CRM",
        "event_types": ["ledgerx.transaction.posted"],
        "status": "enabled",
        "disabled_reason": None,
        "version": 1,
        "created_at": 0,
        "updated_at": 0,
        "next_sequence": 3,
        "behind": 0,
        "requested": 0,
        "circuit": "closed",
        "failures": 0,
        "failing_since": None,
        "retry_at": None,
        "previous_secret_until": None,
    }
    path = made.headers["Location"]
    assert (await hooks.get(path)).body == shown
    other = await make(hooks, from_sequence=1)
    assert (other.body["next_sequence"], other.body["behind"]) == (1, 2)
    listed = [item["id"] async for page in hooks.pages(HOOKS, limit=1) for item in page]
    assert listed == [made.body["id"], other.body["id"]]

    changes = {"url": "https://example.com/other", "event_types": None, "description": None}
    changed = await hooks.request("PATCH", path, body=changes, headers={"If-Match": '"1"'})
    assert (changed.status, changed.headers["ETag"]) == (200, '"2"')
    assert {name: changed.body[name] for name in changes} == changes
    late = await hooks.request("PATCH", path, body={}, headers={"If-Match": '"1"'})
    assert late.told == (412, "precondition_failed")
    disabled = await hooks.request("PATCH", path, body={"status": "disabled"})
    assert (disabled.body["status"], disabled.body["disabled_reason"]) == ("disabled", "requested")
    for out_of_turn in (
        await hooks.request("POST", f"{path}/ping"),
        await act(hooks, made, "redeliver", sequence=1),
        await act(hooks, made, "redeliver", from_sequence=1),
    ):
        assert out_of_turn.told == (409, "webhook_disabled")
    enabled = await hooks.request("PATCH", path, body={"status": "enabled"})
    assert (enabled.body["disabled_reason"], enabled.body["version"]) == (None, 4)
    assert (await hooks.request("DELETE", path, headers={"If-Match": '"1"'})).status == 412
    assert (await hooks.request("DELETE", path)).status == 204
    assert (await hooks.get(path)).told == (404, "not_found")
    who = (f"user:{operator.user_id}", f"webhook:{made.body['id']}", "127.0.0.1")
    acts = [found for found in audited(shared_database, operator.tenant_id) if found[2] == who[1]]
    assert acts == [(f"webhook_{name}", *who) for name in ("created", "changed", "changed", "changed", "deleted")]


@pytest.mark.parametrize(
    "fields",
    [
        {"url": ""},
        {"url": "example.com"},
        {"url": "ftp://example.com"},
        {"url": "http://example.com/"},
        {"url": "https://user:password@example.com/"},
        {"url": "https://example.com/#fragment"},
        {"url": "https://example.com/" + "x" * 2_048},
        {"url": "https://example.com/\u0000"},
        *({"url": f"https://{host}/"} for host in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1")),
        *({"url": f"https://{host}/"} for host in ("[::1]", "[fd00::1]", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]")),
        {"event_types": []},
        {"event_types": ["ledgerx.transaction.lost"]},
        {"event_types": [1]},
        {"event_types": ["x" * 65]},
        {"description": ""},
        {"description": "x" * 256},
        {"from_sequence": 0},
        {"from_sequence": 4},
        {"from_sequence": 2**63},
        {"secret": "whsec_mine"},
    ],
    ids=str,
)
async def test_what_cannot_be_a_webhook_is_refused(hooks: LedgerClient, fields: dict[str, Any]) -> None:
    assert (await make(hooks, **fields)).told == (422, "invalid_field")
    assert (await hooks.get(HOOKS)).body["items"] == []


async def test_a_url_is_checked_when_it_is_changed_too(hooks: LedgerClient) -> None:
    made = await make(hooks)
    changed = await hooks.request("PATCH", made.headers["Location"], body={"url": "https://10.0.0.1/"})
    assert changed.told == (422, "invalid_field")
    assert (await hooks.get(made.headers["Location"])).body["url"] == URL


async def test_a_tenant_has_so_many_and_no_more_however_many_ask_at_once(hooks: LedgerClient) -> None:
    answers = await asyncio.gather(*(make(hooks) for _ in range(MAX_ENDPOINTS + 5)))
    assert sorted(answer.told for answer in answers) == [(201, None)] * MAX_ENDPOINTS + [(409, "too_many_webhooks")] * 5


async def test_a_secret_is_shown_once_and_replaced_with_an_overlap(hooks: LedgerClient) -> None:
    made = await make(hooks)
    path = made.headers["Location"]
    rotated = await act(hooks, made, "rotate-secret", overlap_s=3_600)
    assert (rotated.status, rotated.headers["Cache-Control"], rotated.headers["ETag"]) == (200, "no-store", '"2"')
    assert rotated.body["secret"] != made.body["secret"]
    shown = (await hooks.get(path)).body
    assert "secret" not in shown
    assert shown["previous_secret_until"] > shown["updated_at"]
    at_once = await act(hooks, made, "rotate-secret", overlap_s=0)
    assert at_once.body["previous_secret_until"] is None
    for overlap_s in (-1, 604_801, "1"):
        assert (await act(hooks, made, "rotate-secret", overlap_s=overlap_s)).told == (422, "invalid_field")


async def test_what_is_sent_once_more_is_said_by_one_number(
    hooks: LedgerClient, operator: Person, shared_database: Database
) -> None:
    made = await make(hooks)
    one = await act(hooks, made, "redeliver", sequence=2)
    assert (one.status, one.body["requested"], one.body["next_sequence"]) == (202, 1, 3)
    all_since = await act(hooks, made, "redeliver", from_sequence=1)
    assert (all_since.status, all_since.body["requested"], all_since.body["next_sequence"]) == (202, 1, 1)
    assert (await hooks.request("POST", f"{made.headers['Location']}/ping")).body["requested"] == 2
    for body in ({}, {"sequence": 1, "from_sequence": 1}, {"sequence": 3}, {"sequence": 0}, {"from_sequence": 4}):
        assert (await act(hooks, made, "redeliver", **body)).told == (422, "invalid_field"), body
    query = "UPDATE ledgerx.webhook_endpoints SET asked = array_fill(1, ARRAY[%s]) WHERE tenant_id = %s"
    with psycopg.connect(shared_database.admin_url) as connection:
        connection.execute(query, (MAX_ASKED, operator.tenant_id))
    assert (await act(hooks, made, "redeliver", sequence=1)).told == (409, "conflict")


async def test_attempts_are_listed_newest_first_and_by_outcome(
    hooks: LedgerClient, operator: Person, shared_database: Database
) -> None:
    made = await make(hooks)
    path = f"{made.headers['Location']}/deliveries"
    assert (await hooks.get(path)).body == {"items": [], "next_cursor": None}
    with psycopg.connect(shared_database.admin_url) as connection:
        for number in range(1, 6):
            connection.execute(
                """
                INSERT INTO ledgerx.webhook_deliveries
                VALUES (%s, %s, %s, now(), 'event', %s, 'ledgerx.transaction.posted', 1, %s, 500, NULL, 7)
                """,
                (operator.tenant_id, made.body["id"], f"{number:032x}", number, "dead" if number % 2 else "failed"),
            )
    everything = [item["sequence"] async for page in hooks.pages(path, limit=2) for item in page]
    assert everything == [5, 4, 3, 2, 1]
    first = (await hooks.get(path, outcome="dead", limit=2)).body
    assert [item["sequence"] for item in first["items"]] == [5, 3]
    rest = (await hooks.get(path, cursor=first["next_cursor"])).body
    assert [item["sequence"] for item in rest["items"]] == [1]
    assert rest["next_cursor"] is None
    assert (await hooks.get(path, outcome="failed", cursor=first["next_cursor"])).told == (400, "invalid_cursor")
    other = await make(hooks)
    foreign = await hooks.get(f"{HOOKS}/{other.body['id']}/deliveries", cursor=first["next_cursor"])
    assert foreign.told == (400, "invalid_cursor")
    assert (await hooks.get(path, outcome="lost")).told == (422, "invalid_field")
    assert (await hooks.get(f"{HOOKS}/{uuid4()}/deliveries")).told == (404, "not_found")


@pytest.fixture
def private_api(shared_database: Database, servers_directory: Path) -> Iterator[ApiProcess]:
    process = ApiProcess(shared_database, servers_directory, WEBHOOKS_ALLOW_PRIVATE="true")
    process.start()
    yield process
    process.end()


async def test_private_addresses_are_taken_where_that_is_allowed(private_api: ApiProcess, operator: Person) -> None:
    async with speaking_for(private_api, operator.principal) as client:
        for url in ("https://10.0.0.1/", "http://localhost:9000/", "http://127.0.0.1:9000/x"):
            assert (await make(client, url=url)).status == 201
        assert (await make(client, url="http://10.0.0.1/")).told == (422, "invalid_field")


async def test_a_client_needs_the_scope(api: ApiProcess, shared_database: Database) -> None:
    async with client_of(api.base_url, await new_tenant(shared_database)) as client:
        assert (await make(client)).told == (403, "forbidden")
        assert (await client.get(HOOKS)).told == (403, "forbidden")
