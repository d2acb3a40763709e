"""What a LedgerTenant declares beside itself: webhooks, the first owner, snapshots."""

import base64
from typing import Any
from uuid import UUID

import aiohttp
import psycopg

from ledgerx.database import connect
from ledgerx.sealing import decode_sealing_keys
from ledgerx.snapshots import SnapshotSettings, read_snapshot_settings
from ledgerx.webhooks import seal_context
from tests.integration.api_process import ApiProcess
from tests.operator.kube import Kube, eventually
from tests.operator.operator_process import OperatorProcess, ledger_tenant, ready, refused


def endpoints(admin_url: str, tenant_id: str) -> dict[str, tuple[Any, ...]]:
    """Id, URL, types and sealed secret of the endpoints of a tenant, by handle."""
    with psycopg.connect(admin_url) as connection:
        connection.execute("SET ROLE ledgerx_owner")
        connection.execute("SELECT set_config('ledgerx.tenant', %s, false)", (tenant_id,))
        found = connection.execute(
            "SELECT handle, endpoint_id, url, event_types, secret FROM ledgerx.webhook_endpoints"
        ).fetchall()
    return {handle: tuple(rest) for handle, *rest in found}


def test_webhooks_are_kept_and_their_secrets_handed_over(
    kube: Kube, operator: OperatorProcess, namespace: str, admin_url: str
) -> None:
    main = {"name": "main", "url": "https://example.com/hooks"}
    some = {"name": "some", "url": "https://example.com/some", "eventTypes": ["ledgerx.transaction.posted"]}
    kube.apply(ledger_tenant(namespace, webhooks=[main, some]))
    tenant_id = ready(kube, "LedgerTenant", namespace, "shop")["status"]["tenantID"]
    secret = kube.secret(namespace, "shop-ledger") or {}
    made = endpoints(admin_url, tenant_id)
    assert {handle: (url, types) for handle, (_, url, types, _) in made.items()} == {
        "main": ("https://example.com/hooks", None),
        "some": ("https://example.com/some", ["ledgerx.transaction.posted"]),
    }
    keys = decode_sealing_keys((kube.secret(operator.namespace, "ledgerx-keys") or {})["sealing.json"].encode())
    for handle, (endpoint_id, _, _, sealed) in made.items():
        opened = keys.open(bytes(sealed), of=seal_context(UUID(tenant_id), endpoint_id))
        assert base64.b64decode(secret[f"webhook-{handle}"].removeprefix("whsec_")) == opened

    kube.apply(ledger_tenant(namespace, webhooks=[main | {"url": "https://example.com/other"}]))
    ready(kube, "LedgerTenant", namespace, "shop")
    now = endpoints(admin_url, tenant_id)
    assert now.keys() == {"main"}
    assert now["main"][:2] == (made["main"][0], "https://example.com/other")
    after = kube.secret(namespace, "shop-ledger") or {}
    assert after == {name: value for name, value in secret.items() if name != "webhook-some"}

    kube.apply(ledger_tenant(namespace, webhooks=[main | {"url": "http://127.0.0.1/"}]))
    refused(kube, namespace, "shop", "InvalidField")
    kube.apply(ledger_tenant(namespace))
    ready(kube, "LedgerTenant", namespace, "shop")
    assert endpoints(admin_url, tenant_id) == {}


async def logs_in(api: ApiProcess, namespace: str, email: str, password: str) -> int:
    """How the API answers who logs in."""
    who = {"tenant": f"{namespace}/shop", "email": email, "password": password}
    async with aiohttp.ClientSession(api.base_url) as session, session.post("/v1/auth/login", json=who) as answer:
        return answer.status


async def test_the_first_owner_logs_in_with_what_the_secret_says(
    kube: Kube, operator: OperatorProcess, api: ApiProcess, namespace: str, admin_url: str
) -> None:
    kube.apply(ledger_tenant(namespace, bootstrapUser={"email": "Ann@Example.com"}))
    ready(kube, "LedgerTenant", namespace, "shop")
    secret = kube.secret(namespace, "shop-ledger") or {}
    assert secret["bootstrap-email"] == "Ann@example.com"
    assert await logs_in(api, namespace, "ann@example.com", secret["bootstrap-password"]) == 200
    # A tenant with an owner gets no other one, and nobody's password is changed.
    kube.delete("Secret", namespace, "shop-ledger")
    again = eventually(lambda: kube.secret(namespace, "shop-ledger") or {})
    assert (again["bootstrap-email"], "bootstrap-password" in again) == ("Ann@example.com", False)
    kube.apply(ledger_tenant(namespace, bootstrapUser={"email": "bob@example.com"}))
    ready(kube, "LedgerTenant", namespace, "shop")
    assert await logs_in(api, namespace, "ann@example.com", secret["bootstrap-password"]) == 200
    assert "bootstrap-password" not in (kube.secret(namespace, "shop-ledger") or {})


async def test_snapshots_are_taken_as_declared(
    kube: Kube, operator: OperatorProcess, namespace: str, admin_url: str
) -> None:
    kube.apply(ledger_tenant(namespace, snapshots={"schedule": ["0 0 * * *"], "retentionDays": 30}))
    tenant_id = UUID(ready(kube, "LedgerTenant", namespace, "shop")["status"]["tenantID"])
    async with await connect(admin_url, application_name="test") as connection:
        await connection.execute("SET ROLE ledgerx_owner")
        assert await read_snapshot_settings(connection, tenant_id) == SnapshotSettings(
            schedule=("0 0 * * *",), retention_days=30
        )
        kube.apply(ledger_tenant(namespace, snapshots={"schedule": ["0 6 * * 1"]}))
        ready(kube, "LedgerTenant", namespace, "shop")
        assert await read_snapshot_settings(connection, tenant_id) == SnapshotSettings(
            schedule=("0 6 * * 1",), retention_days=30
        )
    kube.apply(ledger_tenant(namespace, snapshots={"schedule": ["0 6 31 2 *"]}))
    refused(kube, namespace, "shop", "InvalidField")
