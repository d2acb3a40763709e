"""`ledgerx migrate`."""

import msgspec

from ledgerx import settings
from ledgerx.migrate import migrate as apply_migrations
from ledgerx.settings import Secret
from ledgerx_cli.options import AsJson


class MigrateSettings(msgspec.Struct, frozen=True):
    """`LEDGERX_DATABASE_URL` is the libpq URL of an administrator."""

    database_url: Secret


def migrate(*, json: AsJson = False) -> str:
    """Bring the database at LEDGERX_DATABASE_URL up to this release."""
    applied = apply_migrations(settings.load(MigrateSettings).database_url.reveal())
    if json:
        return msgspec.json.encode({"applied": applied}).decode()
    return "\n".join(f"applied {migration}" for migration in applied) or "up to date"
