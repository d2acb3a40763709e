"""`ledgerx migrate`."""

import asyncio

import msgspec

from ledgerx import settings
from ledgerx.migrate import migrate as apply_migrations
from ledgerx.search_terms import fill_search_terms
from ledgerx.settings import Secret
from ledgerx_cli.options import AsJson


class MigrateSettings(msgspec.Struct, frozen=True):
    """`LEDGERX_DATABASE_URL` is the libpq URL of an administrator."""

    database_url: Secret


def migrate(*, json: AsJson = False) -> str:
    """Bring the database at LEDGERX_DATABASE_URL up to this release.

    Also gives entries of earlier releases the search terms that they lack. Cut short, it goes on where it was. After an
    upgrade under load, run it again for the entries that processes of an earlier release recorded meanwhile.
    """
    admin_url = settings.load(MigrateSettings).database_url.reveal()
    applied = apply_migrations(admin_url)
    asyncio.run(fill_search_terms(admin_url))
    if json:
        return msgspec.json.encode({"applied": applied}).decode()
    return "\n".join(f"applied {migration}" for migration in applied) or "up to date"
