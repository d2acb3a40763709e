"""What is told of databases and tenants that are not well, and the role that CloudNativePG makes."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ledgerx.lifecycle import TenantUsage
from ledgerx_operator.admin_access import cnpg_role, with_role
from ledgerx_operator.observing import MAX_LAG_BYTES, MAX_LAG_S, health_of_slot, health_of_tenant, shown_usage

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def usage(**fields: Any) -> TenantUsage:
    known: dict[str, Any] = {
        "accounts": 2,
        "sequence": 5,
        "recorded_at": NOON,
        "transactions": 3,
        "last_transaction_at": NOON,
        "lag_s": 0.0,
        "findings": 0,
        "webhooks_down": 0,
    }
    return TenantUsage(**(known | fields))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "Healthy"),
        ({"lag_s": MAX_LAG_S}, "Healthy"),
        ({"lag_s": MAX_LAG_S + 1}, "StreamsBehind"),
        ({"webhooks_down": 1}, "WebhookDisabled"),
        ({"lag_s": MAX_LAG_S + 1, "webhooks_down": 1}, "StreamsBehind"),
        ({"findings": 1, "lag_s": MAX_LAG_S + 1}, "IntegrityBroken"),
    ],
)
def test_of_a_tenant_the_worst_is_told(fields: dict[str, Any], reason: str) -> None:
    told = health_of_tenant(usage(**fields))
    assert (told.holds, told.reason) == (reason == "Healthy", reason)


@pytest.mark.parametrize(
    ("slot", "reason"),
    [
        ((None, None, None), "SlotMissing"),
        ((0, True, False), "Healthy"),
        ((MAX_LAG_BYTES, True, False), "Healthy"),
        ((MAX_LAG_BYTES + 1, True, False), "RelayBehind"),
        ((0, False, False), "RelayAway"),
        ((0, False, True), "SlotLost"),
    ],
)
def test_of_a_slot_the_worst_is_told(slot: tuple[int | None, bool | None, bool | None], reason: str) -> None:
    told = health_of_slot(*slot)
    assert (told.holds, told.reason) == (reason == "Healthy", reason)


def test_a_tenant_without_a_transaction_has_no_time_of_the_last() -> None:
    assert shown_usage(usage(lag_s=1.6, last_transaction_at=None)) == {
        "accounts": 2,
        "transactions": 3,
        "sequence": 5,
        "streamLagSeconds": 2,
    }
    assert shown_usage(usage())["lastTransactionTime"] == "2026-01-02T12:00:00Z"


def test_a_cluster_lists_our_role_beside_its_own_and_once() -> None:
    ours, theirs = cnpg_role("app", "secret"), {"name": "theirs"}
    assert with_role([], ours) == [ours]
    assert with_role([theirs], ours) == [theirs, ours]
    # What CloudNativePG or somebody else says besides stays.
    assert with_role([ours | {"inherit": True}, theirs], ours) is None
    assert with_role([ours | {"createrole": False, "inherit": True}, theirs], ours) == [
        ours | {"inherit": True},
        theirs,
    ]
