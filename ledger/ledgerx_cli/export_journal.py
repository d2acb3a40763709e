"""`ledgerx export-journal`."""

import asyncio
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import msgspec
from cyclopts import Parameter

from ledgerx.database import connect
from ledgerx.journal_file import journal_lines
from ledgerx.tenancy import find_tenant
from ledgerx_cli.bars import counted
from ledgerx_cli.failures import CommandFailed
from ledgerx_cli.files import finished
from ledgerx_cli.options import DEFAULT_DATA, AsJson, Data
from ledgerx_cli.platform import owner_url


def export_journal(
    *,
    tenant: Annotated[str, Parameter(help="The tenant's name.")],
    output: Annotated[Path, Parameter(help="The file to write; one that ends in .gz is compressed.")],
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> str:
    """Write a tenant's journal to a file, for `ledgerx verify --file` and for whoever else reads it."""
    url = owner_url(data)
    try:
        with _opened(output) as file:
            entries = asyncio.run(_export(url, tenant, file))
    except OSError as error:
        raise CommandFailed(f"cannot write {output}: {error.strerror}") from None
    if json:
        return msgspec.json.encode({"file": str(output), "entries": entries}).decode()
    return f"{output}: {entries} entries"


async def _export(url: str, tenant: str, file: BinaryIO) -> int:
    done = 0
    with counted("entries") as progress:
        async with await connect(url, application_name="ledgerx-export") as connection:
            async for line, done, total in journal_lines(connection, await find_tenant(connection, tenant)):
                file.write(line)
                progress(done, total)
    return done


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file that is finished in the end, compressed where its name says so."""
    with finished(path) as file:
        if path.suffix == ".gz":
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as compressed:
                yield cast("BinaryIO", compressed)
        else:
            yield file
