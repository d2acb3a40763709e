"""`kubectl ledgerx` as kubectl runs it: a program of its own with a kubeconfig."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import aiohttp
import psycopg

from tests.integration.api_process import ApiProcess
from tests.operator.kube import Kube, condition, eventually
from tests.operator.operator_process import OperatorProcess, ledger_client, ledger_tenant, ready

PLUGIN = Path(sys.executable).with_name("kubectl-ledgerx")


def plugin(kubeconfig: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run it with the rights of a kubeconfig."""
    environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
    return subprocess.run([PLUGIN, *arguments], env=environment, capture_output=True, text=True, check=False)


def healthy(kube: Kube, namespace: str) -> None:
    """Wait until the tenant `shop` is ready and healthy."""
    eventually(
        lambda: kube.get("LedgerTenant", namespace, "shop"),
        lambda found: condition(found, "Healthy") == ("True", "Healthy"),
    )


def test_it_tells_how_the_platform_is(kube: Kube, kubeconfig: Path, operator: OperatorProcess, namespace: str) -> None:
    kube.apply(ledger_tenant(namespace))
    healthy(kube, namespace)
    listed = plugin(kubeconfig, "tenants", "-n", namespace, "--json")
    assert (listed.returncode, listed.stderr) == (0, "")
    [tenant] = json.loads(listed.stdout)
    assert tenant["state"] == {"ready": True, "reason": "Reconciled", "healthy": True, "health": "Healthy"}
    assert (tenant["name"], tenant["database"], tenant["secret"]) == ("shop", "main", "shop-ledger")
    assert (
        f"{namespace}\tshop\tReconciled\tHealthy\tmain\t0\t0\t0\tshop-ledger"
        in plugin(kubeconfig, "tenants", "-A").stdout
    )
    status = json.loads(plugin(kubeconfig, "status", "--json").stdout)
    assert {"namespace": operator.namespace, "active": True} in [
        {"namespace": one["namespace"], "active": one["active"]} for one in status["operators"]
    ]
    [database] = [one for one in status["databases"] if one["namespace"] == operator.namespace]
    assert (database["tenants"], database["state"]["ready"]) == (0, True) or database["tenants"] == 1
    assert status["tenants"]["Reconciled"] >= 1
    # No relay reads from that database.
    lag = plugin(kubeconfig, "lag")
    assert lag.returncode == 1
    assert f"{operator.namespace}\tmain\tReconciled\tSlotMissing" in lag.stdout


async def test_it_gets_a_token_and_asks_for_the_integrity(
    kube: Kube, kubeconfig: Path, operator: OperatorProcess, api: ApiProcess, namespace: str, admin_url: str
) -> None:
    kube.apply(ledger_tenant(namespace))
    tenant_id = ready(kube, "LedgerTenant", namespace, "shop")["status"]["tenantID"]
    here = ("-n", namespace, "--api-url", api.base_url)
    printed = plugin(kubeconfig, "token", "shop", *here)
    assert (printed.returncode, printed.stderr) == (0, "")
    headers = {"Authorization": f"Bearer {printed.stdout.strip()}"}
    async with aiohttp.ClientSession(api.base_url) as session, session.get("/v1/accounts", headers=headers) as answer:
        assert answer.status == 200
    verified = plugin(kubeconfig, "verify", "shop", *here, "--json")
    assert (verified.returncode, json.loads(verified.stdout)["healthy"]) == (0, True)
    with psycopg.connect(admin_url) as connection:
        connection.execute("SET ROLE ledgerx_owner")
        connection.execute("SELECT set_config('ledgerx.tenant', %s, false)", (tenant_id,))
        connection.execute(
            "INSERT INTO ledgerx.findings (tenant_id, seq, what, found_by) VALUES (%s, 1, 'hash', 'scrubber')",
            (tenant_id,),
        )
    verified = plugin(kubeconfig, "verify", "shop", *here)
    assert (verified.returncode, verified.stderr) == (1, "")
    assert "scrubber" in verified.stdout
    eventually(
        lambda: kube.get("LedgerTenant", namespace, "shop"),
        lambda found: condition(found, "Healthy") == ("False", "IntegrityBroken"),
    )
    missing = plugin(kubeconfig, "token", "nobody", *here)
    assert (missing.returncode, missing.stderr) == (
        1,
        'kubectl ledgerx: ledgertenants.ledgerx.io "nobody" not found\n',
    )


def test_it_lets_objects_go_when_the_operator_is_gone(
    kube: Kube, kubeconfig: Path, operator: OperatorProcess, namespace: str, admin_url: str
) -> None:
    kube.apply(ledger_tenant(namespace))
    kube.apply(ledger_client(namespace, "reports"))
    ready(kube, "LedgerClient", namespace, "reports")
    refused = plugin(kubeconfig, "detach", "--all", "-n", namespace)
    assert (refused.returncode, "an operator is at work" in refused.stderr) == (1, True)
    operator.send(signal.SIGTERM)
    assert operator.wait() == 0
    kube.delete("LedgerTenant", namespace, "shop")
    assert kube.get("LedgerTenant", namespace, "shop")["metadata"]["deletionTimestamp"]
    # Operators that other tests killed hold their leases for a while.
    done = eventually(
        lambda: plugin(kubeconfig, "detach", "--all", "-n", namespace, "--json"), lambda done: done.returncode == 0
    )
    assert json.loads(done.stdout) == {"detached": ["lc/reports", "lt/shop"]}
    assert kube.get("LedgerTenant", namespace, "shop") is None
    with psycopg.connect(admin_url) as connection:
        connection.execute("SET ROLE ledgerx_owner")
        assert connection.execute("SELECT name, state FROM ledgerx.tenants").fetchall() == [
            (f"{namespace}/shop", "active")
        ]
    wrong = plugin(kubeconfig, "detach", "shop", "--force")
    assert (wrong.returncode, wrong.stderr) == (
        1,
        "kubectl ledgerx: shop is not lx, lc, lt, ldb and a name, as lt/shop\n",
    )
