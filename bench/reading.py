"""How long reads take on a small and on a large journal, over HTTP with one client.

Run it from the top of the repository: `.venv/bin/python -m bench.reading --postings 50000 5000000`. It brings a
PostgreSQL and an API of its own, and leaves nothing behind. Half of the postings are those of one account, and every
`--dated`th transaction has an effective time of its own.
"""

import argparse
import asyncio
import json
import random
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import aiohttp

from ledgerx.migrate import migrate
from ledgerx_cli.embedded.postgres import Postgres
from ledgerx_cli.roles import ROLES, Database, set_passwords
from ledgerx_cli.supervisor import Supervisor
from tests.integration.api_process import ApiProcess
from tests.integration.large_journal import FIRST_AT, USERS, make_large_journal

_WARM_UP = 20


@asynccontextmanager
async def servers() -> AsyncIterator[tuple[Database, ApiProcess]]:
    """A PostgreSQL with the schema, and an API on it."""
    directory = Path(tempfile.mkdtemp(prefix="ledgerx-"))
    supervisor = Supervisor(run=directory, logs=directory, report=lambda _event: None)
    try:
        postgres = Postgres(directory=directory / "postgres", password=secrets.token_urlsafe(16))
        postgres.initialise()
        await supervisor.start(postgres.part())
        migrate(postgres.url())
        database = set_passwords(postgres.url(), {role: secrets.token_urlsafe(16) for role in ROLES})
        api = ApiProcess(database, directory)
        api.start()
        try:
            yield database, api
        finally:
            api.end()
    finally:
        await supervisor.stop()
        shutil.rmtree(directory)


def reads(last: int, chance: random.Random) -> dict[str, Callable[[], str]]:
    """The paths of each kind of read, another one each time."""

    def moment() -> str:
        return (FIRST_AT + timedelta(minutes=chance.randrange(last))).isoformat().replace("+00:00", "Z")

    def period() -> str:
        begin = FIRST_AT + timedelta(minutes=chance.randrange(last))
        end = begin + timedelta(days=30)
        return f"from={begin:%Y-%m-%dT%H:%M:%SZ}&to={end:%Y-%m-%dT%H:%M:%SZ}"

    def user() -> str:
        return f"users:{chance.randrange(USERS)}"

    bank = "/v1/accounts/bank"
    return {
        "balance": lambda: f"{bank}/balance",
        "balance of a user": lambda: f"/v1/accounts/{user()}/balance",
        "balance, recorded time": lambda: f"{bank}/balance?as_of={moment()}",
        "balance, effective time": lambda: f"{bank}/balance?effective_at={moment()}",
        "balance, both times": lambda: f"{bank}/balance?as_of={moment()}&effective_at={moment()}",
        "statement, effective time": lambda: f"{bank}/statement?{period()}",
        "statement, recorded time": lambda: f"{bank}/statement?by=recorded&{period()}",
        "postings": lambda: f"{bank}/postings",
        "transactions": lambda: "/v1/transactions",
        "transactions of an account": lambda: f"/v1/transactions?account={user()}",
        "transactions of an account and a category": lambda: f"/v1/transactions?account=bank&category=c{last % 7}",
        "transactions by reference": lambda: f"/v1/transactions?reference=r{chance.randrange(USERS + 2, last)}",
        "balance of a prefix": lambda: "/v1/balance?prefix=users",
        "trial balance": lambda: "/v1/trial-balance",
        "summary of an account by day": lambda: (
            f"/v1/summary?account={user()}&from=2100-01-01&to=2101-01-01&group_by=day"
        ),
    }


async def measure(api: ApiProcess, tenant_id: UUID, last: int, requests: int) -> dict[str, tuple[float, float]]:
    """The median and the 99th percentile of each kind of read in milliseconds."""
    headers = {"Authorization": f"Bearer {api.token(tenant_id)}"}
    found = {}
    async with aiohttp.ClientSession(api.base_url, headers=headers) as session:
        for name, path in reads(last, random.Random(1)).items():  # noqa: S311 - the same in every run
            times_ms = []
            for number in range(_WARM_UP + requests):
                started = time.perf_counter()
                async with session.get(path()) as answer:
                    await answer.read()
                    answer.raise_for_status()
                if number >= _WARM_UP:
                    times_ms.append((time.perf_counter() - started) * 1e3)
            times_ms.sort()
            found[name] = (times_ms[len(times_ms) // 2], times_ms[int(len(times_ms) * 0.99)])
    return found


async def run(sizes: list[int], dated: int, requests: int) -> None:
    """Measure on journals of each size and print what was found, as JSON lines."""
    for postings in sizes:
        async with servers() as (database, api):
            transactions = postings // 2
            tenant_id = await make_large_journal(database, "bench/reading", transactions=transactions, dated=dated)
            found = await measure(api, tenant_id, USERS + 1 + transactions, requests)
            for name, (median_ms, p99_ms) in found.items():
                line = {"postings": postings, "read": name, "p50_ms": round(median_ms, 2), "p99_ms": round(p99_ms, 2)}
                print(json.dumps(line), flush=True)  # noqa: T201 - what it is for


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postings", type=int, nargs="+", default=[50_000, 5_000_000])
    parser.add_argument("--dated", type=int, default=2, help="every how many transactions one has a time of its own")
    parser.add_argument("--requests", type=int, default=500, help="of each kind of read")
    options = parser.parse_args()
    asyncio.run(run(options.postings, options.dated, options.requests))


if __name__ == "__main__":
    main()
