"""What a large export takes: time, processor and memory of the process that writes it, in each format.

Run it from the top of the repository: `.venv/bin/python -m bench.exports --postings 10000000`. It brings a PostgreSQL
of its own, writes to a folder, and keeps nothing unless `--data` says where; a journal that a run before left there is
used again. Half of the postings are those of one account.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg

from bench.reading import servers
from ledgerx import database as db
from ledgerx.exports import Dataset, Format
from ledgerx.logins import Database
from ledgerx.tenancy import create_tenant
from ledgerx_streams.projections.balances import BALANCES
from ledgerx_streams.rebuild import rebuild
from tests.integration.large_journal import fill_journal

_WANTED = [(Dataset.POSTINGS, Format.CSV), (Dataset.POSTINGS, Format.JSONL), (Dataset.POSTINGS, Format.PARQUET)]
_WANTED += [(Dataset.TRANSACTIONS, Format.BEANCOUNT)]


async def run(postings: int, formats: list[str], data: Path | None, output: Path | None) -> None:
    """Export a journal in each format, and print what each took."""
    results = []
    async with servers(data) as (database, _api):
        tenant_id, last = await journal(database, transactions=postings // 2)
        for dataset, file_format in _WANTED:
            if file_format in formats:
                results.append(export(database, tenant_id, last, dataset, file_format))
    shown = {"at": datetime.now(UTC).isoformat(), "postings": postings, "exports": results}
    if output is not None:
        await asyncio.to_thread(output.write_text, json.dumps(shown, indent=2) + "\n", encoding="ascii")


async def journal(database: Database, *, transactions: int) -> tuple[UUID, int]:
    """The tenant with such a journal, made if it is not there, and its last entry."""
    name = f"bench/exports-{transactions}"
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        query = "SELECT tenant_id, seq FROM ledgerx.tenants INNER JOIN ledgerx.heads USING (tenant_id) WHERE name = %s"
        found = connection.execute(query, (name,)).fetchone()
        if found is not None:
            tenant_id, last = found
            return tenant_id, last
        async with await db.connect(database.owner_url, application_name="bench") as owner:
            tenant_id = await create_tenant(owner, name)
        last = fill_journal(database, tenant_id, transactions=transactions, dated=10)
        # What the streams would have made of it: balances go by its marks.
        async with db.pool(database.owner_url, application_name="bench", max_size=2) as pool:
            await rebuild(pool, BALANCES, tenant_id, lambda _done, _total: None)
        connection.execute("VACUUM ANALYZE")
    return tenant_id, last


def export(
    database: Database, tenant_id: UUID, last: int, dataset: Dataset, file_format: Format
) -> dict[str, float | str]:
    """Write one export in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="ledgerx-exports-") as folder:
        arguments = [Path(folder).as_uri(), tenant_id, last, dataset, file_format]
        command = [sys.executable, "-m", "tests.integration.export_once", *map(str, arguments)]
        environment = os.environ | {"LEDGERX_DATABASE_URL": database.streams_url}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)  # noqa: S603 - our own
        shown = done.stdout
    sys.stdout.write(shown.decode())
    sys.stdout.flush()
    found: dict[str, float | str] = json.loads(shown)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postings", type=int, default=10_000_000)
    parser.add_argument("--formats", nargs="+", default=[file_format.value for _, file_format in _WANTED])
    parser.add_argument("--data", type=Path, help="where to keep the database")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    asyncio.run(run(given.postings, given.formats, given.data, given.output))
