"""Which schema a release needs, and waiting for a database to have it: whoever starts first waits for the migrations.

A database may be ahead of a release, as after a rollback: migrations leave what the release before them uses.
"""

import asyncio
from functools import cache
from importlib.resources import files
from pathlib import PurePath

import psycopg
import structlog

from ledgerx.database import connect
from ledgerx.settings import Secret

_RETRY_S = 1.0
_HAS = "SELECT FROM ledgerx_migrations.checksums WHERE migration_id = %s"

_log = structlog.get_logger()


@cache
def newest_migration() -> str:
    """The id of the last migration of this release."""
    names = (PurePath(file.name) for file in (files("ledgerx") / "migrations").iterdir())
    return max(name.stem for name in names if name.suffix == ".sql")


async def wait_for_schema(url: Secret, *, database: str, application_name: str) -> None:
    """Return once the database at `url`, which the log calls `database`, has the schema of this release."""
    said = ""
    while True:
        try:
            # No pool would tell why it has no connection.
            async with await connect(url.reveal(), application_name=application_name) as connection:
                found = await (await connection.execute(_HAS, (newest_migration(),))).fetchone()
            if found is not None:
                _log.info("database reached", database=database, schema=newest_migration())
                return
            lacking = "it lacks the migrations of this release"
        except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege):
            lacking = "it lacks the migrations of this release"
        except psycopg.Error as error:
            lacking = str(error).strip()
        if lacking != said:
            said = lacking
            _log.warning("waiting for a database", database=database, needs=newest_migration(), reason=lacking)
        await asyncio.sleep(_RETRY_S)
