"""What has to hold of a platform after its parts were killed, held against what was acknowledged."""

import asyncio
import csv
import hashlib
import io
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import msgspec
from aiokafka import AIOKafkaConsumer
from arro3.io import read_parquet
from prometheus_client.parser import text_string_to_metric_families

from ledgerx.events import TOPIC_JOURNAL, decode
from ledgerx_cli import platform
from tests.integration.ledger_client import LedgerClient
from tests.integration.relaying import eventually
from tests.integration.up_process import COMMAND
from tests.webhook_receiver import Site

_POLL_S = 0.2


async def projections_at_the_head(ledger: LedgerClient) -> int:
    """Wait until all projections are where the journal is, and return where that is."""
    while True:
        state = (await ledger.get("/v1/integrity")).body
        assert state["healthy"], state
        if all(one["sequence"] == state["sequence"] for one in state["projections"]):
            return int(state["sequence"])
        await asyncio.sleep(_POLL_S)


async def transactions(ledger: LedgerClient) -> AsyncIterator[dict[str, Any]]:
    """All that there are."""
    async for page in ledger.pages("/v1/transactions", 200):
        for transaction in page:
            yield transaction


def verify(data: Path, tenant: str) -> dict[str, Any]:
    """What `ledgerx verify` says, which computes the projections anew from the journal."""
    command = [*COMMAND, "verify", "--tenant", tenant, "--data", str(data), "--json"]
    verified: dict[str, Any] = msgspec.json.decode(subprocess.run(command, capture_output=True, check=False).stdout)
    return verified


async def check_the_topic(data: Path, tenant_id: UUID, head: int) -> None:
    """Kafka has, or gets, every entry of a tenant at least once, and in order but for repeats."""
    reached = 0
    async with AIOKafkaConsumer(
        TOPIC_JOURNAL, bootstrap_servers=platform.find(data).kafka, auto_offset_reset="earliest"
    ) as consumer:
        async for record in consumer:
            if record.key != str(tenant_id).encode():
                continue
            message = decode(record.value)
            assert message.first <= reached + 1
            reached = max(reached, message.last)
            if reached == head:
                return


async def check_the_webhook(owner: LedgerClient, webhook_id: str, site: Site, head: int) -> None:
    """A receiver gets every event at least once, and in order but for repeats."""

    async def is_through() -> bool:
        return not (await owner.get(f"/v1/webhooks/{webhook_id}")).body["behind"]

    await eventually(is_through)
    assert list(dict.fromkeys(site.seqs)) == list(range(1, head + 1))


async def check_the_exports(owner: LedgerClient, session: aiohttp.ClientSession, ids: list[int]) -> int:
    """Every export becomes a whole file, with those of all transactions `ids` up to its entry; how many there are."""
    exports = [export async for page in owner.pages("/v1/exports", 50) for export in page]
    for export in exports:
        shown = await _ended(owner, export["id"])
        assert shown["status"] == "done", shown
        async with session.get(shown["download"]["url"]) as answer:
            content = await answer.read()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (shown["bytes"], shown["sha256"])
        assert _IDS[shown["format"]](content) == [one for one in ids if one <= shown["sequence"]]
    return len(exports)


async def _ended(owner: LedgerClient, export_id: str) -> dict[str, Any]:
    while True:
        shown: dict[str, Any] = (await owner.get(f"/v1/exports/{export_id}")).body
        if shown["status"] not in ("queued", "running"):
            return shown
        await asyncio.sleep(_POLL_S)


def _of_csv(content: bytes) -> list[int]:
    return [int(row["id"]) for row in csv.DictReader(io.StringIO(content.decode()))]


def _of_jsonl(content: bytes) -> list[int]:
    return [int(json.loads(line)["id"]) for line in content.splitlines()]


def _of_parquet(content: bytes) -> list[int]:
    return [int(number) for number in read_parquet(io.BytesIO(content)).read_all().column("id").to_pylist()]


_IDS: dict[str, Callable[[bytes], list[int]]] = {"csv": _of_csv, "jsonl": _of_jsonl, "parquet": _of_parquet}


async def metric(session: aiohttp.ClientSession, base_url: str, name: str) -> float:
    """A metric of a part, summed over its labels."""
    async with session.get(f"{base_url}/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)
