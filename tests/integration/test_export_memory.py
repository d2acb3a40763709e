"""An export takes as much memory for many rows as for few."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ledgerx.exports import Dataset, Format
from ledgerx.logins import Database
from ledgerx.tenancy import ClientCredentials
from tests.integration.large_journal import fill_journal
from tests.integration.ledger_client import new_tenant

LIMIT_BYTES = 300_000_000
GROWTH_BYTES = 60_000_000


@pytest.fixture(scope="module")
def journals(shared_database: Database) -> list[tuple[ClientCredentials, int]]:
    """A small and a large journal, with the number of the last entry of each."""
    found = []
    for transactions in (5_000, 150_000):
        tenant = asyncio.run(new_tenant(shared_database))
        last = fill_journal(shared_database, tenant.tenant_id, transactions=transactions, dated=5)
        found.append((tenant, last))
    return found


@pytest.mark.parametrize("file_format", Format)
def test_the_memory_of_an_export_is_bounded(
    shared_database: Database,
    journals: list[tuple[ClientCredentials, int]],
    tmp_path: Path,
    file_format: Format,
) -> None:
    dataset = Dataset.TRANSACTIONS if file_format is Format.BEANCOUNT else Dataset.POSTINGS

    def took(tenant: ClientCredentials, last: int) -> dict[str, Any]:
        arguments = [tmp_path.as_uri(), tenant.tenant_id, last, dataset, file_format]
        command = [sys.executable, "-m", "tests.integration.export_once", *map(str, arguments)]
        environment = os.environ | {"LEDGERX_DATABASE_URL": shared_database.streams_url}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    small, large = (took(*journal) for journal in journals)

    assert large["rows"] == 30 * small["rows"]
    assert large["rss_bytes"] < LIMIT_BYTES
    assert large["rss_bytes"] - small["rss_bytes"] < GROWTH_BYTES
