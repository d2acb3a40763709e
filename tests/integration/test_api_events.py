"""The feed and the integrity of the journal, over HTTP."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import psycopg
import pytest

from ledgerx import database as db
from ledgerx.database import tenant_scope
from ledgerx.logins import Database
from ledgerx.tenancy import ClientCredentials, Scope
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import LedgerClient, new_tenant

PROBLEM = "application/problem+json"


async def read_events(answer: aiohttp.ClientResponse) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    """The events of a stream, each with its id, until the stream ends."""
    number = 0
    async for line in answer.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "id":
            number = int(value)
        elif name == "data":
            yield number, json.loads(value)


@asynccontextmanager
async def opened(
    api: ApiProcess, token: str | None, *, headers: dict[str, str] | None = None, **params: int
) -> AsyncIterator[aiohttp.ClientResponse]:
    """An open stream; what it holds ready unread is little."""
    sent = {"Authorization": f"Bearer {token}"} | (headers or {})
    async with (
        aiohttp.ClientSession(read_bufsize=2**16) as session,
        session.get(f"{api.base_url}/v1/events/stream", headers=sent, params=params) as answer,
    ):
        yield answer


async def take(answer: aiohttp.ClientResponse, count: int) -> list[int]:
    """The numbers of the next events."""
    seqs: list[int] = []
    async for number, event in read_events(answer):
        assert event["data"]["id"] == number
        seqs.append(number)
        if len(seqs) == count:
            return seqs
    return seqs


async def test_an_entry_is_a_cloud_event(client: LedgerClient, credentials: ClientCredentials) -> None:
    posted = (await client.transfer("k", "12.34", reference="r", metadata={"b": [1], "a": None})).body
    page = (await client.get("/v1/events")).body
    tenant = str(credentials.tenant_id)
    opened_bank, opened_user, transaction = page["items"]
    assert (page["next_after"], page["head"]) == (3, 3)
    assert transaction == {
        "specversion": "1.0",
        "id": f"{tenant}/3",
        "source": f"urn:ledgerx:tenant:{tenant}",
        "type": "ledgerx.transaction.posted",
        "subject": "transactions/3",
        "time": posted["recorded_at"],
        "datacontenttype": "application/json",
        "sequence": "0000000000000000003",
        "data": {name: value for name, value in posted.items() if name != "balances"},
    }
    assert opened_bank["subject"] == "accounts/bank"
    assert opened_user["type"] == "ledgerx.account.opened"
    assert opened_user["data"]["id"] == 2
    assert opened_user["data"]["account"] == {
        "code": "user",
        "asset": "USD",
        "scale": 2,
        "type": "liability",
        "normal_side": "credit",
        "status": "open",
        "min_balance": "0.00",
        "max_balance": None,
        "owner": None,
    }


async def test_pages_lead_to_the_head_and_wait_there(client: LedgerClient) -> None:
    await asyncio.gather(*(client.transfer(f"{n}") for n in range(20)))
    seen: list[int] = []
    after = 0
    while (page := (await client.get("/v1/events", after=after, limit=3)).body)["items"]:
        assert len(page["items"]) <= 3
        assert page["head"] == 22
        seen += [event["data"]["id"] for event in page["items"]]
        after = page["next_after"]
    assert seen == list(range(1, 23))
    assert page == {"items": [], "next_after": 22, "head": 22}


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/stream"])
@pytest.mark.parametrize(
    ("after", "told"),
    [("3", (400, "invalid_cursor")), ("-1", (422, "invalid_field")), ("x", (422, "invalid_field"))],
)
async def test_a_cursor_that_is_none_is_refused(
    client: LedgerClient, path: str, after: str, told: tuple[int, str]
) -> None:
    assert (await client.get(path, after=after)).told == told


@pytest.mark.parametrize("path", ["/v1/events", "/v1/events/stream", "/v1/integrity"])
async def test_reading_the_journal_needs_its_scope(api: ApiProcess, client: LedgerClient, path: str) -> None:
    client.token = None
    assert (await client.get(path)).told == (401, "unauthenticated")


async def test_the_stream_needs_the_scope_to_read(
    api: ApiProcess, client: LedgerClient, shared_database: Database
) -> None:
    await client.log_in(await new_tenant(shared_database, frozenset({Scope.LEDGER_WRITE})))
    assert (await client.get("/v1/events/stream")).told == (403, "forbidden")


async def forget(database: Database, credentials: ClientCredentials, last: int) -> None:
    """Do to the outbox what the end of the retention does to its first rows."""
    async with await psycopg.AsyncConnection.connect(database.admin_url) as admin:
        await admin.execute(
            "DELETE FROM ledgerx.outbox WHERE tenant_id = %s AND last_seq <= %s", (credentials.tenant_id, last)
        )


async def test_a_cursor_older_than_the_retention_is_gone(
    api: ApiProcess, client: LedgerClient, credentials: ClientCredentials, shared_database: Database
) -> None:
    await client.transfer("k")
    await forget(shared_database, credentials, 2)
    for path in ("/v1/events", "/v1/events/stream"):
        gone = await client.get(path, after=1)
        assert gone.told == (410, "events_expired")
        assert gone.headers["Content-Type"] == PROBLEM
        assert gone.body["oldest"] == 2
    assert [event["data"]["id"] for event in (await client.get("/v1/events", after=2)).body["items"]] == [3]

    await forget(shared_database, credentials, 3)
    assert (await client.get("/v1/events", after=2)).body["oldest"] == 3
    assert (await client.get("/v1/events", after=3)).body == {"items": [], "next_after": 3, "head": 3}


async def test_a_gap_in_what_is_kept_ends_the_page_before_it(
    client: LedgerClient, credentials: ClientCredentials, shared_database: Database
) -> None:
    await client.transfer("k")
    async with await psycopg.AsyncConnection.connect(shared_database.admin_url) as admin:
        await admin.execute(
            "DELETE FROM ledgerx.outbox WHERE tenant_id = %s AND last_seq = 2", (credentials.tenant_id,)
        )
    assert (await client.get("/v1/events")).body["next_after"] == 1
    assert (await client.get("/v1/events", after=1)).told == (410, "events_expired")


async def test_a_stream_begins_now_or_where_it_is_told_to(api: ApiProcess, client: LedgerClient) -> None:
    async with (
        opened(api, client.token) as now,
        opened(api, client.token, after=0) as first,
        opened(api, client.token, after=0, headers={"Last-Event-ID": "1"}) as again,
    ):
        assert now.headers["Content-Type"].startswith("text/event-stream")
        assert now.headers["Cache-Control"] == "no-store"
        # Who is cut off before the first event has its id already.
        assert await now.content.readuntil(b"\n\n") == b"retry: 1000\nid: 2\n\n"
        await client.transfer("k")
        assert await take(now, 1) == [3]
        assert await take(first, 3) == [1, 2, 3]
        assert await take(again, 2) == [2, 3]


async def test_reconnects_lose_and_repeat_nothing_while_writers_race(api: ApiProcess, client: LedgerClient) -> None:
    """One stream that reconnects all the time sees what one that stays sees: every number once, in order."""

    async def write(writer: int) -> None:
        for number in range(40):
            assert (await client.transfer(f"{writer}-{number}-{secrets.token_hex(4)}")).status == 201

    async def stay() -> list[int]:
        async with opened(api, client.token, after=0) as answer:
            return await take(answer, 322)

    async def reconnect() -> list[int]:
        seen: list[int] = []
        while len(seen) < 322:
            last = {"Last-Event-ID": f"{seen[-1]}"} if seen else {}
            async with opened(api, client.token, after=0, headers=last) as answer:
                seen += await take(answer, min(1 + len(seen) % 23, 322 - len(seen)))
        return seen

    stayed, reconnected, *_ = await asyncio.gather(stay(), reconnect(), *(write(writer) for writer in range(8)))
    assert stayed == reconnected == list(range(1, 323))


async def test_a_slow_client_holds_nobody_up_and_loses_nothing(api: ApiProcess, client: LedgerClient) -> None:
    """It leaves more unread than any buffer takes, and reads all of it once others have read it."""
    description = "x" * 1_000
    async with opened(api, client.token, after=0) as slow, opened(api, client.token, after=0) as quick:
        sent = asyncio.gather(
            *(client.transfer(f"{n}", description=description, metadata={"m": "y" * 12_000}) for n in range(600))
        )
        assert await take(quick, 602) == list(range(1, 603))
        assert {answer.status for answer in await sent} == {201}
        assert await take(slow, 602) == list(range(1, 603))


async def test_a_stream_ends_when_the_token_expires(
    api: ApiProcess, client: LedgerClient, credentials: ClientCredentials
) -> None:
    # Good for a moment yet, by the leeway for differing clocks.
    token = api.token(credentials.tenant_id, ttl_s=-3)
    async with opened(api, token, after=0) as answer:
        posting = asyncio.create_task(_post_until_ended(client))
        async for _ in read_events(answer):
            pass
        posting.cancel()
        assert answer.status == 200
    async with opened(api, token, after=0) as answer:
        assert answer.status == 401


async def _post_until_ended(client: LedgerClient) -> None:
    while True:
        await client.transfer(secrets.token_hex(4))


async def test_a_tenant_may_open_some_streams_and_others_too_then(
    api: ApiProcess, client: LedgerClient, shared_database: Database
) -> None:
    async with _many(api, client.token, 20) as streams:
        assert {answer.status for answer in streams} == {200}
        refused = await client.get("/v1/events/stream")
        assert refused.told == (503, "too_many_streams")
        assert refused.headers["Retry-After"] == "1"
        other = api.token((await new_tenant(shared_database)).tenant_id)
        async with opened(api, other) as answer:
            assert answer.status == 200
        await client.transfer("k")
        assert [await take(answer, 1) for answer in streams] == [[3]] * 20

    async def room() -> bool:
        async with opened(api, client.token) as answer:
            return answer.status == 200

    while not await room():  # noqa: ASYNC110 - another process sets no event
        await asyncio.sleep(0.05)


@asynccontextmanager
async def _many(api: ApiProcess, token: str | None, count: int) -> AsyncIterator[list[aiohttp.ClientResponse]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(opened(api, token)) for _ in range(count)]


async def test_a_stop_ends_open_streams_cleanly(
    shared_database: Database, servers_directory: Any, credentials: ClientCredentials
) -> None:
    process = ApiProcess(shared_database, servers_directory)
    process.start()
    async with opened(process, process.token(credentials.tenant_id)) as idle:
        assert idle.status == 200
        ended = asyncio.create_task(asyncio.to_thread(process.end))
        # To its very end: an answer that is cut off would raise.
        assert (await idle.content.read()).endswith(b"id: 0\n\n")
        assert await ended == 0


async def test_integrity_tells_the_head_and_what_the_streams_have_reached(
    client: LedgerClient, credentials: ClientCredentials, shared_database: Database
) -> None:
    posted = (await client.transfer("k")).body
    answer = (await client.get("/v1/integrity")).body
    assert answer == {
        "healthy": True,
        "finding": None,
        "sequence": 3,
        "hash": posted["hash"],
        "recorded_at": posted["recorded_at"],
        "projections": [],
    }
    tenant_id = credentials.tenant_id
    async with (
        await db.connect(shared_database.streams_url, application_name="test") as connection,
        tenant_scope(connection, tenant_id),
    ):
        await connection.execute(
            "INSERT INTO ledgerx.projections SELECT tenant_id, 'balances', seq, hash FROM ledgerx.entries"
            " WHERE tenant_id = %s AND seq = 3",
            (tenant_id,),
        )
        await connection.execute(
            "INSERT INTO ledgerx.projections SELECT tenant_id, 'marks', 1, sha256('') FROM ledgerx.entries"
            " WHERE tenant_id = %s AND seq = 1",
            (tenant_id,),
        )
    answer = (await client.get("/v1/integrity")).body
    assert answer["healthy"] is False
    balances, marks = answer["projections"]
    assert balances == {"name": "balances", "sequence": 3, "behind_entries": 0, "behind_s": 0, "consistent": True}
    assert (marks["name"], marks["behind_entries"], marks["consistent"]) == ("marks", 2, False)
    assert marks["behind_s"] > 0


async def test_the_integrity_of_an_empty_journal_is_its_genesis(
    api: ApiProcess, client: LedgerClient, shared_database: Database
) -> None:
    client.token = api.token((await new_tenant(shared_database)).tenant_id)
    answer = (await client.get("/v1/integrity")).body
    assert (answer["sequence"], answer["projections"]) == (0, [])
