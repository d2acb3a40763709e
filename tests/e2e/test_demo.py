"""Everything in one pod."""

import pytest

from tests.e2e.cluster import Release
from tests.e2e.ledger import Tell, declare, ledger_of, lose_nothing
from tests.operator.kube import Kube

pytestmark = pytest.mark.timeout(900)


async def test_the_demo_serves_tenants_and_outlives_its_pod(demo: Release, kube: Kube, record_property: Tell) -> None:
    declare(kube, demo.namespace, "probe")
    assert "read it back" in demo.test()
    secret, after_s = declare(kube, demo.namespace, "shop")
    record_property("demo: a LedgerTenant is ready, s", round(after_s, 1))

    def disturb() -> None:
        demo.replace_pod("demo")
        # Killed, as when its node goes.
        demo.replace_pod("demo", "--force", "--grace-period=0")

    count = await lose_nothing(demo, [secret], disturb)
    record_property("demo: transactions while the only pod is replaced twice", count)
    async with ledger_of(demo, secret) as ledger:
        assert (await ledger.get("/v1/integrity")).body["healthy"]
