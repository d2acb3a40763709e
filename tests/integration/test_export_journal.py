"""`ledgerx export-journal` and `ledgerx verify --file`, as people run them."""

import gzip
import json
import secrets
from pathlib import Path

import pytest

from ledgerx import database as db
from ledgerx.batch import run_batch
from ledgerx.logins import Database
from ledgerx.tenancy import create_tenant
from tests.commands import opening, transfer
from tests.integration.up_process import ledgerx
from tests.unit.memory_ledger import NOON


@pytest.fixture
async def tenant(shared_database: Database) -> str:
    """A tenant with 1,102 entries: more than one page."""
    name = f"test/{secrets.token_hex(6)}"
    async with await db.connect(shared_database.owner_url, application_name="test") as connection:
        tenant_id = await create_tenant(connection, name)
    posts = [transfer(f"{n}", description="é\u2028", metadata='{"n":1}') for n in range(1_100)]
    async with await db.connect(shared_database.api_url, application_name="test") as connection:
        await run_batch(connection, tenant_id, [opening("bank"), opening("user"), *posts], clock=lambda: NOON)
    return name


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


@pytest.mark.parametrize("name", ["journal.jsonl", "journal.jsonl.gz"])
async def test_an_exported_journal_verifies_without_the_ledger(
    shared_database: Database, tenant: str, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    written = await ledgerx(shared_database, "export-journal", "--tenant", tenant, "--output", str(path), "--json")
    assert json.loads(written.stdout) == {"file": str(path), "entries": 1_102}
    assert names(tmp_path) == [name]
    assert path.stat().st_mode & 0o077 == 0
    content = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    assert len(content.splitlines()) == 1_103

    stored = await ledgerx(shared_database, "verify", "--tenant", tenant, "--json")
    offline = await ledgerx(None, "verify", "--file", str(path), "--json")
    assert offline.returncode == 0
    assert json.loads(offline.stdout) == json.loads(stored.stdout)

    lines = content.splitlines(keepends=True)
    lines[700] = lines[700].replace(b'"amount":"100"', b'"amount":"101"', 1)
    path.write_bytes(gzip.compress(b"".join(lines)) if name.endswith(".gz") else b"".join(lines))
    forged = await ledgerx(None, "verify", "--file", str(path))
    assert forged.returncode == 1
    assert forged.stdout.endswith("NOT verified\n")
    assert "700: the hash does not match" in forged.stdout


async def test_a_compressed_file_that_was_cut_off_is_found(
    shared_database: Database, tenant: str, tmp_path: Path
) -> None:
    path = tmp_path / "journal.jsonl.gz"
    await ledgerx(shared_database, "export-journal", "--tenant", tenant, "--output", str(path))
    path.write_bytes(path.read_bytes()[:-2_000])
    cut = await ledgerx(None, "verify", "--file", str(path), "--json")
    assert cut.returncode == 1
    report = json.loads(cut.stdout)
    assert 0 < report["entries"] < 1_102
    assert "cannot be read" in report["findings"][0]["what"]


async def test_a_failed_export_leaves_what_was_there(shared_database: Database, tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_text("before")
    failed = await ledgerx(shared_database, "export-journal", "--tenant", "nobody", "--output", str(path))
    assert (failed.returncode, failed.stderr) == (1, 'ledgerx: there is no tenant named "nobody"\n')
    assert names(tmp_path) == [path.name]
    assert path.read_text() == "before"
    nowhere = tmp_path / "missing" / "journal.jsonl"
    failed = await ledgerx(shared_database, "export-journal", "--tenant", "nobody", "--output", str(nowhere))
    assert failed.stderr == f"ledgerx: cannot write {nowhere}: No such file or directory\n"


async def test_verify_takes_a_tenant_or_a_file_of_a_journal(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("{}\n")
    for arguments, said in (
        ((), "verify either a --tenant or a --file"),
        (("--tenant", "a", "--file", "b"), "verify either a --tenant or a --file"),
        (("--file", str(tmp_path / "missing")), f"cannot read {tmp_path}/missing: No such file or directory"),
        (("--file", str(tmp_path / "other")), f"{tmp_path}/other: this is not a file of a journal"),
    ):
        failed = await ledgerx(None, "verify", *arguments)
        assert failed.returncode == 1
        assert failed.stderr.startswith(f"ledgerx: {said}")
