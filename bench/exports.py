"""What a large export takes: time, processor and memory of the process that writes it, in each format.

Run it from the top of the repository: `.venv/bin/python -m bench.exports --postings 10000000`. It brings a PostgreSQL
of its own, writes to a folder, and leaves nothing behind. Half of the postings are those of one account.
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

from bench.reading import servers
from ledgerx import database as db
from ledgerx.exports import Dataset, Format
from ledgerx.logins import Database
from ledgerx.tenancy import create_tenant
from tests.integration.large_journal import fill_journal

_WANTED = [(Dataset.POSTINGS, Format.CSV), (Dataset.POSTINGS, Format.JSONL), (Dataset.POSTINGS, Format.PARQUET)]
_WANTED += [(Dataset.TRANSACTIONS, Format.BEANCOUNT)]


async def run(postings: int, formats: list[str], output: Path | None) -> None:
    """Fill a journal, export it in each format, and print what each took."""
    results = []
    async with servers() as (database, _api):
        async with await db.connect(database.owner_url, application_name="bench") as connection:
            tenant_id = await create_tenant(connection, "bench/exports")
        last = fill_journal(database, tenant_id, transactions=postings // 2, dated=10)
        for dataset, file_format in _WANTED:
            if file_format in formats:
                results.append(export(database, tenant_id, last, dataset, file_format))
    shown = {"at": datetime.now(UTC).isoformat(), "postings": postings, "exports": results}
    if output is not None:
        await asyncio.to_thread(output.write_text, json.dumps(shown, indent=2) + "\n", encoding="ascii")


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
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    asyncio.run(run(given.postings, given.formats, given.output))
