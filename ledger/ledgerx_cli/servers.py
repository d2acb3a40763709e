"""The database and the broker of a platform: embedded ones, or real ones that the settings name."""

import asyncio
import secrets
from collections.abc import Callable
from time import monotonic

import msgspec

from ledgerx import settings
from ledgerx.logins import ROLES, Database, set_passwords
from ledgerx.migrate import migrate
from ledgerx.search_terms import fill_search_terms
from ledgerx_cli import demo
from ledgerx_cli.data_directory import DataDirectory, read_json, write_private_json
from ledgerx_cli.embedded import kafka
from ledgerx_cli.embedded.postgres import Postgres
from ledgerx_cli.ports import local_address
from ledgerx_cli.progress import DatabaseReady, Report
from ledgerx_cli.supervisor import Supervisor
from ledgerx_cli.up_settings import Plan
from ledgerx_streams.kafka_access import KafkaAccess, KafkaSettings

DATABASE = "ledgerx"


class Passwords(msgspec.Struct, frozen=True):
    """The passwords of the embedded database's administrator and of the platform's roles."""

    admin: str
    roles: dict[str, str]


class Servers:
    """Starts what a plan needs of them with `supervisor`, with data below `directory`."""

    def __init__(self, directory: DataDirectory, plan: Plan, supervisor: Supervisor, report: Report) -> None:
        self._directory = directory
        self._plan = plan
        self._settings = plan.settings
        self._supervisor = supervisor
        self._report = report

    async def start_postgres(self) -> str | None:
        """Have a server run with a database of ours in it; returns the libpq URL of its administrator.

        None where the plan has none, or somebody else looks after the databases.
        """
        if self._settings.database_url is not None:
            return self._settings.database_url.reveal()
        if "postgres" not in self._plan.parts:
            return None
        given = self._settings.postgres_password
        server = Postgres(
            directory=self._directory.postgres,
            password=given.reveal() if given else self._passwords().admin,
            host=self._plan.host,
            tcp_port=self._settings.postgres_tcp_port,
        )
        await asyncio.to_thread(server.initialise)
        await self._supervisor.start(server.part())
        await asyncio.to_thread(server.create_database, DATABASE)
        return server.url(DATABASE)

    async def prepare_database(self, admin_url: str) -> Database:
        """Bring the database up to this release, with log-ins for the parts and a demo tenant."""
        began = monotonic()
        await asyncio.to_thread(migrate, admin_url)
        await fill_search_terms(admin_url)
        database = await asyncio.to_thread(set_passwords, admin_url, self._passwords().roles)
        await demo.provide(
            self._directory,
            owner_url=database.owner_url,
            base_url=self._plan.base_url,
            host=local_address(self._plan.host),
        )
        self._report(DatabaseReady(after_s=round(monotonic() - began, 2)))
        return database

    async def start_kafka(self, downloaded: Callable[[int, int], None]) -> str | None:
        """Have a broker run with the platform's topics; returns the bootstrap servers, None where the plan has none."""
        if self._settings.kafka is not None:
            await kafka.create_topics(KafkaAccess(settings.load(KafkaSettings)))
            return self._settings.kafka
        if "kafka" not in self._plan.parts:
            return None
        address = self._settings.kafka_address
        broker = await asyncio.to_thread(
            kafka.prepare,
            self._directory.kafka,
            progress=downloaded,
            network=kafka.Network(self._plan.host, address) if address else None,
        )
        await self._supervisor.start(broker.part())
        await kafka.create_topics(broker.access)
        return broker.bootstrap

    def _passwords(self) -> Passwords:
        try:
            return read_json(self._directory.secrets, Passwords)
        except FileNotFoundError:
            passwords = Passwords(
                admin=secrets.token_urlsafe(24), roles={role: secrets.token_urlsafe(24) for role in ROLES}
            )
            write_private_json(self._directory.secrets, passwords)
            return passwords
