"""The operator at the size that it is made for."""

import secrets
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import psycopg
import pytest

from tests.operator.kube import Kube
from tests.operator.many_tenants import declare
from tests.operator.operator_process import OperatorProcess, bring_database

TENANTS = 1_000
KILLS = 3
LIMIT_S = 300
MAX_RSS_MIB = 300


@pytest.mark.timeout(3 * LIMIT_S)
def test_a_thousand_tenants_at_once_are_ready_though_the_operator_is_killed_amid_them(
    kube: Kube,
    operators: Callable[..., OperatorProcess],
    namespace: str,
    admin_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    operator = operators(namespace, DRIFT_INTERVAL_S="300")
    bring_database(operator, admin_url)
    kill_at = secrets.SystemRandom().sample(range(TENANTS // 20, TENANTS * 9 // 10), KILLS)
    names = [f"shop-{number}" for number in range(TENANTS)]
    with capsys.disabled():
        write = sys.stdout.write
        write(f"\nkilled when so many of {TENANTS} tenants are ready: {sorted(kill_at)}\n")
        taken = declare(
            kube,
            operator,
            namespace,
            names,
            kill_at=kill_at,
            limit_s=LIMIT_S,
            report=lambda line: write(f"{line}\n"),
        )
        write(f"{msgspec.json.encode(taken).decode()}\n")
    assert taken.rss_mib < MAX_RSS_MIB
    nothing_is_half_made(kube, namespace, names, admin_url)


def nothing_is_half_made(kube: Kube, namespace: str, names: list[str], admin_url: str) -> None:
    """Each object has one tenant and one client, whose secret the cluster holds, and there is nothing else."""
    declared = {one["metadata"]["name"]: one["status"] for one in kube.list("LedgerTenant", namespace)}
    bindings = {one["metadata"]["name"] for one in kube.list("Secret", namespace)}
    assert declared.keys() == set(names)
    assert bindings == {f"{name}-ledger" for name in names}
    with psycopg.connect(admin_url) as connection:
        connection.execute("SET ROLE ledgerx_owner")
        rows = connection.execute("SELECT name, tenant_id::text FROM ledgerx.tenants").fetchall()
        assert sorted(rows) == sorted((f"{namespace}/{name}", status["tenantID"]) for name, status in declared.items())
        for name, status in declared.items():
            secret = kube.secret(namespace, f"{name}-ledger") or {}
            assert secret["tenant"] == status["tenantID"]
            assert made_of(connection, status["tenantID"], secret["client-secret"]) == (1, secret["client-id"], 1)


def made_of(connection: psycopg.Connection[tuple[Any, ...]], tenant_id: str, client_secret: str) -> Any:
    """The heads of a tenant, its client, and the secrets of that which are the one given."""
    connection.execute("SELECT set_config('ledgerx.tenant', %s, false)", (tenant_id,))
    return connection.execute(
        """
        SELECT
            (SELECT count(*) FROM ledgerx.heads), (SELECT client_id FROM ledgerx.api_clients),
            (SELECT count(*) FROM ledgerx.api_client_secrets WHERE secret_sha256 = sha256(%s))
        """,
        (client_secret.encode(),),
    ).fetchone()
