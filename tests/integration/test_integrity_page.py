"""docs/integrity.md, followed by the letter."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ledgerx import database as db
from ledgerx.keys import read_keyset, write_new_keyset
from ledgerx.logins import Database
from ledgerx.notes import open_note, parse_verifier_key
from ledgerx.tenancy import ClientCredentials
from ledgerx_streams.projections.checkpoints import CHECKPOINTS
from ledgerx_streams.signing import Signer
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import LedgerClient
from tests.integration.streaming import stream

PAGE = (Path(__file__).parents[2] / "docs" / "integrity.md").read_text(encoding="utf-8")
LEDGER = 'ledger() { curl -fsS -H "Authorization: Bearer $TOKEN" "$@"; }\n'


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def run(
    api: ApiProcess, client: LedgerClient, shared_database: Database, tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a block as somebody with a token, and with the owner's database."""
    environment = {
        **os.environ,
        "API": api.base_url,
        "TOKEN": str(client.token),
        "LEDGERX_DATABASE_URL": shared_database.owner_url,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


async def test_a_transaction_is_verified_offline_step_by_step(
    client: LedgerClient,
    credentials: ClientCredentials,
    shared_database: Database,
    run: Callable[..., subprocess.CompletedProcess[str]],
    tmp_path: Path,
) -> None:
    for number in range(4):
        await client.transfer(f"{number}")
    await stream(shared_database, credentials.tenant_id, CHECKPOINTS)
    write_new_keyset(tmp_path / "keys.json")
    async with db.pool(shared_database.streams_url, application_name="test", max_size=1) as pool:
        keyset = read_keyset(tmp_path / "keys.json")
        await Signer(pool=pool, keyset=keyset, platform="ledgerx", interval_s=0).sign_due()
    from_a_kept_note, steps, schedule = blocks("sh")
    note, shown = blocks("text")

    followed = run("/bin/sh", "-eu", "-c", LEDGER + steps)
    assert re.fullmatch(re.escape(shown).replace("…", ".+"), followed.stdout), followed.stderr

    [program] = blocks("python")
    (tmp_path / "verify.py").write_text(program)
    assert run(sys.executable, "-I", "verify.py", "proof.json", "verifier.key").stdout == (
        "entry 3 is in the checkpoint of 6 entries\n"
    )
    proof: dict[str, Any] = json.loads((tmp_path / "proof.json").read_text())
    for forged in (
        {"entry": proof["entry"].replace('"100"', '"900"')},
        {"checkpoint": proof["checkpoint"].replace("\n6\n", "\n7\n")},
        {"proof": proof["proof"][:-1]},
    ):
        (tmp_path / "proof.json").write_text(json.dumps(proof | forged))
        for command in (
            (sys.executable, "-I", "verify.py", "proof.json", "verifier.key"),
            ("ledgerx", "verify-proof", "proof.json", "--key", "verifier.key"),
        ):
            assert run(*command).returncode == 1

    between = (await client.get("/v1/checkpoints/proof", **{"from": 6, "to": 6})).body
    del between["from"]
    (tmp_path / "proof.json").write_text(json.dumps(between))
    (tmp_path / "kept-note.txt").write_text(proof["checkpoint"])
    assert run("/bin/sh", "-eu", "-c", from_a_kept_note).stdout.endswith("begins with that of 6: verified\n")

    # The note that is shown has as many lines as one of ours.
    key = parse_verifier_key((tmp_path / "verifier.key").read_text())
    text = open_note(proof["checkpoint"], [key])
    shown_text = note.rpartition("\n\n")[0]
    assert [line.partition("/")[0][:13] for line in text.splitlines()][::3] == ["ledgerx", "trial-balance"]
    assert len(shown_text.splitlines()) == len(text.splitlines())

    with psycopg.connect(shared_database.admin_url) as connection:
        query = "SELECT name FROM ledgerx.tenants WHERE tenant_id = %s"
        [(name,)] = connection.execute(query, (credentials.tenant_id,)).fetchall()
    assert run("/bin/sh", "-eu", "-c", schedule.replace(" demo ", f" {name} ")).stdout == (
        "schedule: 0 0 * * *\nretention_days: 3650\n"
    )
    assert run("ledgerx", "tenant", "clear-findings", name).stdout == f"{name}: 0 cleared\n"
