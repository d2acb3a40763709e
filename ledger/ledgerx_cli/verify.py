"""`ledgerx verify`."""

import asyncio
import gzip
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import msgspec
from cyclopts import Parameter

from ledgerx.database import connect
from ledgerx.journal_file import NotAJournalFileError, verify_file
from ledgerx.tenancy import find_tenant
from ledgerx.verify import Report
from ledgerx.verify import verify as verify_journal
from ledgerx_cli.bars import counted
from ledgerx_cli.failures import CommandFailed
from ledgerx_cli.options import DEFAULT_DATA, AsJson, Data
from ledgerx_cli.platform import owner_url

_GZIP_MAGIC = b"\x1f\x8b"


def verify(
    *,
    tenant: Annotated[str | None, Parameter(help="The tenant's name.")] = None,
    file: Annotated[Path | None, Parameter(help="A file of `ledgerx export-journal`, instead of a tenant.")] = None,
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> int:
    """Recompute a tenant's journal and projections, or a journal in a file, and exit with 1 when anything is wrong."""
    if (tenant is None) == (file is None):
        raise CommandFailed("verify either a --tenant or a --file")
    with counted("entries") as progress:
        if file is not None:
            report = _verify_file(file, progress)
        else:
            report = asyncio.run(_verify(owner_url(data), str(tenant), progress))
    text = msgspec.json.encode({"ok": report.ok, **msgspec.to_builtins(report)}).decode() if json else _describe(report)
    sys.stdout.write(f"{text}\n")
    return 0 if report.ok else 1


async def _verify(url: str, tenant: str, progress: Callable[[int, int], None]) -> Report:
    async with await connect(url, application_name="ledgerx-verify") as connection:
        return await verify_journal(connection, await find_tenant(connection, tenant), progress=progress)


def _verify_file(path: Path, progress: Callable[[int, int], None]) -> Report:
    try:
        with path.open("rb") as file:
            compressed = file.peek(2).startswith(_GZIP_MAGIC)
            with gzip.GzipFile(fileobj=file) if compressed else file as content:
                return verify_file(cast("BinaryIO", content), progress=progress)
    except NotAJournalFileError as error:
        raise CommandFailed(f"{path}: {error}") from None
    except OSError as error:
        raise CommandFailed(f"cannot read {path}: {error.strerror}") from None


def _describe(report: Report) -> str:
    counts = ("entries", "transactions", "postings", "accounts")
    lines = [f"{name}: {getattr(report, name)}" for name in counts]
    lines.append(f"head: {report.head} {report.hash.hex()}")
    lines += [f"{name}: at {seq}" for name, seq in report.projections.items()]
    lines += [finding.what if finding.seq is None else f"{finding.seq}: {finding.what}" for finding in report.findings]
    lines.append("verified" if report.ok else "NOT verified")
    return "\n".join(lines)
