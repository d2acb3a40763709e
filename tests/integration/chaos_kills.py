"""Parts of a running platform that are killed: one by one while their supervisor looks on, or all of them at once."""

import asyncio
import os
import random
import signal
from pathlib import Path

import aiohttp
import psutil

from ledgerx.errors import ConfigurationError
from ledgerx_cli import platform
from tests.integration.up_process import Up

PARTS = ("relay", "streams", "kafka", "postgres", "api")


async def kill_at_random(data: Path, session: aiohttp.ClientSession, chance: random.Random, *, kills: int) -> None:
    """Kill a part, wait until it is back, and so on."""
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(0.2, 2))
        await kill(data, session, chance.choice(PARTS))


async def kill(
    data: Path, session: aiohttp.ClientSession, part: str, *, number: signal.Signals = signal.SIGKILL
) -> None:
    """Kill a part, or send it another signal that it ends on, and wait until it is back."""
    pid = platform.find(data).pids[part]
    os.kill(pid, number)
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


def crash(up: Up, data: Path) -> None:
    """Kill everything at once, as when the machine dies."""
    parts = [psutil.Process(pid) for pid in platform.find(data).pids.values()]
    parts = [one for part in parts for one in (part, *part.children(recursive=True))]
    up.stop(signal.SIGKILL)
    for part in parts:
        part.kill()
    psutil.wait_procs(parts)
