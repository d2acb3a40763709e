"""LedgerDatabases: checked, migrated, handed out, measured; by a Secret or through CloudNativePG."""

import os
import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ledgerx.migrate import migrate
from ledgerx_cli.embedded.postgres import Postgres
from tests.operator.conftest import scratch, serving
from tests.operator.kube import ROOT, Kube, KubeError, condition, eventually, objects
from tests.operator.operator_process import (
    OperatorProcess,
    admin_secret,
    bring_database,
    ledger_database,
    ledger_tenant,
    new_database,
    ready,
    refused,
)

Operators = Callable[..., OperatorProcess]
CNPG = Path(os.environ.get("LEDGERX_CRDS", ROOT / "../shared/crds")) / "cnpg-clusters.yaml"


def test_a_database_is_checked_before_it_is_used(
    kube: Kube, operators: Operators, namespace: str, admin_url: str, postgres_server: Postgres, platform_password: str
) -> None:
    operator = operators(namespace)
    here = operator.namespace
    kube.apply(ledger_database(here))
    refused(kube, here, "main", "AdminSecretMissing", "LedgerDatabase")
    kube.apply(admin_secret(here, "main", "mysql://x"))
    refused(kube, here, "main", "AdminSecretInvalid", "LedgerDatabase")
    kube.apply(admin_secret(here, "main", admin_url.replace(platform_password, "wrong")))
    refused(kube, here, "main", "DatabaseUnavailable", "LedgerDatabase")
    with psycopg.connect(postgres_server.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE weak LOGIN PASSWORD 'weak'")
    weak = admin_url.replace(f"platform:{platform_password}@", "weak:weak@")
    kube.apply(admin_secret(here, "main", weak))
    refused(kube, here, "main", "AdminRoleUnusable", "LedgerDatabase")
    kube.apply(admin_secret(here, "main", admin_url))
    found = ready(kube, "LedgerDatabase", here, "main")
    assert found["status"]["schema"]
    # The same database by another name, and one of the same server beside it, which shares the roles.
    kube.apply(admin_secret(here, "again", admin_url))
    kube.apply(ledger_database(here, "again"))
    refused(kube, here, "again", "DuplicateDatabase", "LedgerDatabase")
    bring_database(operator, new_database(postgres_server, platform_password), "second")
    urls = kube.secret(here, "ledgerx-databases-api") or {}
    assert sorted(urls) == ["main", "second"]
    for url in urls.values():
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("ledgerx_api",)
    # A database that holds tenants stays; one without goes, and so does its key.
    kube.apply(ledger_tenant(namespace, databaseRef={"name": "second"}))
    ready(kube, "LedgerTenant", namespace, "shop")
    kube.delete("LedgerDatabase", here, "second")
    eventually(
        lambda: kube.get("LedgerDatabase", here, "second"),
        lambda held: condition(held, "DeletionBlocked") == ("True", "TenantsLeft"),
    )
    kube.delete("LedgerTenant", namespace, "shop")
    eventually(lambda: kube.get("LedgerDatabase", here, "second") is None)
    assert sorted(kube.secret(here, "ledgerx-databases-api") or {}) == ["main"]


def test_its_slot_and_its_size_are_told_and_whether_a_relay_reads_from_it(
    kube: Kube, operator: OperatorProcess, admin_url: str
) -> None:
    def told(holds: tuple[str, str]) -> Any:
        return eventually(
            lambda: kube.get("LedgerDatabase", operator.namespace, "main"),
            lambda found: condition(found, "Healthy") == holds,
        )["status"]

    assert told(("False", "SlotMissing"))["sizeBytes"] > 1_000_000
    with psycopg.connect(admin_url, autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot('ledgerx_of_test', 'pgoutput')")
        try:
            assert told(("False", "RelayAway"))["slot"]["active"] is False
        finally:
            connection.execute("SELECT pg_drop_replication_slot('ledgerx_of_test')")
    assert "slot" not in told(("False", "SlotMissing"))


def test_the_outbox_is_kept_as_long_as_its_database_says(kube: Kube, operator: OperatorProcess, admin_url: str) -> None:
    url = (kube.secret(operator.namespace, "ledgerx-databases-streams") or {})["main"]

    def days() -> Any:
        with psycopg.connect(url) as connection:
            return connection.execute("SELECT ledgerx.outbox_retention_days(7)").fetchone()

    assert days() == (7,)
    kube.apply(ledger_database(operator.namespace, events={"retentionDays": 30}))
    eventually(days, lambda kept: kept == (30,))
    kube.apply(ledger_database(operator.namespace))
    eventually(days, lambda kept: kept == (7,))


@pytest.fixture
def cnpg(kube: Kube) -> None:
    """The definition of CloudNativePG's Clusters."""
    [definition] = objects(CNPG)
    kube.apply(definition)
    name = definition["metadata"]["name"]
    eventually(
        partial(kube.get, "CustomResourceDefinition", "", name),
        lambda found: condition(found, "Established") == ("True", "InitialNamesAccepted"),
    )


def test_a_cluster_of_cloudnativepg_gets_the_role_that_the_operator_needs(
    kube: Kube, cnpg: None, operators: Operators, namespace: str
) -> None:
    operator = operators(namespace)
    here = operator.namespace
    reference = {"cnpgClusterRef": {"name": "ledger"}}
    spec = ledger_database(here)["spec"] | reference
    del spec["adminSecretRef"]
    database = ledger_database(here) | {"spec": spec}
    kube.apply(database)
    refused(kube, here, "main", "ClusterMissing", "LedgerDatabase")
    theirs = {"name": "theirs", "login": True}
    kube.apply(
        {
            "apiVersion": "postgresql.cnpg.io/v1",
            "kind": "Cluster",
            "metadata": {"name": "ledger", "namespace": here},
            "spec": {
                "instances": 3,
                "storage": {"size": "1Gi"},
                "bootstrap": {"initdb": {"database": "books", "owner": "keeper"}},
                "managed": {"roles": [theirs]},
            },
        }
    )
    roles = eventually(
        lambda: kube.get("Cluster", here, "ledger")["spec"]["managed"]["roles"], lambda found: len(found) == 2
    )
    assert [role["name"] for role in roles] == ["theirs", "ledgerx_admin"]
    password = kube.secret(here, roles[1]["passwordSecret"]["name"]) or {}
    assert password["username"] == "ledgerx_admin"
    assert kube.get("Secret", here, roles[1]["passwordSecret"]["name"])["type"] == "kubernetes.io/basic-auth"
    # Nobody is there under the name of the Cluster's service; pods get the URLs all the same.
    refused(kube, here, "main", "DatabaseUnavailable", "LedgerDatabase")
    url = (kube.secret(here, "ledgerx-databases-api") or {})["main"]
    assert url.endswith(f"@ledger-rw.{here}.svc:5432/books?sslmode=require")
    # The same again is no change.
    version = kube.get("Cluster", here, "ledger")["metadata"]["resourceVersion"]
    kube.annotate("LedgerDatabase", here, "main", look="again")
    refused(kube, here, "main", "DatabaseUnavailable", "LedgerDatabase")
    assert kube.get("Cluster", here, "ledger")["metadata"]["resourceVersion"] == version
    # On a server of its own: who made the platform's roles may give them away, and nobody else.
    with (
        scratch() as directory,
        serving(Postgres(directory=directory / "postgres", password=secrets.token_hex(8)), directory) as server,
    ):
        migrate_as(server, roles[1])


def migrate_as(server: Postgres, role: dict[str, Any]) -> None:
    """Migrate a database as a role that is made as CloudNativePG makes it."""
    name, password, [owner] = role["name"], secrets.token_hex(8), role["inRoles"]
    granted = [
        sql.SQL(word) for word in ("login", "createrole", "replication", "createdb", "superuser") if role.get(word)
    ]
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(owner)))
        connection.execute(
            sql.SQL("CREATE ROLE {} WITH {} PASSWORD {} IN ROLE {}").format(
                sql.Identifier(name), sql.SQL(" ").join(granted), sql.Literal(password), sql.Identifier(owner)
            )
        )
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(owner), sql.Identifier(owner)))
    assert owner == "keeper"
    assert migrate(server.url(owner).replace(f"postgres:{server.password}@", f"{name}:{password}@"))


def test_a_database_has_one_administrator(kube: Kube, namespace: str) -> None:
    both = ledger_database(namespace, cnpgClusterRef={"name": "ledger"})
    neither = ledger_database(namespace) | {"spec": {}}
    for wrong in (both, neither):
        with pytest.raises(KubeError, match="either adminSecretRef or cnpgClusterRef"):
            kube.apply(wrong, dry_run=True)
