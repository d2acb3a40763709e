"""What the catalog must say: keys, policies, privileges, constraints and plans."""

import asyncio
from collections.abc import Iterator
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg import errors as pg
from psycopg import sql

from ledgerx import constraints
from ledgerx import database as db
from ledgerx.batch import run_batch
from ledgerx.commands import AnyCommand
from ledgerx.database import Queries, tenant_scope
from ledgerx.journal import AccountType
from ledgerx.logins import Database
from tests.commands import opening, transfer
from tests.integration.ledger_client import new_tenant
from tests.unit.memory_ledger import NOON

# Keys that do not begin with tenant_id, and why.
PLATFORM_WIDE_KEYS = {
    "tenants_owner_key",  # one tenant for whoever declares one
    "tenants_name_key",  # the registry of tenants is what names them
    "trusted_issuers_audience_key",  # a token that is meant for one tenant is never good in another
}
# What is due there is looked for in all tenants at once.
DUE = ("open_holds", "merkle_trees", "audits", "snapshot_schedules")
ROLES = ("ledgerx_owner", "ledgerx_api", "ledgerx_streams", "ledgerx_relay")


@pytest.fixture
def admin(shared_database: Database) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(shared_database.admin_url) as connection:
        yield connection
        connection.rollback()


def column(admin: psycopg.Connection[tuple[Any, ...]], query: LiteralString) -> list[Any]:
    return [value for (value,) in admin.execute(query).fetchall()]


def test_every_key_begins_with_the_tenant(admin: psycopg.Connection[tuple[Any, ...]]) -> None:
    keys = admin.execute(
        """
        SELECT i.indexrelid::regclass::text, a.attname
        FROM pg_index AS i
        JOIN pg_class AS c ON c.oid = i.indrelid
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE c.relnamespace = 'ledgerx'::regnamespace AND i.indisunique
        """
    ).fetchall()
    others = {name.removeprefix("ledgerx.") for name, first in keys if first != "tenant_id"}
    assert len(keys) > 12
    assert others == PLATFORM_WIDE_KEYS


def test_every_foreign_key_begins_with_the_tenant(admin: psycopg.Connection[tuple[Any, ...]]) -> None:
    assert not column(
        admin,
        """
        SELECT k.conname
        FROM pg_constraint AS k
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
        WHERE k.connamespace = 'ledgerx'::regnamespace AND k.contype = 'f' AND a.attname <> 'tenant_id'
        """,
    )


def test_row_level_security_is_forced_on_every_table(admin: psycopg.Connection[tuple[Any, ...]]) -> None:
    tables = admin.execute(
        """
        SELECT relname, relrowsecurity AND relforcerowsecurity
        FROM pg_class
        WHERE relnamespace = 'ledgerx'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
        """
    ).fetchall()
    assert len(tables) >= 12
    assert [name for name, forced in tables if not forced] == []


def test_every_policy_asks_for_the_tenant_but_those_of_the_platform(
    admin: psycopg.Connection[tuple[Any, ...]],
) -> None:
    policies = admin.execute(
        "SELECT tablename, policyname, roles::text[], cmd, qual FROM pg_policies WHERE schemaname = 'ledgerx'"
    ).fetchall()
    others = {
        (table, name, tuple(roles), command)
        for table, name, roles, command, qual in policies
        if "current_tenant" not in qual
    }
    assert others == {
        ("tenants", "registry", ("ledgerx_owner",), "ALL"),
        ("outbox", "relay", ("ledgerx_relay",), "SELECT"),
        ("outbox_settings", "settings", ("ledgerx_owner",), "ALL"),
        *((table, "due", ("ledgerx_owner",), "SELECT") for table in DUE),
        ("exports", "due", ("ledgerx_owner",), "SELECT"),
        ("webhook_endpoints", "due", ("ledgerx_owner",), "SELECT"),
        ("webhook_deliveries", "due", ("ledgerx_owner",), "SELECT"),
        ("checkpoints", "superseded", ("ledgerx_owner",), "ALL"),
    }


def test_nobody_but_the_owner_reaches_a_partition(admin: psycopg.Connection[tuple[Any, ...]]) -> None:
    partitions = column(
        admin,
        "SELECT oid FROM pg_class WHERE relnamespace = 'ledgerx'::regnamespace AND relispartition AND relkind = 'r'",
    )
    assert partitions
    reached = admin.execute(
        """
        SELECT p.oid::regclass::text, role
        FROM pg_class AS p CROSS JOIN unnest(%s::name[]) AS role
        WHERE p.oid = ANY(%s) AND has_table_privilege(role, p.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
        """,
        (list(ROLES[1:]), partitions),
    ).fetchall()
    assert reached == []


def test_no_role_of_ours_is_above_the_rules(admin: psycopg.Connection[tuple[Any, ...]]) -> None:
    roles = admin.execute(
        """
        SELECT rolname, rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb, rolreplication
        FROM pg_roles WHERE rolname LIKE 'ledgerx%'
        """
    ).fetchall()
    assert sorted(roles) == sorted((name, False, name == "ledgerx_relay") for name in ROLES)


@pytest.mark.parametrize("role", ["postgres", *ROLES])
@pytest.mark.parametrize("table", ["entries", "postings", "audit_log"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET tenant_id = tenant_id", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_journal_and_the_audit_log_are_append_only_for_everybody(
    admin: psycopg.Connection[tuple[Any, ...]], role: str, table: str, statement: LiteralString
) -> None:
    admin.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
    with pytest.raises((pg.InsufficientPrivilege, pg.RestrictViolation)):
        admin.execute(sql.SQL(statement).format(sql.Identifier("ledgerx", table)))


def test_constraints_that_mean_something_to_a_client_exist(admin: psycopg.Connection[tuple[Any, ...]]) -> None:
    names = column(
        admin,
        "SELECT conname FROM pg_constraint WHERE connamespace = 'ledgerx'::regnamespace AND contype <> 'n' "
        "UNION SELECT relname FROM pg_class INNER JOIN pg_index ON indexrelid = oid WHERE indisunique",
    )
    assert set(names) >= constraints._ERRORS.keys()


# The statements of a batch and of the reads, on a journal of a few thousand entries that nobody has analysed.
CODES = [f"user:{n}" for n in range(2_000)]
POSTING = Queries("ledgerx", "sql/posting.sql")
READING = Queries("ledgerx", "sql/reading.sql")
PEOPLE = Queries("ledgerx", "sql/people.sql")
SESSIONS = Queries("ledgerx", "sql/sessions.sql")
TENANCY = Queries("ledgerx", "sql/tenancy.sql")
REGISTRIES = Queries("ledgerx", "sql/registries.sql")
TRUST = Queries("ledgerx", "sql/trust.sql")
AUDIT = Queries("ledgerx", "sql/audit.sql")
EXPORTS = Queries("ledgerx", "sql/exports.sql")
WEBHOOKS = Queries("ledgerx", "sql/webhooks.sql")
DELIVERING = Queries("ledgerx_streams", "sql/webhooks.sql")
NEWS = Queries("ledgerx_streams", "sql/entries.sql")
NOBODY = UUID(int=1)
FEED = Queries("ledgerx", "sql/feed.sql")
CHECKPOINTS = Queries("ledgerx", "sql/checkpoints.sql")
SNAPSHOTS = Queries("ledgerx", "sql/snapshots.sql")
FINDINGS = Queries("ledgerx", "sql/findings.sql")


@pytest.fixture(scope="module")
def grown_tenant(shared_database: Database) -> UUID:
    """A tenant with that journal."""

    async def grow() -> UUID:
        tenant_id = (await new_tenant(shared_database)).tenant_id
        commands: list[AnyCommand] = [opening("bank", kind=AccountType.ASSET)]
        commands += [opening(code, min_balance="0") for code in CODES]
        commands += [transfer(f"{n}", credit=code) for n, code in enumerate(CODES)]
        async with await db.connect(shared_database.api_url, application_name="test") as connection:
            await run_batch(connection, tenant_id, commands, clock=lambda: NOON)
        return tenant_id

    return asyncio.run(grow())


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        (POSTING.lock_head, {}),
        (POSTING.load_accounts, {"codes": CODES[:500]}),
        (POSTING.load_keys, {"keys": [f"{n}" for n in range(500)]}),
        (READING.sums, {"codes": CODES[:1], "owner": None}),
        (READING.account, {"code": CODES[7], "owner": None}),
        (READING.entries, {"seqs": list(range(100, 151))}),
        (REGISTRIES.load_assets, {"codes": ["USD", "BTC"]}),
        (REGISTRIES.load_categories, {"codes": ["a", "b"]}),
        (REGISTRIES.asset_codes_page, {"after": "", "limit": 51}),
        (REGISTRIES.categories_page, {"lows": [""], "highs": ["z"], "after": "", "limit": 51}),
        (READING.postings, {"seqs": list(range(3_000, 3_051)), "owner": None}),
        (READING.links, {"seqs": [3_000], "owner": None}),
        (READING.links, {"seqs": [3_000], "owner": "me"}),
        (POSTING.members_may_post, {}),
        (PEOPLE.user_by_email, {"email_key": "a@example.com"}),
        (PEOPLE.users_page, {"after": NOBODY, "limit": 51}),
        (PEOPLE.other_owner, {"user_id": NOBODY}),
        (PEOPLE.delete_families, {"user_id": NOBODY}),
        (SESSIONS.forget_attempts, {"forget_s": 1}),
        (SESSIONS.delete_oldest_families, {"user_id": NOBODY, "keep": 49}),
        (SESSIONS.lock_family, {"family_id": NOBODY}),
        (TENANCY.find_client, {"client_id": "x"}),
        (TENANCY.clients_page, {"after": "", "limit": 51}),
        (TRUST.trust, {}),
        (TRUST.lock_trust, {}),
        (AUDIT.audit_page, {"before": NOBODY, "limit": 51}),
        (EXPORTS.room, {}),
        (EXPORTS.exports_page, {"before": NOBODY, "limit": 51}),
        (EXPORTS.end_export, {"export_id": NOBODY, "grace_s": 1, "show_days": 1}),
        (WEBHOOKS.endpoint, {"endpoint_id": NOBODY}),
        (WEBHOOKS.endpoints_page, {"after": NOBODY, "limit": 51}),
        (WEBHOOKS.deliveries_page, {"endpoint_id": NOBODY, "before": NOBODY, "limit": 51}),
        (
            WEBHOOKS.deliveries_page_by_outcome,
            {"endpoint_id": NOBODY, "before": NOBODY, "limit": 51, "outcome": "dead"},
        ),
        (FEED.feed, {"after": 3_500, "limit": 50, "max_bytes": 1_000}),
        (FEED.integrity, {}),
        (CHECKPOINTS.checkpoints_page, {"before": 9, "limit": 51}),
        (CHECKPOINTS.checkpoints, {"sizes": [1, 2]}),
        (CHECKPOINTS.tiles, {"levels": [0, 1], "indexes": [1, 0]}),
        (SNAPSHOTS.account_snapshots, {"code": CODES[7], "owner": None, "before": 9, "limit": 51}),
        (FINDINGS.findings, {"limit": 1}),
        (READING.account_postings_page, {"account_id": 1, "before_seq": 3_500, "before_line": 0, "limit": 51}),
    ],
)
async def test_hot_queries_use_indexes_on_tables_without_statistics(
    shared_database: Database, grown_tenant: UUID, query: LiteralString, parameters: dict[str, Any]
) -> None:
    scans = await scans_of(shared_database.api_url, grown_tenant, query, parameters)
    # Tables of one row a tenant and those that are empty here may be read whole.
    assert scans <= {"heads", "projections", "balances", "marks"}


async def scans_of(url: str, tenant_id: UUID, query: LiteralString, parameters: dict[str, Any]) -> set[str]:
    """The tables that a tenant's query reads from end to end."""
    async with await db.connect(url, application_name="test") as connection, tenant_scope(connection, tenant_id):
        cursor = await connection.execute("EXPLAIN (FORMAT JSON) " + query, {"tenant_id": tenant_id, **parameters})
        [(plan,)] = await cursor.fetchall()
    return set(sequential_scans(plan))


def sequential_scans(plan: Any) -> Iterator[str]:
    """The tables that a plan reads from end to end."""
    if isinstance(plan, list):
        for node in plan:
            yield from sequential_scans(node)
    elif isinstance(plan, dict):
        if plan.get("Node Type") == "Seq Scan":
            yield plan["Relation Name"]
        yield from sequential_scans([plan.get("Plan"), plan.get("Plans")])


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        (NEWS.wake, {"seq": 1}),
        (DELIVERING.claim, {"endpoint_id": NOBODY, "lease_id": NOBODY, "lease_s": 1.0}),
        (DELIVERING.state, {"endpoint_id": NOBODY, "lease_id": NOBODY}),
        (DELIVERING.wanted, {"first": 1_000, "last": 1_999, "kinds": ["post"]}),
        (DELIVERING.release, {"endpoint_id": NOBODY, "lease_id": NOBODY}),
        (DELIVERING.drop_old, {"keep_days": 30, "most": 1_000}),
    ],
)
async def test_queries_of_webhooks_use_indexes(
    shared_database: Database, grown_tenant: UUID, query: LiteralString, parameters: dict[str, Any]
) -> None:
    assert await scans_of(shared_database.streams_url, grown_tenant, query, parameters) <= {"heads"}
