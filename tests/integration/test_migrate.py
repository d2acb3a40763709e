"""Migrations on a real Postgres."""

import asyncio
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
import yoyo
from psycopg import sql
from yoyo.migrations import MigrationList

from ledgerx import migrate as module
from ledgerx import search_terms
from ledgerx.database import connect
from ledgerx.errors import ConfigurationError
from ledgerx.migrate import ChangedMigrationError, migrate
from ledgerx.tenancy import Scope, authenticate_client
from ledgerx_cli.embedded.postgres import Postgres

MIGRATIONS = Path(module.__file__).parent / "migrations"


@pytest.fixture
def empty(postgres_server: Postgres) -> Iterator[str]:
    """The administrator's URL of a database with nothing in it."""
    name = f"empty_{secrets.token_hex(4)}"
    postgres_server.create_database(name)
    yield postgres_server.url(name)
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations that a test may change."""
    copy = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, copy)

    @contextmanager
    def read() -> Iterator[MigrationList]:
        yield yoyo.read_migrations(str(copy))

    monkeypatch.setattr(module, "_migrations", read)
    return copy


def test_an_empty_database_gets_every_migration_and_the_second_time_none(empty: str) -> None:
    assert migrate(empty) == sorted(path.stem for path in MIGRATIONS.glob("*.sql"))
    assert migrate(empty) == []


def test_several_at_once_apply_each_migration_once(empty: str) -> None:
    with ThreadPoolExecutor(3) as threads:
        applied = [migration for ids in threads.map(migrate, [empty] * 3) for migration in ids]
    assert applied == sorted(path.stem for path in MIGRATIONS.glob("*.sql"))


def test_a_file_that_was_changed_after_it_was_applied_is_refused(empty: str, files: Path) -> None:
    migrate(empty)
    path = next(files.glob("0001.*.sql"))
    path.write_text(path.read_text() + "-- one more line\n")
    with pytest.raises(ChangedMigrationError, match=path.stem):
        migrate(empty)


def test_a_new_file_is_applied_on_top(empty: str, files: Path) -> None:
    migrate(empty)
    (files / "9999.more.sql").write_text("-- depends: 0001.journal\nCREATE TABLE ledgerx.more (tenant_id uuid);\n")
    assert migrate(empty) == ["9999.more"]
    with psycopg.connect(empty) as connection:
        connection.execute("SELECT FROM ledgerx.more")


def test_clients_of_the_first_release_keep_their_secrets(empty: str, files: Path) -> None:
    later = [path.rename(path.with_suffix(".later")) for path in files.glob("*.sql") if path.stem != "0001.journal"]
    migrate(empty)
    clients = {}
    with psycopg.connect(empty) as connection:
        for _ in range(2):
            tenant_id, secret = uuid4(), secrets.token_urlsafe(32)
            client_id = f"{tenant_id}.old"
            clients[client_id] = secret
            connection.execute("INSERT INTO ledgerx.tenants VALUES (%s, %s)", (tenant_id, f"t-{tenant_id}"))
            connection.execute(
                "INSERT INTO ledgerx.api_clients VALUES (%s, %s, 'old', sha256(%s), '{ledger:read}')",
                (tenant_id, client_id, secret.encode()),
            )
    for path in later:
        path.rename(path.with_suffix(".sql"))
    migrate(empty)

    async def authenticate() -> None:
        async with await connect(empty, application_name="test") as connection:
            for client_id, secret in clients.items():
                assert (await authenticate_client(connection, client_id, secret))[1] == {Scope.LEDGER_READ}

    asyncio.run(authenticate())


def test_a_file_that_fails_leaves_nothing_and_can_be_mended(empty: str, files: Path) -> None:
    path = files / "9999.more.sql"
    path.write_text("-- depends: 0001.journal\nCREATE TABLE ledgerx.more (tenant_id uuid);\nSELECT 1 / 0;\n")
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(empty)
    with psycopg.connect(empty) as connection:
        assert connection.execute("SELECT to_regclass('ledgerx.more')").fetchone() == (None,)
    path.write_text("-- depends: 0001.journal\nCREATE TABLE ledgerx.more (tenant_id uuid);\n")
    assert migrate(empty)[-1] == "9999.more"


def test_what_two_projections_kept_makes_way_for_what_one_keeps(empty: str, files: Path) -> None:
    later = {path.name: path.read_text() for path in files.glob("*.sql") if not path.name.startswith("0001.")}
    for name in later:
        (files / name).unlink()
    migrate(empty)
    with psycopg.connect(empty) as connection:
        for projection in ("balances", "marks"):
            row = (uuid4(), projection)
            connection.execute("INSERT INTO ledgerx.projections VALUES (%s, %s, 9, sha256(''))", row)
        connection.execute("INSERT INTO ledgerx.balances VALUES (%s, 1, 7, 0, 0, 9)", row[:1])
        connection.execute("INSERT INTO ledgerx.marks VALUES (%s, 1, 8, 0, 1000, 7, 0, 0)", row[:1])
        connection.execute("INSERT INTO ledgerx.mark_tails VALUES (%s, 1, 1001, 7, 0, 0)", row[:1])
    for name, text in later.items():
        (files / name).write_text(text)
    assert migrate(empty) == sorted(name.removesuffix(".sql") for name in later)
    with psycopg.connect(empty) as connection:
        for table in ("projections", "balances", "marks"):
            found = connection.execute(sql.SQL("SELECT FROM {}").format(sql.Identifier("ledgerx", table))).fetchall()
            assert found == []
        assert connection.execute("SELECT to_regclass('ledgerx.mark_tails')").fetchone() == (None,)


def test_accounts_that_were_opened_before_the_quota_count(empty: str, files: Path) -> None:
    later = [path.rename(path.with_suffix(".later")) for path in files.glob("*.sql") if path.name[:4] > "0001"]
    migrate(empty)
    tenants = [uuid4() for _ in range(3)]
    with psycopg.connect(empty) as connection:
        for opened, tenant_id in enumerate(tenants):
            connection.execute(
                "INSERT INTO ledgerx.tenants (tenant_id, name) VALUES (%s, %s)", (tenant_id, f"{opened}")
            )
            connection.execute("INSERT INTO ledgerx.heads VALUES (%s, 0, sha256(''), now())", (tenant_id,))
            for number in range(1, opened + 1):
                connection.execute(
                    """
                    INSERT INTO ledgerx.accounts
                    VALUES (%s, %s, %s, 'USD', 2, 'asset', 'open', null, null, null, now(), 9)
                    """,
                    (tenant_id, number, f"{number}"),
                )
    for path in later:
        path.rename(path.with_suffix(".sql"))
    migrate(empty)
    with psycopg.connect(empty) as connection:
        counted = connection.execute("SELECT tenant_id, accounts FROM ledgerx.heads ORDER BY accounts").fetchall()
    assert counted == [(tenant_id, opened) for opened, tenant_id in enumerate(tenants)]


@contextmanager
def _without(files: Path, *, after: str) -> Iterator[None]:
    """Hide the migrations with a number above `after`."""
    later = [path.rename(path.with_suffix(".later")) for path in files.glob("*.sql") if path.name[:4] > after]
    yield
    for path in later:
        path.rename(path.with_suffix(".sql"))


class InterruptedFillError(Exception):
    """What a fill is cut short by."""


async def test_entries_of_before_there_were_search_terms_get_them_page_by_page(
    empty: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _without(files, after="0006"):
        await asyncio.to_thread(migrate, empty)
    change = (
        '{"account":"bank","account_id":1,"asset":"USD","scale":2,"type":"asset","status":"open","min_balance":null,'
        '"max_balance":null}'
    )
    entries = [
        # Number, kind, target, category, metadata, change.
        (1, "open_account", None, None, '{"kind":"a"}', change),
        *((n, "post", None, "food", f'{{"n":{n}}}' if n != 4 else None, None) for n in range(2, 9)),
        (9, "amend", 3, "toys", '{"m":true}', None),
        (10, "amend", 4, None, None, None),
        *((n, "post", None, None, None, None) for n in range(11, 14)),
    ]
    tenants = [uuid4(), uuid4()]
    with psycopg.connect(empty) as connection:
        for tenant_id in tenants:
            connection.execute(
                "INSERT INTO ledgerx.tenants (tenant_id, name) VALUES (%s, %s)", (tenant_id, f"t-{tenant_id}")
            )
            connection.execute("INSERT INTO ledgerx.heads VALUES (%s, 13, sha256(''), now())", (tenant_id,))
            for seq, kind, target, category, metadata, changed in entries:
                connection.execute(
                    """
                    INSERT INTO ledgerx.entries (
                        tenant_id, seq, recorded_at, kind, actor, target_seq, category, metadata, change, hash
                    ) VALUES (%s, %s, now(), %s, 'test', %s, %s, %s, %s, sha256(''))
                    """,
                    (tenant_id, seq, kind, target, category, metadata, changed),
                )
    await asyncio.to_thread(migrate, empty)
    monkeypatch.setattr(search_terms, "ENTRIES_PER_PAGE", 2)
    done: list[tuple[UUID, int]] = []

    def stop_at_6(tenant_id: UUID, seq: int) -> None:
        done.append((tenant_id, seq))
        if seq == 6:
            raise InterruptedFillError

    with pytest.raises(InterruptedFillError):
        await search_terms.fill_search_terms(empty, progress=stop_at_6)
    first = min(tenants)
    assert done == [(first, 2), (first, 4), (first, 6)]
    await search_terms.fill_search_terms(empty, progress=lambda *page: done.append(page))
    pages = [2, 4, 6, 8, 10, 12, 13]
    assert done == [(tenant_id, seq) for tenant_id in sorted(tenants) for seq in pages]
    await search_terms.fill_search_terms(empty, progress=lambda *page: done.append(page))
    assert len(done) == 2 * len(pages)
    expected = {
        ("account", "kind", '"a"', 1),
        *(("transaction", "n", f"{n}", n) for n in (2, 3, 5, 6, 7, 8)),
        ("transaction", "m", "true", 3),
        ("category", "", "toys", 3),
    }
    with psycopg.connect(empty) as connection:
        for tenant_id in tenants:
            found = connection.execute(
                "SELECT subject, key, value, seq FROM ledgerx.search_terms WHERE tenant_id = %s", (tenant_id,)
            ).fetchall()
            assert (set(found), len(found)) == (expected, len(expected))


@pytest.mark.parametrize("url", ["", "host=localhost dbname=x", "mysql://localhost/x"])
def test_what_is_no_url_of_postgres_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        migrate(url)
