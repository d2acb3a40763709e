"""`ledgerx rebuild`."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from ledgerx.database import pool
from ledgerx.tenancy import find_tenant
from ledgerx_cli.bars import counted
from ledgerx_cli.failures import CommandFailed
from ledgerx_cli.kafka import kafka_access
from ledgerx_cli.options import DEFAULT_DATA, AsJson, Data
from ledgerx_cli.platform import owner_url
from ledgerx_streams.catalog import PROJECTIONS
from ledgerx_streams.projections import Projection, TemporaryError, entries
from ledgerx_streams.rebuild import Progress
from ledgerx_streams.rebuild import rebuild as rebuild_projection

# Postgres computes on one, the rest is applied on the other.
_CONNECTIONS = 2


def rebuild(
    projection: Annotated[
        Literal["balances", "volumes", "checkpoints", "audit", "entries"], Parameter(help="What to compute anew.")
    ],
    /,
    *,
    tenant: Annotated[str, Parameter(help="The tenant's name.")],
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> str:
    """Compute a projection of a tenant anew from the journal, while everything runs, and print where it stands.

    A tenant whose journal forked goes on from there. For `entries` all of them are published again.
    """
    began = time.monotonic()
    with counted("entries") as progress:
        seq = asyncio.run(_rebuild(owner_url(data), projection, tenant, data, progress))
    took_s = round(time.monotonic() - began, 3)
    if json:
        return msgspec.json.encode({"projection": projection, "tenant": tenant, "seq": seq, "took_s": took_s}).decode()
    return f"{projection} of {tenant}: at {seq}, after {took_s} s"


async def _rebuild(url: str, name: str, tenant: str, data: Path, progress: Progress) -> int:
    async with (
        _projection(name, data) as projection,
        pool(url, application_name="ledgerx-rebuild", max_size=_CONNECTIONS) as connections,
    ):
        async with connections.connection() as connection:
            tenant_id = await find_tenant(connection, tenant)
        try:
            return (await rebuild_projection(connections, projection, tenant_id, progress)).seq
        except TemporaryError as error:
            raise CommandFailed(f"{error}; the streams go on with it") from None


@asynccontextmanager
async def _projection(name: str, data: Path) -> AsyncIterator[Projection]:
    if name == entries.NAME:
        async with entries.entries_publisher(kafka_access(data)) as publisher:
            yield entries.entries_projection(publisher)
    else:
        [projection] = [one for one in PROJECTIONS if one.name == name]
        yield projection
