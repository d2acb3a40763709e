"""The form of events: every kind of entry has one."""

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from ledgerx.cloud_events import CloudEvent, cloud_event
from ledgerx.commands import (
    Amend,
    Capture,
    CloseAccount,
    Direction,
    Expire,
    Hold,
    Line,
    Release,
    Reverse,
    UpdateAccount,
)
from ledgerx.feed import EVENT_TYPES
from ledgerx.journal import Kind
from tests.commands import envelope, opening, transfer
from tests.unit.memory_ledger import NOON, TENANT, MemoryLedger

LATER = NOON + timedelta(hours=1)


@pytest.fixture
def events() -> list[dict[str, Any]]:
    """Those of a journal of fourteen entries, with one of every kind."""
    ledger = MemoryLedger()
    ledger.run([opening("a"), opening("b:1", min_balance="0"), transfer("t", debit="a", credit="b:1")])
    lines = (Line("a", Direction.DEBIT, "1"), Line("b:1", Direction.CREDIT, "1"))
    ledger.run([Hold(lines=lines, expires_at=LATER, **envelope(f"h{n}")) for n in range(3)])
    ledger.run([Capture(target=4, **envelope("c")), Release(target=5, **envelope("r"))])
    ledger.run([Expire(target=6, **envelope("e")), Reverse(target=3, **envelope("v"))], LATER)
    ledger.run([Amend(target=3, category="c", **envelope("m"))])
    ledger.run([UpdateAccount(code="a", max_balance="5", frozen=True, owner="o", **envelope("u"))])
    ledger.run([opening("c"), CloseAccount(code="c", **envelope("close"))])
    return [json.loads(msgspec.json.encode(cloud_event(TENANT, entry))) for entry in ledger.entries]


def test_every_kind_has_a_type_of_its_own() -> None:
    assert EVENT_TYPES.keys() == set(Kind)
    assert len(set(EVENT_TYPES.values())) == len(EVENT_TYPES)


def test_an_event_has_the_attributes_of_its_entry(events: list[dict[str, Any]]) -> None:
    assert {one["type"] for one in events} == set(EVENT_TYPES.values())
    subjects = {one["type"].removeprefix("ledgerx."): one["subject"] for one in events}
    assert subjects["account.updated"] == "accounts/a"
    assert subjects["transaction.captured"] == "transactions/7"
    assert subjects["transaction.amended"] == "transactions/3"
    assert [one["data"]["id"] for one in events] == list(range(1, 15))
    assert [one["id"] for one in events] == [f"{TENANT}/{seq}" for seq in range(1, 15)]
    assert sorted(one["sequence"] for one in events) == [one["sequence"] for one in events]
    assert all(set(one) == {field.name for field in msgspec.structs.fields(CloudEvent)} for one in events)


def test_an_account_entry_shows_the_account_as_it_left_it(events: list[dict[str, Any]]) -> None:
    [updated] = [one["data"] for one in events if one["type"] == "ledgerx.account.updated"]
    assert (updated["kind"], updated["actor"]) == ("update_account", "test")
    account = updated["account"]
    assert (account["code"], account["status"], account["owner"], account["max_balance"]) == (
        "a",
        "frozen",
        "o",
        "5.00",
    )


def test_an_amendment_names_its_transaction_and_has_no_postings(events: list[dict[str, Any]]) -> None:
    [amended] = [one["data"] for one in events if one["type"] == "ledgerx.transaction.amended"]
    assert (amended["target"], amended["category"], amended["postings"]) == (3, "c", [])
