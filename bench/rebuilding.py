"""How fast projections are computed anew from the journal's tables.

Run it from the top of the repository: `.venv/bin/python -m bench.rebuilding --postings 2000000`. It brings a PostgreSQL
of its own, and keeps nothing unless `--data` says where; a journal of `bench.reading` is used if it is there. The rate
is that of the journal's postings, from the command to where the projection stands at the head.
"""

import argparse
import asyncio
import time
from pathlib import Path

import msgspec

from bench.reading import journal, servers
from ledgerx import database as db
from ledgerx_streams.catalog import PROJECTIONS
from ledgerx_streams.rebuild import rebuild


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True):
    """One projection computed anew."""

    projection: str
    postings: int
    took_s: float
    postings_per_s: int


async def run(postings: int, *, dated: int, data: Path | None, only: str) -> None:
    """Make the journal if it is not there, and compute its projections anew."""
    async with servers(data) as (database, _):
        tenant_id = await journal(database, transactions=postings // 2, dated=dated)
        async with db.pool(database.owner_url, application_name="bench", max_size=2) as pool:
            for projection in PROJECTIONS:
                if only not in projection.name:
                    continue
                began = time.monotonic()
                await rebuild(pool, projection, tenant_id, lambda _done, _total: None)
                took_s = time.monotonic() - began
                result = Rebuilt(
                    projection=projection.name,
                    postings=postings,
                    took_s=round(took_s, 2),
                    postings_per_s=round(postings / took_s),
                )
                print(msgspec.json.encode(result).decode(), flush=True)  # noqa: T201 - the report


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postings", type=int, default=2_000_000)
    parser.add_argument("--dated", type=int, default=2, help="every how many transactions one has a time of its own")
    parser.add_argument("--data", type=Path, help="where the database is kept")
    parser.add_argument("--only", default="", help="the projections that have this in their names")
    options = parser.parse_args()
    asyncio.run(run(options.postings, dated=options.dated, data=options.data, only=options.only))


if __name__ == "__main__":
    main()
