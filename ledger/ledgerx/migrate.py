"""Migrations: plain SQL files, applied by yoyo-migrations under an advisory lock, with a checksum of each kept.

A file that was applied must never change again; `migrate` refuses to go on when one did.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path

import psycopg
import yoyo
from yoyo.migrations import MigrationList

from ledgerx.databases import SCHEMES
from ledgerx.errors import ConfigurationError

# yoyo's own tables and the checksums live in a schema apart from the ledger's.
_SCHEMA = "ledgerx_migrations"
_LOCK = "SELECT pg_advisory_lock(hashtext('ledgerx.migrations'))"
_PREPARE = f"""
    CREATE SCHEMA IF NOT EXISTS {_SCHEMA};
    CREATE TABLE IF NOT EXISTS {_SCHEMA}.checksums (migration_id text PRIMARY KEY, sha256 text NOT NULL);
"""
# An administrator who is no superuser acts as the owner of the schema only once it has made itself a member.
_OWN = """
    DO $$ BEGIN
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ledgerx_owner') THEN
            CREATE ROLE ledgerx_owner LOGIN;
        END IF;
        IF NOT pg_has_role(current_user, 'ledgerx_owner', 'USAGE') THEN
            GRANT ledgerx_owner TO CURRENT_USER;
        END IF;
    END $$
"""
_SELECT_CHECKSUMS = f"SELECT migration_id, sha256 FROM {_SCHEMA}.checksums"  # noqa: S608 - a constant
_INSERT_CHECKSUM = f"INSERT INTO {_SCHEMA}.checksums VALUES (%s, %s)"  # noqa: S608 - a constant


class ChangedMigrationError(Exception):
    """A migration file differs from the one that this database was migrated with."""


def migrate(admin_url: str) -> list[str]:
    """Bring the database up to this release and return the ids of the migrations applied now.

    `admin_url` is a libpq URL of a role that may create schemas in the database and has CREATEROLE and REPLICATION.
    Callers side by side wait for each other. Raises `ChangedMigrationError`, `ConfigurationError` for an unusable URL,
    and `psycopg.Error`.
    """
    if not admin_url.startswith(SCHEMES):
        raise ConfigurationError("the database URL must begin with postgresql://")
    with psycopg.connect(admin_url, autocommit=True) as connection, _migrations() as migrations:
        connection.execute(_LOCK)
        connection.execute(_OWN)
        connection.execute(_PREPARE)
        known: dict[str, str] = dict(connection.execute(_SELECT_CHECKSUMS).fetchall())
        checksums = {migration.id: _checksum(Path(migration.path)) for migration in migrations}
        for migration_id, checksum in known.items():
            if checksums.get(migration_id, checksum) != checksum:
                raise ChangedMigrationError(f"migration {migration_id} was changed after it had been applied")
        applied = _apply(admin_url, migrations)
        for migration_id in checksums.keys() - known.keys():
            connection.execute(_INSERT_CHECKSUM, (migration_id, checksums[migration_id]))
        return applied


def _apply(admin_url: str, migrations: MigrationList) -> list[str]:
    separator = "&" if "?" in admin_url else "?"
    url = f"postgresql+psycopg://{admin_url.partition('://')[2]}{separator}schema={_SCHEMA}"
    with yoyo.get_backend(url) as backend:
        # The advisory lock is ours, so that a lock row still there belongs to a process that died.
        backend.break_lock()
        pending = backend.to_apply(migrations)
        backend.apply_migrations(pending)
        return [migration.id for migration in pending]


@contextmanager
def _migrations() -> Iterator[MigrationList]:
    with as_file(files("ledgerx") / "migrations") as folder:
        yield yoyo.read_migrations(str(folder))


def _checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
