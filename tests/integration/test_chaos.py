"""A running platform whose parts are killed at random under load: nothing acknowledged is lost, nothing is there twice.

`make chaos` kills more often; the seed that a failure names makes the same choices again.
"""

import asyncio
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import msgspec
import pytest
from aiokafka import AIOKafkaConsumer

from ledgerx.errors import ConfigurationError
from ledgerx.events import TOPIC_JOURNAL, decode
from ledgerx.tenancy import ClientCredentials
from ledgerx_cli import platform
from ledgerx_cli.progress import Ready
from tests.integration.ledger_client import LedgerClient
from tests.integration.up_process import COMMAND, Up

KILLS = int(os.environ.get("LEDGERX_CHAOS_KILLS", "5"))
SEED = int(os.environ.get("LEDGERX_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
PARTS = ("relay", "streams", "kafka", "postgres", "api")
CLIENTS = 8


class Load:
    """Clients that post until told to stop, each with a key that it keeps until its transaction is acknowledged."""

    def __init__(self, ledger: LedgerClient) -> None:
        self._ledger = ledger
        self._stopping = False
        # The number of the transaction by the key that it was posted with.
        self.acknowledged: dict[str, int] = {}

    async def run(self, client: int) -> None:
        number = 0
        while not self._stopping:
            key = f"{client}-{number}"
            number += 1
            while (answer := await self._try(key)) is None:  # noqa: ASYNC110 - the server says nothing before
                await asyncio.sleep(0.2)
            self.acknowledged[key] = answer

    async def _try(self, key: str) -> int | None:
        try:
            answer = await self._ledger.transfer(key, "1.00", debit="chaos:bank", credit=f"chaos:{key[0]}")
        except (aiohttp.ClientError, TimeoutError):
            return None
        if answer.status == 503:
            return None
        assert answer.status == 201, answer.body
        return int(answer.body["id"])

    def stop(self) -> None:
        self._stopping = True


@pytest.mark.timeout(120 + 60 * KILLS)
def test_parts_killed_under_load_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    print(f"LEDGERX_CHAOS_SEED={SEED}")  # noqa: T201 - pytest shows it where the test fails
    with Up(tmp_path / "data") as up:
        asyncio.run(_storm(up, tmp_path / "data"))
        assert up.stop() == 0


async def _storm(up: Up, data: Path) -> None:
    assert isinstance(up.ready, Ready)
    demo = platform.demo(data)
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(up.base_url, timeout=timeout) as session:
        ledger = LedgerClient(session)
        tenant_id = UUID(demo.client_id.partition(".")[0])
        await ledger.log_in(
            ClientCredentials(tenant_id=tenant_id, client_id=demo.client_id, client_secret=demo.client_secret)
        )
        assert (await ledger.open_account("chaos:bank", "asset")).status == 201
        for client in range(CLIENTS):
            assert (await ledger.open_account(f"chaos:{client}")).status == 201
        load = Load(ledger)
        clients = [asyncio.create_task(load.run(client)) for client in range(CLIENTS)]
        await _kill_at_random(data, session)
        load.stop()
        await asyncio.gather(*clients)
        head = await _until_the_projections_are_at_the_head(ledger)

        recorded = {item["idempotency_key"]: item["id"] async for item in _transactions(ledger)}
        assert recorded == load.acknowledged
        await _check_the_topic(data, head)
    command = [*COMMAND, "verify", "--tenant", demo.tenant, "--data", str(data), "--json"]
    verified = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    assert verified.returncode == 0, verified.stdout
    assert msgspec.json.decode(verified.stdout)["transactions"] == len(load.acknowledged)


async def _kill_at_random(data: Path, session: aiohttp.ClientSession) -> None:
    chance = random.Random(SEED)  # noqa: S311 - the same choices again
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.2, 2))
        part = chance.choice(PARTS)
        pid = platform.find(data).pids[part]
        os.kill(pid, signal.SIGKILL)
        while not await _is_back(data, part, pid, session):  # noqa: ASYNC110 - no event crosses processes
            await asyncio.sleep(0.1)


async def _is_back(data: Path, part: str, killed: int, session: aiohttp.ClientSession) -> bool:
    try:
        running = platform.find(data)
        if running.pids[part] == killed:
            return False
        base = {**running.management, "kafka": running.base_url, "postgres": running.base_url}[part]
        async with session.get(f"{base}/readyz") as answer:
            return answer.status == 200
    except (ConfigurationError, aiohttp.ClientError):
        return False


async def _until_the_projections_are_at_the_head(ledger: LedgerClient) -> int:
    while True:
        state = (await ledger.get("/v1/integrity")).body
        assert all(one["consistent"] for one in state["projections"]), state
        if all(one["sequence"] == state["sequence"] for one in state["projections"]):
            return int(state["sequence"])
        await asyncio.sleep(0.2)


async def _transactions(ledger: LedgerClient) -> AsyncIterator[dict[str, Any]]:
    parameters = {"prefix": "chaos:", "limit": 200}
    while True:
        page = (await ledger.get("/v1/transactions", **parameters)).body
        for item in page["items"]:
            yield item
        if page["next_cursor"] is None:
            return
        parameters["cursor"] = page["next_cursor"]


async def _check_the_topic(data: Path, head: int) -> None:
    """Kafka has every entry at least once, and in order but for repeats."""
    reached = 0
    async with AIOKafkaConsumer(
        TOPIC_JOURNAL, bootstrap_servers=platform.find(data).kafka, auto_offset_reset="earliest"
    ) as consumer:
        async for record in consumer:
            message = decode(record.value)
            assert message.first <= reached + 1
            reached = max(reached, message.last)
            if reached == head:
                return
