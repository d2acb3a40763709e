"""A running platform whose parts are killed at random under load: nothing acknowledged is lost, nothing is there twice.

`make chaos` kills more often; the seed that a failure names makes the same choices again.
"""

import asyncio
import os
import random
import time
from pathlib import Path

import aiohttp
import psycopg
import pytest

from ledgerx_cli import platform
from tests.integration import chaos_checks as checks
from tests.integration.chaos_kills import kill_at_random
from tests.integration.chaos_load import FAILING_NOW_AND_THEN, Posts, ask_for_exports, open_accounts
from tests.integration.ledger_client import LedgerClient
from tests.integration.up_process import Up, clients_of_the_demo, tenant_of
from tests.webhook_receiver import Receiver

KILLS = int(os.environ.get("LEDGERX_CHAOS_KILLS", "5"))
SEED = int(os.environ.get("LEDGERX_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)


@pytest.mark.timeout(240 + 60 * KILLS)
def test_parts_killed_under_load_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    print(f"LEDGERX_CHAOS_SEED={SEED}")  # noqa: T201 - pytest shows it where the test fails
    data = tmp_path / "data"
    # Who is killed with an event in hand holds its endpoint up for twice the time-out.
    settings = {"LEDGERX_WEBHOOKS_ALLOW_PRIVATE": "true", "LEDGERX_WEBHOOKS_TIMEOUT_S": "2"}
    with Receiver().running() as receiver, Up(data, **settings) as up:
        asyncio.run(_storm(data, receiver))
        assert up.stop() == 0


async def _storm(data: Path, receiver: Receiver) -> None:
    chance = random.Random(SEED)  # noqa: S311 - the same choices again
    demo = platform.demo(data)
    async with clients_of_the_demo(data) as (session, ledger, owner):
        await open_accounts(ledger)
        receiver.site("moody").answers = list(FAILING_NOW_AND_THEN)
        endpoints = {name: await _new_endpoint(owner, receiver.url(name)) for name in ("steady", "moody")}
        posts = Posts(ledger)
        posting = asyncio.create_task(posts.run())
        asking = asyncio.create_task(ask_for_exports(owner, chance))
        await kill_at_random(data, session, chance, kills=KILLS)
        asking.cancel()
        posts.stop()
        await posting

        head = await checks.projections_at_the_head(ledger)
        recorded = {one["idempotency_key"]: one["id"] async for one in checks.transactions(ledger)}
        assert recorded == posts.acknowledged
        await checks.check_the_topic(data, tenant_of(demo), head)
        verified = await asyncio.to_thread(checks.verify, data, demo.tenant)
        assert (verified["ok"], verified["transactions"]) == (True, len(recorded)), verified
        for name, webhook_id in endpoints.items():
            await checks.check_the_webhook(owner, webhook_id, receiver.site(name), head)
        exports = await checks.check_the_exports(owner, session, sorted(recorded.values()))
        assert (await ledger.get("/v1/integrity")).body["healthy"]
        found_after_s = await _corrupt(data, session, ledger, seq=head)
    print(f"{KILLS} kills, {len(recorded)} transactions, {head} events to each of {len(endpoints)} webhooks,")  # noqa: T201
    print(f"{exports} exports; a corrupted row was found after {found_after_s:.0f} s")  # noqa: T201


async def _new_endpoint(owner: LedgerClient, url: str) -> str:
    made = await owner.request("POST", "/v1/webhooks", body={"url": url, "from_sequence": 1})
    assert made.status == 201, made.body
    return str(made.body["id"])


async def _corrupt(data: Path, session: aiohttp.ClientSession, ledger: LedgerClient, *, seq: int) -> float:
    """Change a row as a superuser whom no trigger stops; how many seconds it takes until that is reported."""
    running = platform.find(data)
    with psycopg.connect(running.database.admin_url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        changed = connection.execute("UPDATE ledgerx.postings SET amount = 2 * amount WHERE seq = %s", (seq,))
        assert changed.rowcount == 2
    began = time.monotonic()
    while (finding := (await ledger.get("/v1/integrity")).body["finding"]) is None:  # noqa: ASYNC110 - nobody calls
        await asyncio.sleep(0.2)
    assert (finding["sequence"], finding["found_by"]) == (seq, "scrubber")
    assert await checks.metric(session, running.management["streams"], "ledgerx_integrity_findings_total") > 0
    return time.monotonic() - began
