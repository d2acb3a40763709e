"""Tenants as custom resources: a real API server, a real PostgreSQL, the operator and the API as real processes."""

import asyncio
import secrets
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import psycopg
import pytest

from ledgerx import lifecycle
from ledgerx.database import connect
from ledgerx.lifecycle import TenantRecord, TenantState
from tests.integration.api_process import ApiProcess
from tests.integration.ledger_client import LedgerClient, client_of
from tests.operator import connection_secrets
from tests.operator.connection_secrets import credentials_in
from tests.operator.kube import TIMEOUT_S, Kube, KubeError, condition, eventually
from tests.operator.operator_process import (
    API_URL,
    OperatorProcess,
    api_of,
    bring_database,
    ledger_client,
    ledger_database,
    ledger_tenant,
    ready,
    refused,
)

Operators = Callable[..., OperatorProcess]
PAST = "2026-01-01T00:00:00Z"


async def tenant(admin_url: str, tenant_id: str) -> TenantRecord | None:
    """The row of a tenant."""
    async with await connect(admin_url, application_name="test") as connection:
        await connection.execute("SET ROLE ledgerx_owner")
        return await lifecycle.tenant_by_id(connection, UUID(tenant_id))


def tenants(admin_url: str) -> list[tuple[Any, ...]]:
    """Name, owner and state of each tenant."""
    with psycopg.connect(admin_url) as connection:
        connection.execute("SET ROLE ledgerx_owner")
        return connection.execute("SELECT name, owner, state FROM ledgerx.tenants ORDER BY name").fetchall()


async def posts(api: ApiProcess, secret: dict[str, str] | None) -> int:
    """The status of a transaction that the client of a Secret posts, after it got a token."""
    async with client_of(api.base_url, credentials_in(secret)) as client:
        return (await client.transfer(secrets.token_hex(8))).status


async def token_status(api: ApiProcess, secret: dict[str, str]) -> tuple[int, str | None]:
    """How an API answers a client of a Secret that asks for a token."""
    async with aiohttp.ClientSession(api.base_url) as session:
        return await connection_secrets.token_status(session, secret)


async def test_a_declared_tenant_is_there_in_seconds_and_its_secret_posts(
    kube: Kube, operator: OperatorProcess, api: ApiProcess, namespace: str, admin_url: str
) -> None:
    kube.apply(
        ledger_tenant(
            namespace,
            assets=[{"code": "POINTS", "scale": 0, "name": "Points"}],
            categories={"strict": True},
            members={"registration": True},
            limits={"requestsPerSecond": 50, "accounts": 1000},
            timeZone="Europe/Paris",
        )
    )
    found = ready(kube, "LedgerTenant", namespace, "shop")
    status = found["status"]
    assert status["database"] == "main"
    assert status["binding"] == {"name": "shop-ledger"}
    assert condition(found, "Provisioned") == ("True", "Provisioned")
    secret = kube.secret(namespace, "shop-ledger")
    assert secret is not None
    assert secret | {"client-id": "", "client-secret": ""} == {
        "type": "ledgerx",
        "provider": "ledgerx",
        "uri": API_URL,
        "host": "ledgerx-api.ledgerx.svc",
        "port": "8080",
        "tenant": status["tenantID"],
        "client-id": "",
        "client-secret": "",
    }
    raw = kube.get("Secret", namespace, "shop-ledger")
    assert raw["type"] == "servicebinding.io/ledgerx"
    assert [owner["uid"] for owner in raw["metadata"]["ownerReferences"]] == [found["metadata"]["uid"]]
    assert await posts(api, secret) == 201
    async with client_of_existing(api, secret) as client:
        assert (await client.open_account("loyal", asset="POINTS")).status == 201
        assert (await client.transfer("x", category="unheard-of")).told == (422, "unknown_category")
    record = await tenant(admin_url, status["tenantID"])
    assert record is not None
    assert record.name == f"{namespace}/shop"
    assert record.owner is not None
    assert record.owner.endswith(f"/{namespace}/shop")
    assert (record.time_zone, record.allow_registration, record.requests_per_second) == ("Europe/Paris", True, 50)
    used = eventually(
        lambda: kube.get("LedgerTenant", namespace, "shop")["status"].get("usage") or {},
        lambda usage: usage.get("sequence", 0) >= 6,
    )
    assert used["accounts"] == 3
    reasons = {event["reason"] for event in kube.list("Event", namespace)}
    assert (
        "Reconciled"
        in eventually(
            lambda: {event["reason"] for event in kube.list("Event", namespace)}, lambda told: "Reconciled" in told
        )
        | reasons
    )
    assert 'ledgerx_operator_objects{kind="LedgerTenant",reason="Reconciled"} 1.0' in operator.metrics()
    assert used["transactions"] == 1
    assert used["lastTransactionTime"]


def test_nothing_is_written_where_nothing_changes(kube: Kube, operator: OperatorProcess, namespace: str) -> None:
    kube.apply(ledger_tenant(namespace))
    seen = eventually(
        lambda: kube.get("LedgerTenant", namespace, "shop"),
        lambda found: condition(found, "Healthy") == ("True", "Healthy"),
    )
    before = looked(operator)
    eventually(lambda: looked(operator) >= before + 3)
    assert (
        kube.get("LedgerTenant", namespace, "shop")["metadata"]["resourceVersion"]
        == seen["metadata"]["resourceVersion"]
    )


def looked(operator: OperatorProcess) -> float:
    """How often the operator has looked at tenants and found all well."""
    for line in operator.metrics().splitlines():
        if line.startswith('ledgerx_operator_reconciles_total{kind="LedgerTenant",outcome="Done"}'):
            return float(line.rpartition(" ")[2])
    return 0


async def test_the_operator_cannot_list_secrets_or_read_them_elsewhere(
    kube: Kube, operator: OperatorProcess, namespace: str
) -> None:
    account = Kube(operator.kubeconfig)
    elsewhere = kube.new_namespace("elsewhere")
    for where in (namespace, operator.namespace, elsewhere):
        with pytest.raises(KubeError, match="forbidden"):
            account.list("Secret", where)
    with pytest.raises(KubeError, match="forbidden"):
        account.secret(elsewhere, "any")
    assert account.secret(namespace, "any") is None
    account.close()


async def test_a_retained_tenant_is_suspended_and_comes_back_to_its_own_object(
    kube: Kube, operator: OperatorProcess, api: ApiProcess, namespace: str, admin_url: str
) -> None:
    kube.apply(ledger_tenant(namespace))
    tenant_id = ready(kube, "LedgerTenant", namespace, "shop")["status"]["tenantID"]
    secret = kube.secret(namespace, "shop-ledger")
    assert await posts(api, secret) == 201
    kube.delete("LedgerTenant", namespace, "shop")
    eventually(lambda: kube.get("LedgerTenant", namespace, "shop") is None)
    record = await tenant(admin_url, tenant_id)
    assert record is not None
    assert record.state is TenantState.SUSPENDED
    # Garbage collection takes the Secret.
    eventually(lambda: kube.secret(namespace, "shop-ledger") is None)
    kube.apply(ledger_tenant(namespace))
    assert ready(kube, "LedgerTenant", namespace, "shop")["status"]["tenantID"] == tenant_id
    fresh = eventually(lambda: kube.secret(namespace, "shop-ledger"))
    assert fresh != secret
    async with asyncio.timeout(TIMEOUT_S):
        while await token_status(api, fresh or {}) == (403, "tenant_suspended"):  # noqa: ASYNC110 - another process sets no event
            await asyncio.sleep(0.1)
    async with client_of_existing(api, fresh) as client:
        assert (await client.transfer(secrets.token_hex(8))).status == 201


@asynccontextmanager
async def client_of_existing(api: ApiProcess, secret: dict[str, str] | None) -> AsyncIterator[LedgerClient]:
    """A client of a tenant that has its accounts already."""
    async with aiohttp.ClientSession(api.base_url) as session:
        client = LedgerClient(session)
        await client.log_in(credentials_in(secret))
        yield client


async def test_another_namespace_of_the_same_name_does_not_get_the_tenant_unless_the_database_allows_it(
    kube: Kube, operators: Operators, operator: OperatorProcess, namespace: str, admin_url: str
) -> None:
    kube.apply(ledger_tenant(namespace))
    tenant_id = ready(kube, "LedgerTenant", namespace, "shop")["status"]["tenantID"]
    with psycopg.connect(admin_url) as connection:
        connection.execute("SET ROLE ledgerx_owner")
        # What a row says whose namespace was deleted, and made anew under the same name.
        connection.execute("UPDATE ledgerx.tenants SET owner = 'cluster/gone/' || name")
    kube.patch("LedgerTenant", namespace, "shop", {"spec": {"displayName": "again"}})
    refused(kube, namespace, "shop", "AdoptionRefused")
    other = kube.apply(ledger_tenant(namespace, "thief", adoptTenantID=tenant_id))
    refused(kube, namespace, "thief", "AdoptionRefused")
    assert kube.secret(namespace, "thief-ledger") is None
    allowed = [{"tenantID": tenant_id, "namespace": namespace, "name": "shop"}]
    kube.apply(ledger_database(operator.namespace, allowedAdoptions=allowed))
    kube.patch("LedgerTenant", namespace, "shop", {"spec": {"adoptTenantID": tenant_id}})
    assert ready(kube, "LedgerTenant", namespace, "shop")["status"]["tenantID"] == tenant_id
    refused(kube, namespace, "thief", "AdoptionRefused")
    assert other["metadata"]["uid"]
    [(name, owner, state)] = tenants(admin_url)
    assert (name, state) == (f"{namespace}/shop", "active")
    assert not owner.startswith("cluster/gone")


async def test_suspend_and_resume(kube: Kube, operator: OperatorProcess, api: ApiProcess, namespace: str) -> None:
    kube.apply(ledger_tenant(namespace))
    ready(kube, "LedgerTenant", namespace, "shop")
    secret = kube.secret(namespace, "shop-ledger")
    async with client_of(api.base_url, credentials_in(secret)) as client:
        assert (await client.transfer("one")).status == 201
        kube.patch("LedgerTenant", namespace, "shop", {"spec": {"suspended": True}})
        found = ready(kube, "LedgerTenant", namespace, "shop")
        assert condition(found) == ("True", "Suspended")
        assert (await client.transfer("two")).told == (403, "tenant_suspended")
        kube.patch("LedgerTenant", namespace, "shop", {"spec": {"suspended": False}})
        assert condition(ready(kube, "LedgerTenant", namespace, "shop")) == ("True", "Reconciled")
        async with asyncio.timeout(TIMEOUT_S):
            while (answer := await client.transfer("two")).status == 403:  # noqa: ASYNC110 - another process sets no event
                await asyncio.sleep(0.1)
        assert answer.status == 201


async def test_what_was_changed_by_hand_is_put_back_unless_it_is_paused(
    kube: Kube, operator: OperatorProcess, api: ApiProcess, namespace: str, admin_url: str
) -> None:
    kube.apply(ledger_tenant(namespace))
    tenant_id = ready(kube, "LedgerTenant", namespace, "shop")["status"]["tenantID"]
    first = kube.secret(namespace, "shop-ledger")
    assert first is not None

    kube.patch("Secret", namespace, "shop-ledger", {"data": {"host": "eA=="}})
    assert eventually(lambda: kube.secret(namespace, "shop-ledger"), lambda held: held == first)
    # A client secret that is none is replaced, never taken over.
    kube.patch("Secret", namespace, "shop-ledger", {"data": {"client-secret": "c2VjcmV0"}})
    second = eventually(
        lambda: kube.secret(namespace, "shop-ledger") or {},
        lambda held: held.get("client-secret") not in (None, "secret", first["client-secret"]),
    )
    assert await posts(api, second) == 201
    assert await token_status(api, second | {"client-secret": "secret"}) == (401, "invalid_client")
    kube.delete("Secret", namespace, "shop-ledger")
    third = eventually(lambda: kube.secret(namespace, "shop-ledger"))
    assert third is not None
    assert (await token_status(api, third))[0] == 200

    kube.annotate("LedgerTenant", namespace, "shop", paused="true")
    paused = eventually(
        lambda: kube.get("LedgerTenant", namespace, "shop"),
        lambda found: condition(found, "ReconciliationPaused") == ("True", "Paused"),
    )
    assert condition(paused) == ("True", "Reconciled")
    kube.patch("LedgerTenant", namespace, "shop", {"spec": {"suspended": True}})
    kube.patch("Secret", namespace, "shop-ledger", {"data": {"host": "eA=="}})
    # Another tenant shows that the operator is at work, for longer than a look at drift takes.
    kube.apply(ledger_tenant(namespace, "other"))
    ready(kube, "LedgerTenant", namespace, "other")
    before = looked(operator)
    eventually(lambda: looked(operator) >= before + 3)
    assert (kube.secret(namespace, "shop-ledger") or {})["host"] == "x"
    record = await tenant(admin_url, tenant_id)
    assert record is not None
    assert record.state is TenantState.ACTIVE
    kube.annotate("LedgerTenant", namespace, "shop", paused=None)
    eventually(lambda: (kube.secret(namespace, "shop-ledger") or {}).get("host") == "ledgerx-api.ledgerx.svc")
    assert condition(ready(kube, "LedgerTenant", namespace, "shop")) == ("True", "Suspended")


async def test_a_rotated_secret_s_predecessor_is_good_for_a_while(
    kube: Kube, operators: Operators, namespace: str, admin_url: str, directory: Path
) -> None:
    operator = operators(namespace, ROTATION_OVERLAP_S="20")
    bring_database(operator, admin_url)
    api = api_of(operator, directory)
    api.start()
    try:
        kube.apply(ledger_tenant(namespace))
        ready(kube, "LedgerTenant", namespace, "shop")
        first = kube.secret(namespace, "shop-ledger") or {}
        kube.annotate("LedgerTenant", namespace, "shop", rotate_at=PAST)
        second = eventually(lambda: kube.secret(namespace, "shop-ledger") or {}, lambda held: held != first)
        assert second | {"client-secret": ""} == first | {"client-secret": ""}
        assert (await token_status(api, first))[0] == 200
        assert (await token_status(api, second))[0] == 200
        # Once is enough for one time; one to come has to come.
        later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        kube.annotate("LedgerTenant", namespace, "shop", rotate_at=later)
        async with asyncio.timeout(TIMEOUT_S):
            while (await token_status(api, first))[0] == 200:  # noqa: ASYNC110 - another process sets no event
                await asyncio.sleep(0.2)
        assert await token_status(api, first) == (401, "invalid_client")
        assert kube.secret(namespace, "shop-ledger") == second
        kube.annotate("LedgerTenant", namespace, "shop", rotate_at="soon")
        refused(kube, namespace, "shop", "InvalidRotateAt")
    finally:
        api.end()


async def test_delete_needs_a_confirmation_and_then_nothing_is_left(
    kube: Kube, operator: OperatorProcess, api: ApiProcess, namespace: str, admin_url: str
) -> None:
    kube.apply(ledger_tenant(namespace, deletionPolicy="Delete"))
    kube.apply(ledger_tenant(namespace, "neighbour"))
    tenant_id = ready(kube, "LedgerTenant", namespace, "shop")["status"]["tenantID"]
    ready(kube, "LedgerTenant", namespace, "neighbour")
    assert await posts(api, kube.secret(namespace, "shop-ledger")) == 201
    kube.delete("LedgerTenant", namespace, "shop")
    blocked = eventually(
        lambda: kube.get("LedgerTenant", namespace, "shop"),
        lambda found: condition(found, "DeletionBlocked") == ("True", "DeletionNotConfirmed"),
    )
    assert "ledgerx.io/confirm-delete=shop" in str(blocked["status"]["conditions"])
    kube.annotate("LedgerTenant", namespace, "shop", confirm_delete="another")
    record = await tenant(admin_url, tenant_id)
    assert record is not None
    assert record.state is TenantState.ACTIVE
    kube.annotate("LedgerTenant", namespace, "shop", confirm_delete="shop")
    eventually(lambda: kube.get("LedgerTenant", namespace, "shop") is None)
    assert {(name, state) for name, _, state in tenants(admin_url)} == {
        (f"purged/{tenant_id}", "purged"),
        (f"{namespace}/neighbour", "active"),
    }
    with psycopg.connect(admin_url) as connection:
        connection.execute("SET ROLE ledgerx_owner")
        connection.execute("SELECT set_config('ledgerx.tenant', %s, false)", (tenant_id,))
        assert connection.execute("SELECT count(*) FROM ledgerx.entries").fetchone() == (0,)
    assert await posts(api, kube.secret(namespace, "neighbour-ledger")) == 201
    # The name is free again; the tenant is another one.
    kube.apply(ledger_tenant(namespace))
    assert ready(kube, "LedgerTenant", namespace, "shop")["status"]["tenantID"] != tenant_id


def test_a_tenant_that_may_not_be_here_is_told_so(
    kube: Kube, operators: Operators, namespace: str, admin_url: str
) -> None:
    operator = operators(namespace)
    selector = {"selector": {"matchLabels": {"ledger": "yes"}}}
    bring_database(operator, admin_url, allowedNamespaces=selector, maxTenants=1)
    kube.apply(ledger_tenant(namespace, "named", databaseRef={"name": "main"}))
    kube.apply(ledger_tenant(namespace, "anywhere"))
    kube.apply(ledger_tenant(namespace, "nowhere", databaseRef={"name": "missing"}))
    refused(kube, namespace, "named", "NamespaceNotAllowed")
    refused(kube, namespace, "anywhere", "NamespaceNotAllowed")
    refused(kube, namespace, "nowhere", "DatabaseNotReady")
    assert tenants(admin_url) == []
    kube.patch("Namespace", "", namespace, {"metadata": {"labels": {"ledger": "yes"}}})
    # The look for drift finds it; one has the place then.
    eventually(lambda: len(tenants(admin_url)) == 1)
    [(full, _, _)] = tenants(admin_url)
    lucky = full.partition("/")[2]
    ready(kube, "LedgerTenant", namespace, lucky)
    unlucky = {"named": "anywhere", "anywhere": "named"}[lucky]
    refused(kube, namespace, unlucky, "NoCapacity")


def test_a_secret_of_somebody_else_is_left_alone(kube: Kube, operator: OperatorProcess, namespace: str) -> None:
    metadata = {"name": "shop-ledger", "namespace": namespace}
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"mine": "eA=="}}
    kube.apply(theirs)
    kube.apply(ledger_tenant(namespace))
    refused(kube, namespace, "shop", "SecretTaken")
    assert kube.secret(namespace, "shop-ledger") == {"mine": "x"}
    kube.delete("Secret", namespace, "shop-ledger")
    ready(kube, "LedgerTenant", namespace, "shop")


async def test_a_client_is_a_secret_of_its_own_and_ends_with_its_object(
    kube: Kube, operator: OperatorProcess, api: ApiProcess, namespace: str
) -> None:
    kube.apply(ledger_client(namespace, "reports"))
    refused(kube, namespace, "reports", "TenantNotReady", "LedgerClient")
    kube.apply(ledger_tenant(namespace))
    ready(kube, "LedgerTenant", namespace, "shop")
    found = ready(kube, "LedgerClient", namespace, "reports")
    secret = kube.secret(namespace, "reports-ledger-client") or {}
    assert secret["client-id"] == found["status"]["clientID"]
    assert secret["client-id"] != (kube.secret(namespace, "shop-ledger") or {})["client-id"]
    async with client_of_existing(api, secret) as reader:
        assert (await reader.get("/v1/accounts")).status == 200
        assert (await reader.open_account("a")).told == (403, "forbidden")
    kube.apply(ledger_client(namespace, "reports", scopes=["ledger:read", "ledger:write"]))
    ready(kube, "LedgerClient", namespace, "reports")
    async with client_of_existing(api, secret) as writer:
        assert (await writer.open_account("a")).status == 201
    kube.annotate("LedgerClient", namespace, "reports", rotate_at=PAST)
    rotated = eventually(lambda: kube.secret(namespace, "reports-ledger-client") or {}, lambda held: held != secret)
    assert (await token_status(api, rotated))[0] == (await token_status(api, secret))[0] == 200
    kube.delete("LedgerClient", namespace, "reports")
    eventually(lambda: kube.get("LedgerClient", namespace, "reports") is None)
    assert await token_status(api, rotated) == (401, "invalid_client")
    eventually(lambda: kube.secret(namespace, "reports-ledger-client") is None)


def test_of_two_operators_one_is_active_and_the_other_takes_over(
    kube: Kube, operators: Operators, operator: OperatorProcess, namespace: str, directory: Path
) -> None:
    standby = OperatorProcess(kube, directory, namespace, namespace=operator.namespace)
    standby.start()
    try:
        kube.apply(ledger_tenant(namespace, "first"))
        ready(kube, "LedgerTenant", namespace, "first")
        assert operator.active()
        assert not standby.active()
        # Stopped, it cannot renew: another one takes over, and when it wakes up it ends at once.
        operator.send(signal.SIGSTOP)
        eventually(standby.active)
        kube.apply(ledger_tenant(namespace, "second"))
        ready(kube, "LedgerTenant", namespace, "second")
        operator.send(signal.SIGCONT)
        assert operator.wait() == 1
        kube.apply(ledger_tenant(namespace, "third"))
        ready(kube, "LedgerTenant", namespace, "third")
        standby.send(signal.SIGTERM)
        assert standby.wait() == 0, standby.log.read_text()[-3000:]
        lease = kube.get("Lease", operator.namespace, "ledgerx-operator")
        assert not lease["spec"].get("holderIdentity")
    finally:
        standby.end()


def test_an_operator_of_the_whole_cluster_needs_no_list_of_namespaces(
    kube: Kube, operators: Operators, namespace: str, admin_url: str
) -> None:
    operator = operators()
    bring_database(operator, admin_url)
    kube.apply(ledger_tenant(namespace))
    ready(kube, "LedgerTenant", namespace, "shop")
    elsewhere = kube.new_namespace("elsewhere")
    kube.apply(ledger_database(elsewhere))
    refused(kube, elsewhere, "main", "WrongNamespace", "LedgerDatabase")
