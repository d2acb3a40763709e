"""`ledgerx rebuild`."""

import asyncio
import time
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from ledgerx.database import pool
from ledgerx.tenancy import find_tenant
from ledgerx_cli.bars import counted
from ledgerx_cli.options import DEFAULT_DATA, AsJson, Data
from ledgerx_cli.platform import owner_url
from ledgerx_streams.catalog import PROJECTIONS
from ledgerx_streams.rebuild import Progress
from ledgerx_streams.rebuild import rebuild as rebuild_projection

# Postgres computes on one, the rest is applied on the other.
_CONNECTIONS = 2


def rebuild(
    projection: Annotated[
        Literal["balances", "volumes", "checkpoints", "audit"], Parameter(help="What to compute anew.")
    ],
    /,
    *,
    tenant: Annotated[str, Parameter(help="The tenant's name.")],
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> str:
    """Compute a projection of a tenant anew from the journal, while everything runs, and print where it stands.

    A tenant whose journal forked goes on from there.
    """
    began = time.monotonic()
    with counted("entries") as progress:
        seq = asyncio.run(_rebuild(owner_url(data), projection, tenant, progress))
    took_s = round(time.monotonic() - began, 3)
    if json:
        return msgspec.json.encode({"projection": projection, "tenant": tenant, "seq": seq, "took_s": took_s}).decode()
    return f"{projection} of {tenant}: at {seq}, after {took_s} s"


async def _rebuild(url: str, name: str, tenant: str, progress: Progress) -> int:
    [projection] = [one for one in PROJECTIONS if one.name == name]
    async with pool(url, application_name="ledgerx-rebuild", max_size=_CONNECTIONS) as connections:
        async with connections.connection() as connection:
            tenant_id = await find_tenant(connection, tenant)
        return (await rebuild_projection(connections, projection, tenant_id, progress)).seq
