"""The examples and errors of the OpenAPI document are what a real server answers."""

import asyncio
import difflib
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

import aiohttp
import psycopg
import pytest
from psycopg import sql

from ledgerx import sessions
from ledgerx.audit import SYSTEM
from ledgerx.database import connect, pool
from ledgerx.deciding.assets import MAX_ASSETS
from ledgerx.deciding.categories import MAX_CATEGORIES
from ledgerx.emails import parse_email
from ledgerx.export_files import MAX_FILE_BYTES, ExportFiles
from ledgerx.keys import Keyset, write_new_keyset
from ledgerx.lifecycle import TenantState, set_state
from ledgerx.logins import Database
from ledgerx.passwords import Passwords
from ledgerx.roles import SCOPES, Role
from ledgerx.tenancy import Scope, allow_registration, create_client, create_tenant
from ledgerx.users import create_user
from ledgerx_api.reference.examples import FILE, encode
from ledgerx_cli.embedded.postgres import Postgres
from ledgerx_streams.exports.worker import ExportWorker
from ledgerx_streams.projections.checkpoints import CHECKPOINTS
from ledgerx_streams.signing import Signer
from tests.documented import documented
from tests.integration.api_process import ApiProcess
from tests.integration.conftest import fresh_database
from tests.integration.people import PASSWORD
from tests.integration.reference import probes, scenario
from tests.integration.reference.recorder import FORM, Recorder, Request, request
from tests.integration.reference.scenario import Cast
from tests.integration.streaming import stream

RECORD = Path(__file__).parents[2] / "api" / "ledgerx_api" / "reference" / FILE


async def new_cast(database: Database) -> Cast:
    passwords = Passwords()
    password_hash = await passwords.hash(PASSWORD)
    passwords.close()
    async with await connect(database.owner_url, application_name="test") as connection:
        tenant_id = await create_tenant(connection, scenario.TENANT)
        await allow_registration(connection, tenant_id, allowed=True)
        client = await create_client(connection, tenant_id, "backend", SCOPES[Role.OPERATOR])
        owner = await create_user(
            connection,
            tenant_id,
            email=parse_email(scenario.OWNER_EMAIL),
            role=Role.OWNER,
            name="Ada",
            password_hash=password_hash,
            scopes=frozenset({Scope.ADMIN}),
            author=SYSTEM,
        )
        other_id = await create_tenant(connection, "other")
    return Cast(tenant_id, other_id, owner.id, client)


@contextmanager
def running(database: Database, directory: Path, **settings: str) -> Iterator[ApiProcess]:
    api = ApiProcess(database, directory, **settings)
    api.start()
    try:
        yield api
    finally:
        api.send(signal.SIGKILL)
        api.wait()


def cut_off(database: Database) -> None:
    """Let nobody connect to it any more."""
    name = psycopg.conninfo.conninfo_to_dict(database.admin_url)["dbname"]
    other = psycopg.conninfo.make_conninfo(database.admin_url, dbname="postgres")
    with psycopg.connect(other, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(str(name))))
        connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,))


def project(database: Database) -> None:
    """Put a projection where the streams would have brought it: to the head."""
    with psycopg.connect(database.admin_url) as connection:
        connection.execute(
            "INSERT INTO ledgerx.projections (tenant_id, projection, seq, hash) "
            "SELECT tenant_id, 'balances', seq, hash FROM ledgerx.heads WHERE seq > 0"
        )
        taken = {"taken_at": "2026-01-05T09:00:00Z", "code": "users:1:wallet", "seq": scenario.DEPOSIT}
        connection.execute(
            "INSERT INTO ledgerx.snapshots SELECT tenant_id, %(seq)s, %(taken_at)s FROM ledgerx.heads WHERE seq > 0",
            taken,
        )
        connection.execute(
            "INSERT INTO ledgerx.snapshot_balances "
            "SELECT tenant_id, account_id, %(seq)s, -10000, 0, 0 FROM ledgerx.accounts WHERE code = %(code)s",
            taken,
        )


async def sign(database: Database, tenant_id: UUID, keyset: Keyset) -> None:
    """Sign the head of a journal, as the streams would."""
    await stream(database, tenant_id, CHECKPOINTS)
    async with pool(database.streams_url, application_name="test", max_size=1) as connections:
        signer = Signer(pool=connections, keyset=keyset, platform="ledger.example.com", interval_s=0)
        await signer.sign_due()


async def write_exports(database: Database, api: ApiProcess) -> None:
    """Write the exports that wait, as a worker of the streams does."""
    waiting = "SELECT count(*) FROM ledgerx.exports WHERE status IN ('queued', 'running')"
    async with pool(database.streams_url, application_name="test", max_size=3) as connections:
        files = ExportFiles(api.exports.as_uri())
        worker = ExportWorker(connections, {None: files}, at_once=1, keep_days=7, max_bytes=MAX_FILE_BYTES)
        working = asyncio.create_task(worker.run())
        with psycopg.connect(database.admin_url, autocommit=True) as connection:
            while connection.execute(waiting).fetchall() != [(0,)]:  # noqa: ASYNC110 - it is a table
                await asyncio.sleep(0.02)
        working.cancel()
        await asyncio.wait({working})


def give_up(database: Database, cast: Cast, webhook: str) -> None:
    """Log what the streams would have when nobody took an event for three days."""
    with psycopg.connect(database.admin_url) as connection:
        connection.execute(
            """
            INSERT INTO ledgerx.webhook_deliveries
            VALUES
            (%s, %s, gen_random_uuid(), now(), 'event', %s, 'ledgerx.transaction.posted', 31, 'dead', 503, NULL, 87)
            """,
            (cast.tenant_id, webhook, scenario.DEPOSIT),
        )


async def fill_registries(database: Database, recorder: Recorder, cast: Cast) -> None:
    """Record what is answered to a tenant that has as many assets and categories as it may have."""
    with psycopg.connect(database.admin_url) as connection:
        most = {"assets": MAX_ASSETS, "categories": MAX_CATEGORIES, "tenant": cast.other_id}
        connection.execute(
            "UPDATE ledgerx.heads SET assets = %(assets)s, categories = %(categories)s WHERE tenant_id = %(tenant)s",
            most,
        )
    for path, body in (("assets", {"code": "ONE", "scale": 0}), ("categories", {"code": "one"})):
        asked = request("POST", f"/v1/{path}", body, principal=cast.others_owner)
        await recorder.refused(f"too_many_{path}", asked)


async def suspend_other(database: Database, cast: Cast) -> list[Request]:
    """Suspend the other tenant, and return the ways to log in there."""
    passwords = Passwords()
    email = "charles@example.com"
    async with pool(database.owner_url, application_name="test", max_size=2) as connections:
        async with connections.connection() as connection:
            client = await create_client(connection, cast.other_id, "backend", SCOPES[Role.OPERATOR])
            await create_user(
                connection,
                cast.other_id,
                email=parse_email(email),
                role=Role.OWNER,
                name="Charles",
                password_hash=await passwords.hash(PASSWORD),
                scopes=frozenset({Scope.ADMIN}),
                author=SYSTEM,
            )
        session = await sessions.log_in(
            connections,
            passwords,
            tenant="other",
            email=parse_email(email),
            password=PASSWORD,
            address=None,
            ttl_s=3600,
        )
        async with connections.connection() as connection:
            await set_state(connection, cast.other_id, TenantState.SUSPENDED)
    passwords.close()
    form = {
        "grant_type": "client_credentials",
        "client_id": client.client_id,
        "client_secret": client.client_secret,
    }
    return [
        request("POST", "/v1/auth/token", form, media_type=FORM),
        request("POST", "/v1/auth/login", {"tenant": "other", "email": email, "password": PASSWORD}),
        request("POST", "/v1/auth/refresh", {"refresh_token": session.refresh_token}),
    ]


async def forget_events(database: Database, recorder: Recorder, cast: Cast) -> None:
    """Record what is answered when the beginning of the feed is not kept any more."""
    with psycopg.connect(database.admin_url) as connection:
        connection.execute("DELETE FROM ledgerx.outbox WHERE last_seq <= 5")
    for path in ("/v1/events", "/v1/events/stream"):
        await recorder.refused("events_expired", request("GET", f"{path}?after=3", principal=cast.service))
        await recorder.refused("invalid_cursor", request("GET", f"{path}?after=9999", principal=cast.service))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.timeout(300)
async def test_the_server_answers_as_recorded(
    database: Database, postgres_server: Postgres, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    cast = await new_cast(database)
    issuers = f"{scenario.ISSUER}, {scenario.UNREACHABLE_ISSUER}"
    with running(database, tmp_path, OIDC_ISSUERS=issuers, OIDC_NETWORKS="127.0.0.0/8") as api:
        recorder = Recorder(api, session, documented())
        await scenario.play(
            recorder,
            cast,
            reach_head=lambda: project(database),
            write_exports=lambda: write_exports(database, api),
            give_up=lambda webhook: give_up(database, cast, webhook),
            sign_head=partial(sign, database, cast.tenant_id, write_new_keyset(tmp_path / "checkpoint-keys.json")),
        )
        await forget_events(database, recorder, cast)
        await fill_registries(database, recorder, cast)
        await probes.probe(recorder, api, session, cast)
        settings = {"RATE_LIMIT_TENANT": f"{probes.QUOTA}", "RATE_LIMIT_ADDRESS": "1", "RATE_LIMIT_WINDOW_S": "3600"}
        with running(database, tmp_path, MAX_ACCOUNTS="1", EVENT_STREAMS="0", **settings) as scarce:
            await probes.probe_scarcity(recorder, scarce, session, cast)
        with running(database, tmp_path, EXPORTS_URL="") as without:
            await probes.probe_without_exports(recorder, without, session, cast)
        logins = await suspend_other(database, cast)
        with running(database, tmp_path) as later:
            await probes.probe_suspension(recorder, later, session, cast, logins)
        with fresh_database(postgres_server) as lost, running(lost, tmp_path) as cut:
            await asyncio.to_thread(cut_off, lost)
            await probes.probe_outage(recorder, cut, session)
        await probes.probe_passwords(recorder, api, session, cast)

    recorded = encode(recorder.recorded())
    if "LEDGERX_RECORD" in os.environ:
        RECORD.write_bytes(recorded)
    kept = RECORD.read_bytes()
    difference = difflib.unified_diff(kept.decode().splitlines(), recorded.decode().splitlines(), "kept", "answered")
    assert kept == recorded, "\n".join(
        ["the server answers otherwise than recorded; if that is right, run `make reference`:", *difference]
    )
