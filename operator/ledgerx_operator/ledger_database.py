"""A LedgerDatabase brought to what it declares: the role checked, the schema migrated, the platform's roles handed out.

The names of the roles are the server's, and the same for every database: two databases of one server share the
passwords of the platform's roles.
"""

import asyncio
import base64
import secrets
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import psycopg
import structlog

from ledgerx.database import Queries, connect
from ledgerx.errors import ConfigurationError
from ledgerx.lifecycle import count_tenants, keep_outbox_for
from ledgerx.logins import role_url, set_some_passwords
from ledgerx.migrate import ChangedMigrationError, migrate
from ledgerx.schema import newest_migration
from ledgerx_operator.admin_access import admin_url
from ledgerx_operator.cluster import Cluster
from ledgerx_operator.conditions import Outcome
from ledgerx_operator.databases import Databases
from ledgerx_operator.failures import NotYet, Refusal, first_line
from ledgerx_operator.names import DATABASE_SECRETS
from ledgerx_operator.specs import DatabaseSpec, spec_of

_queries = Queries("ledgerx_operator", "sql/inspect.sql")
_log = structlog.get_logger()


class Identity(msgspec.Struct, frozen=True):
    """Which database this is, wherever it is reached at."""

    system_identifier: str
    database_name: str


class DatabaseReconciler:
    """Brings LedgerDatabases to what they declare."""

    def __init__(self, cluster: Cluster, databases: Databases) -> None:
        self._cluster = cluster
        self._databases = databases
        self._claims: dict[Identity, str] = {}
        # Roles and their passwords are the server's: one database after the other.
        self._roles = asyncio.Lock()

    async def reconcile(self, body: Mapping[str, Any]) -> Outcome:
        """Have the database ready and return what its status says of it. Raises `Failure`s and what they come from."""
        name, spec = body["metadata"]["name"], spec_of(body, DatabaseSpec)
        url = await admin_url(self._cluster, name, spec)
        try:
            identity = await self._inspect(url)
        except NotYet:
            # Pods mount the URLs before their database has to be there, perhaps to become it.
            await self._write_urls(name, url, await self._passwords(name))
            raise
        await self._claim(name, identity)
        async with self._roles:
            schema = await asyncio.to_thread(_migrated, url)
            await self._hand_out_roles(name, identity, url)
        opened = await self._databases.open(name, url, spec)
        async with opened.pool.connection() as connection:
            await keep_outbox_for(connection, spec.events.retention_days)
            tenants = await count_tenants(connection)
        return Outcome(
            {
                "systemIdentifier": identity.system_identifier,
                "databaseName": identity.database_name,
                "schema": schema,
                "tenants": tenants,
            }
        )

    async def release(self, body: Mapping[str, Any]) -> None:
        """Forget a database that is deleted; its data stays. Raises `NotYet` while it holds declared tenants."""
        name = body["metadata"]["name"]
        async for tenant in self._cluster.tenants():
            if (tenant.get("status") or {}).get("database") == name:
                metadata = tenant["metadata"]
                where = f"{metadata['namespace']}/{metadata['name']}"
                raise NotYet("TenantsLeft", f"it holds tenants that are declared, such as {where}")
        await self._forget_urls(name)
        self._claims = {identity: claimed for identity, claimed in self._claims.items() if claimed != name}
        await self._databases.close(name)

    async def _inspect(self, admin_url: str) -> Identity:
        try:
            async with await connect(admin_url, application_name="ledgerx-operator") as connection:
                row = await (await connection.execute(_queries.inspect)).fetchone()
        except psycopg.OperationalError as error:
            raise NotYet("DatabaseUnavailable", first_line(error)) from None
        if row is None:
            raise TypeError("a role that is logged in has a row")
        system_identifier, database_name, role, may_make_roles, may_create, wal_level = row
        if not may_make_roles:
            raise NotYet("AdminRoleUnusable", f"the role {role} needs CREATEROLE and REPLICATION")
        if not may_create:
            raise NotYet("AdminRoleUnusable", f"the role {role} needs CREATE on the database {database_name}")
        if wal_level != "logical":
            raise NotYet("ServerUnusable", f"the server needs wal_level=logical, it has {wal_level}")
        return Identity(system_identifier, database_name)

    async def _claim(self, name: str, identity: Identity) -> None:
        """Raises `Refusal` where another LedgerDatabase is this very database."""
        for other in await self._cluster.databases():
            status, theirs = other.get("status") or {}, str(other["metadata"]["name"])
            if theirs != name and status.get("databaseName"):
                self._claims[Identity(status["systemIdentifier"], status["databaseName"])] = theirs
        self._claims = {one: claimed for one, claimed in self._claims.items() if claimed != name or one == identity}
        if self._claims.setdefault(identity, name) != name:
            await self._forget_urls(name)
            raise Refusal("DuplicateDatabase", f"the LedgerDatabase {self._claims[identity]} is the same database")

    async def _hand_out_roles(self, name: str, identity: Identity, admin_url: str) -> None:
        """Have the URLs of the platform's roles in their Secrets, and good."""
        same_server = [
            claimed for one, claimed in self._claims.items() if one.system_identifier == identity.system_identifier
        ]
        good = await self._passwords_let_in(admin_url, dict.fromkeys([name, *same_server]))
        passwords = good or await self._passwords(name)
        await self._write_urls(name, admin_url, passwords)
        if good is None:
            await asyncio.to_thread(set_some_passwords, admin_url, passwords)
            _log.info("passwords of the platform's roles set", database=name)

    async def _passwords_let_in(self, admin_url: str, names: Iterable[str]) -> dict[str, str] | None:
        """The first passwords that the Secrets have for one of these databases which the server takes."""
        for name in names:
            passwords = await self._passwords(name)
            if await _let_in(_role_urls(admin_url, passwords)):
                return passwords
        return None

    async def _passwords(self, name: str) -> dict[str, str]:
        """The passwords that the Secrets have for a database, and new ones where they have none."""
        passwords = {}
        for role, secret_name in DATABASE_SECRETS.items():
            secret = await self._cluster.read_secret(self._cluster.namespace, secret_name)
            encoded = None if secret is None else (secret.data or {}).get(name)
            known = None if encoded is None else urlsplit(base64.b64decode(encoded).decode()).password
            passwords[role] = unquote(known) if known else secrets.token_urlsafe(32)
        return passwords

    async def _write_urls(self, name: str, admin_url: str, passwords: Mapping[str, str]) -> None:
        for role, url in _role_urls(admin_url, passwords).items():
            encoded = base64.b64encode(url.encode()).decode()
            await self._cluster.put_keys(DATABASE_SECRETS[role], {name: encoded})

    async def _forget_urls(self, name: str) -> None:
        for secret in DATABASE_SECRETS.values():
            await self._cluster.put_keys(secret, {name: None})


def _role_urls(admin_url: str, passwords: Mapping[str, str]) -> dict[str, str]:
    return {role: role_url(admin_url, role, password) for role, password in passwords.items()}


def _migrated(admin_url: str) -> str:
    """Run the migrations of this release and return the newest. Raises `NotYet` and `psycopg.Error`."""
    try:
        for migration in migrate(admin_url):
            _log.info("migration applied", migration=migration)
    except (ChangedMigrationError, ConfigurationError) as error:
        raise NotYet("MigrationFailed", str(error)) from None
    return newest_migration()


async def _let_in(urls: Mapping[str, str]) -> bool:
    for url in urls.values():
        try:
            connection = await connect(url, application_name="ledgerx-operator")
        except psycopg.OperationalError:
            return False
        await connection.close()
    return True
