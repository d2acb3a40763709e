"""LedgerX as in production: separate pods for each part, on servers that were there before.

The tests share a release; the last one removes it and brings it back.
"""

import secrets

import pytest

from tests.e2e.cluster import Release, rolled_out
from tests.e2e.ledger import Tell, declare, ledger_of, lose_nothing, served, token_status
from tests.operator.kube import Kube, condition, eventually
from tests.operator.operator_process import ledger_tenant, ready

pytestmark = pytest.mark.timeout(1200)
PARTS = ("api", "relay", "streams", "operator")
# Prints what a pod should not be able to do, and can.
INTRUDER = """
import getpass, importlib.util, os, pathlib, shutil
assert (os.getuid(), getpass.getuser()) == (10001, "ledgerx")
tools = [tool for tool in ("pip", "gcc", "cc", "ld", "make", "git", "curl") if shutil.which(tool)]
tools += [name for name in ("pip", "ensurepip") if importlib.util.find_spec(name)]
for directory in ("/", "/opt/ledgerx", "/usr/local", "/etc", "/var"):
    try:
        pathlib.Path(directory, "mark").touch()
        tools.append(directory)
    except OSError:
        pass
print(*tools)
"""


async def test_a_declared_tenant_is_ready_in_seconds_and_its_secret_is_enough(
    external: Release, kube: Kube, tenants: str, record_property: Tell
) -> None:
    secret, after_s = declare(kube, tenants, "shop", databaseRef={"name": "primary"})
    record_property("a LedgerTenant is ready, s", round(after_s, 1))
    assert secret["uri"] == f"http://ledgerx-api.{external.namespace}.svc.cluster.local:8080"
    async with ledger_of(external, secret) as ledger:
        assert (await ledger.open_account("bank", "asset")).status == 201
        assert (await ledger.open_account("user")).status == 201
        assert (await ledger.transfer("first", "12.34")).status == 201
        balance = await ledger.get("/v1/accounts/user/balance")
        assert balance.body["posted"] == "12.34"


def test_helm_test_posts_from_a_pod_within_the_cluster(external: Release, kube: Kube) -> None:
    declare(kube, external.namespace, "probe")
    assert "read it back" in external.test()


@pytest.mark.parametrize("part", PARTS)
def test_who_gets_into_a_pod_finds_nothing_to_work_with(external: Release, part: str) -> None:
    [pod, *_] = external.pods(part)
    inside = ("exec", pod, f"--namespace={external.namespace}", "--", "python", "-c", INTRUDER)
    assert external.cluster.kubectl(*inside).split() == []


async def test_tenants_of_two_databases_are_served_side_by_side(external: Release, kube: Kube, tenants: str) -> None:
    for name in ("primary", "second"):
        secret, _ = declare(kube, tenants, f"on-{name}", databaseRef={"name": name})
        assert kube.get("LedgerTenant", tenants, f"on-{name}")["status"]["database"] == name
        async with ledger_of(external, secret) as ledger:
            assert (await ledger.get("/v1/accounts")).body["items"] == []
            assert (await ledger.open_account(name)).status == 201
            assert [one["code"] for one in (await ledger.get("/v1/accounts")).body["items"]] == [name]


async def test_a_tenant_s_life(external: Release, kube: Kube, tenants: str) -> None:
    first, _ = declare(kube, tenants, "life", databaseRef={"name": "second"})
    async with ledger_of(external, first) as ledger:
        assert (await ledger.open_account("kept")).status == 201
        kube.apply(ledger_tenant(tenants, "life", databaseRef={"name": "second"}, suspended=True))
        eventually(lambda: condition(kube.get("LedgerTenant", tenants, "life")) == ("True", "Suspended"))
        assert (await ledger.open_account("refused")).told == (403, "tenant_suspended")
        kube.apply(ledger_tenant(tenants, "life", databaseRef={"name": "second"}))
        ready(kube, "LedgerTenant", tenants, "life")
        await served(external, first)
        assert (await ledger.open_account("again")).status == 201

    kube.annotate("LedgerTenant", tenants, "life", rotate_at="2026-01-01T00:00:00Z")
    second = eventually(lambda: kube.secret(tenants, "life-ledger") or {}, lambda held: held and held != first)
    assert (await token_status(external, second))[0] == (await token_status(external, first))[0] == 200

    # Retain: the ledger outlives its declaration, for the same object alone.
    kube.delete("LedgerTenant", tenants, "life")
    eventually(lambda: kube.get("LedgerTenant", tenants, "life") is None)
    third, _ = declare(kube, tenants, "life", deletionPolicy="Delete")
    assert third["tenant"] == first["tenant"]
    assert third["client-secret"] not in (first["client-secret"], second["client-secret"])
    await served(external, third)
    async with ledger_of(external, third) as ledger:
        assert {one["code"] for one in (await ledger.get("/v1/accounts")).body["items"]} == {"kept", "again"}

    kube.delete("LedgerTenant", tenants, "life")
    eventually(
        lambda: kube.get("LedgerTenant", tenants, "life"),
        lambda held: condition(held, "DeletionBlocked") == ("True", "DeletionNotConfirmed"),
    )
    kube.annotate("LedgerTenant", tenants, "life", confirm_delete="life")
    eventually(lambda: kube.get("LedgerTenant", tenants, "life") is None)
    assert await token_status(external, third) == (401, "invalid_client")


async def test_a_pod_of_each_kind_goes_under_load_and_nothing_is_lost(
    external: Release, kube: Kube, tenants: str, record_property: Tell
) -> None:
    busy = [declare(kube, tenants, f"busy-{name}", databaseRef={"name": name})[0] for name in ("primary", "second")]

    def disturb() -> None:
        for part in PARTS:
            external.replace_pod(part)
        for server in ("kafka", "postgres-primary", "postgres-second"):
            external.cluster.kubectl("delete", "pod", f"{server}-0", f"--namespace={external.namespace}")
            rolled_out(external.cluster, external.namespace, f"statefulset/{server}")

    count = await lose_nothing(external, busy, disturb)
    record_property("transactions while a pod of each kind is replaced", count)


async def test_an_upgrade_and_a_rollback_under_load_lose_nothing(
    external: Release, kube: Kube, tenants: str, record_property: Tell
) -> None:
    secret, _ = declare(kube, tenants, "upgraded")

    def disturb() -> None:
        before = {part: set(external.pods(part)) for part in PARTS}
        external.upgrade("logLevel=DEBUG")
        assert all(before[part].isdisjoint(external.pods(part)) for part in PARTS)
        external.rollback()

    count = await lose_nothing(external, [secret], disturb)
    record_property("transactions during an upgrade and a rollback", count)


async def test_who_is_refused_has_no_secret(external: Release, kube: Kube) -> None:
    """A namespace that the operator was not told of is none of its business."""
    elsewhere = kube.new_namespace("elsewhere")
    kube.apply(ledger_tenant(elsewhere, "stranger"))
    # Another tenant shows that the operator is at work.
    declare(kube, external.namespace, f"known-{secrets.token_hex(2)}")
    assert kube.get("LedgerTenant", elsewhere, "stranger").get("status") is None
    assert kube.secret(elsewhere, "stranger-ledger") is None
    kube.delete("Namespace", "", elsewhere)


async def test_uninstalling_leaves_what_tenants_have(external: Release, kube: Kube, tenants: str) -> None:
    secret, _ = declare(kube, tenants, "stays")
    async with ledger_of(external, secret) as ledger:
        assert (await ledger.open_account("kept")).status == 201
    keys = kube.secret(external.namespace, "ledgerx-keys")
    external.uninstall()
    assert external.pods("api") == []
    assert kube.get("LedgerTenant", tenants, "stays")["status"]["tenantID"] == secret["tenant"]
    assert kube.secret(tenants, "stays-ledger") == secret
    external.install()
    assert kube.secret(external.namespace, "ledgerx-keys") == keys
    ready(kube, "LedgerTenant", tenants, "stays")
    async with ledger_of(external, secret) as ledger:
        assert [one["code"] for one in (await ledger.get("/v1/accounts")).body["items"]] == ["kept"]
