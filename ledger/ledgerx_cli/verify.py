"""`ledgerx verify`."""

import asyncio
import sys
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.progress import Progress

from ledgerx.database import connect
from ledgerx.tenancy import find_tenant
from ledgerx.verify import Report
from ledgerx.verify import verify as verify_journal
from ledgerx_cli.options import DEFAULT_DATA, AsJson, Data
from ledgerx_cli.platform import owner_url


def verify(
    *,
    tenant: Annotated[str, Parameter(help="The tenant's name.")],
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> int:
    """Recompute a tenant's journal and projections, and exit with 1 when anything is wrong."""
    report = asyncio.run(_verify(owner_url(data), tenant))
    text = msgspec.json.encode({"ok": report.ok, **msgspec.to_builtins(report)}).decode() if json else _describe(report)
    sys.stdout.write(f"{text}\n")
    return 0 if report.ok else 1


async def _verify(url: str, tenant: str) -> Report:
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        entries = progress.add_task("entries", total=None)
        async with await connect(url, application_name="ledgerx-verify") as connection:
            return await verify_journal(
                connection,
                await find_tenant(connection, tenant),
                progress=lambda done, total: progress.update(entries, completed=done, total=total),
            )


def _describe(report: Report) -> str:
    counts = ("entries", "transactions", "postings", "accounts")
    lines = [f"{name}: {getattr(report, name)}" for name in counts]
    lines.append(f"head: {report.head} {report.hash.hex()}")
    lines += [f"{name}: at {seq}" for name, seq in report.projections.items()]
    lines += [finding.what if finding.seq is None else f"{finding.seq}: {finding.what}" for finding in report.findings]
    lines.append("verified" if report.ok else "NOT verified")
    return "\n".join(lines)
