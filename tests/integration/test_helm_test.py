"""What `helm test` runs, against a real API."""

import subprocess
import sys
from pathlib import Path

from ledgerx.tenancy import ClientCredentials
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import LedgerClient

SCRIPT = Path(__file__).parents[2] / "charts/ledgerx/files/tests/post_and_read.py"


def run(folder: Path, base_url: str, credentials: ClientCredentials, secret: str) -> "subprocess.CompletedProcess[str]":
    for name, value in (("uri", base_url), ("client-id", credentials.client_id), ("client-secret", secret)):
        (folder / name).write_text(value)
    return subprocess.run([sys.executable, "-I", SCRIPT, folder], capture_output=True, text=True, check=False)


async def test_it_posts_and_reads_as_often_as_it_runs(
    api: ApiProcess, credentials: ClientCredentials, client: LedgerClient, tmp_path: Path
) -> None:
    for _ in range(2):
        done = run(tmp_path, api.base_url, credentials, credentials.client_secret)
        assert (done.returncode, done.stderr) == (0, "")
    posted = await client.get("/v1/transactions")
    assert len(posted.body["items"]) == 2


async def test_it_fails_where_the_tenant_lets_nobody_in(
    api: ApiProcess, credentials: ClientCredentials, tmp_path: Path
) -> None:
    done = run(tmp_path, api.base_url, credentials, "wrong")
    assert done.returncode == 1
    assert "401 Unauthorized" in done.stderr
    assert "wrong" not in done.stderr
