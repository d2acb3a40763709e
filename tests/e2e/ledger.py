"""The ledger of a tenant, by its connection Secret alone."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import aiohttp

from tests.e2e.cluster import Release
from tests.integration import chaos_checks as checks
from tests.integration.chaos_load import Posts, open_accounts
from tests.integration.ledger_client import LedgerClient
from tests.operator import connection_secrets
from tests.operator.connection_secrets import credentials_in
from tests.operator.kube import Kube
from tests.operator.operator_process import ledger_tenant, ready

# pytest's `record_property`: figures in the report.
Tell: TypeAlias = Callable[[str, object], None]
# A connection may be cut at any moment, and a node's rules follow the pods by a moment.
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_ANSWER_S = 60
_SURELY_ALL_PODS = 10


def declare(kube: Kube, namespace: str, name: str, **spec: object) -> tuple[dict[str, str], float]:
    """Declare a tenant; its connection Secret, and after how many seconds it was ready."""
    began = time.monotonic()
    kube.apply(ledger_tenant(namespace, name, **spec))
    ready(kube, "LedgerTenant", namespace, name)
    after_s = time.monotonic() - began
    secret = kube.secret(namespace, f"{name}-ledger")
    assert secret is not None
    return secret, after_s


@asynccontextmanager
async def session_of(release: Release) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with the API of a release, with a connection for each request: it finds the pods of the moment."""
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(release.base_url, connector=connector, timeout=_TIMEOUT) as session:
        yield session


@asynccontextmanager
async def ledger_of(release: Release, secret: dict[str, str]) -> AsyncIterator[LedgerClient]:
    """A client of the tenant of a connection Secret, logged in."""
    async with session_of(release) as session:
        client = LedgerClient(session)
        credentials = credentials_in(secret)
        async with asyncio.timeout(_ANSWER_S):
            while client.token is None:
                try:
                    await client.log_in(credentials)
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.2)
        yield client


async def token_status(release: Release, secret: dict[str, str]) -> tuple[int, str | None]:
    """How the API of a release answers a client of a Secret that asks for a token."""
    async with session_of(release) as session:
        return await connection_secrets.token_status(session, secret)


async def served(release: Release, secret: dict[str, str]) -> None:
    """Wait until each pod knows that the tenant of a Secret is active: they ask once a second."""
    served_in_a_row = 0
    async with asyncio.timeout(_ANSWER_S):
        while served_in_a_row < _SURELY_ALL_PODS:
            status, code = await token_status(release, secret)
            assert code in (None, "tenant_suspended"), code
            served_in_a_row = served_in_a_row + 1 if status == 200 else 0


async def lose_nothing(release: Release, secrets: list[dict[str, str]], disturb: Callable[[], None]) -> int:
    """Post to tenants, whose ledgers are empty, while somebody disturbs; returns how many transactions there are then.

    What was acknowledged is there, once, and nothing else; all projections get to the head.
    """
    recorded = 0
    async with asyncio.TaskGroup() as tenants:
        disturbing = asyncio.create_task(asyncio.to_thread(disturb))
        posting = [tenants.create_task(_post_until(disturbing, release, secret)) for secret in secrets]
    for one in posting:
        recorded += one.result()
    return recorded


async def _post_until(end: "asyncio.Task[None]", release: Release, secret: dict[str, str]) -> int:
    async with ledger_of(release, secret) as ledger:
        await open_accounts(ledger)
        posts = Posts(ledger)
        running = asyncio.create_task(posts.run())
        await asyncio.wait({end, running}, return_when=asyncio.FIRST_COMPLETED)
        posts.stop()
        await running
        await end
        await checks.projections_at_the_head(ledger)
        recorded = {one["idempotency_key"]: one["id"] async for one in checks.transactions(ledger)}
        assert recorded == posts.acknowledged
        return len(recorded)
