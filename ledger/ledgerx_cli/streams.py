"""`ledgerx streams`."""

import asyncio
import sys
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from rich.console import Console
from rich.table import Table

from ledgerx.database import pool
from ledgerx.errors import NotFound
from ledgerx_cli.kafka import kafka_access
from ledgerx_cli.options import DEFAULT_DATA, AsJson, Data
from ledgerx_cli.platform import owner_url
from ledgerx_streams.kafka_access import KafkaAccess
from ledgerx_streams.status import PartitionStatus, TenantStatus, read_partitions, read_tenants_status

app = App(name="streams", help="Compute projections from the journal.")


class Status(msgspec.Struct, frozen=True):
    """What `ledgerx streams status` tells."""

    partitions: list[PartitionStatus]
    tenants: list[TenantStatus]


@app.default
def run() -> int:
    """Apply the journal topic to the projections until SIGTERM or SIGINT."""
    # Only the worker needs Faust.
    from ledgerx_streams.app import main  # noqa: PLC0415

    return main()


@app.command
def status(
    *,
    tenant: Annotated[str | None, Parameter(help="Only the tenant of this name.")] = None,
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> int:
    """Tell how far workers are behind the topic, and projections behind the journals; exit with 1 after a fork."""
    found = asyncio.run(_read(kafka_access(data), owner_url(data), tenant))
    if tenant is not None and not found.tenants:
        raise NotFound(f'there is no tenant named "{tenant}"')
    if json:
        sys.stdout.write(f"{msgspec.json.encode(found).decode()}\n")
    else:
        _print(found)
    return 0 if all(one.well for one in found.tenants) else 1


async def _read(kafka: KafkaAccess, url: str, tenant: str | None) -> Status:
    partitions = await read_partitions(kafka)
    async with pool(url, application_name="ledgerx-streams-status", max_size=1) as connections:
        return Status(partitions, [one async for one in read_tenants_status(connections, tenant)])


def _print(found: Status) -> None:
    console = Console()
    partitions = Table("topic", "partition", "end", "done", "lag")
    for part in found.partitions:
        partitions.add_row(part.topic, *map(str, (part.partition, part.end, part.done, part.lag)))
    console.print(partitions)
    tenants = Table("tenant", "projection", "at", "of", "behind")
    for tenant in found.tenants:
        for one in tenant.projections:
            behind = f"{one.behind_s:.3f} s" if one.consistent else "FORKED"
            tenants.add_row(tenant.tenant, one.name, str(one.seq), str(tenant.seq), behind)
    console.print(tenants)
