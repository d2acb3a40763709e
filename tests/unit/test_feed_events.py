"""The form of events: every kind of entry has one."""

import json
from typing import Any

import msgspec
import pytest

from ledgerx.commands import CloseAccount, FreezeAccount, LimitAccount, UnfreezeAccount
from ledgerx.feed import EVENT_TYPES
from ledgerx.journal import Kind
from ledgerx_api.schemas_feed import CloudEvent, event
from tests.commands import envelope, opening, transfer
from tests.unit.memory_ledger import TENANT, MemoryLedger


@pytest.fixture
def events() -> list[dict[str, Any]]:
    """Those of a journal that has an entry of every kind of account entry, and a transaction."""
    ledger = MemoryLedger()
    ledger.run([opening("a"), opening("b:1", min_balance="0"), transfer("t", debit="a", credit="b:1")])
    ledger.run([LimitAccount(code="b:1", min_balance="-1", max_balance="5", **envelope("l"))])
    ledger.run([FreezeAccount(code="a", **envelope("f"))])
    ledger.run([UnfreezeAccount(code="a", **envelope("u"))])
    ledger.run([opening("c"), CloseAccount(code="c", **envelope("c"))])
    return [json.loads(msgspec.json.encode(event(TENANT, entry))) for entry in ledger.entries]


def test_every_kind_has_a_type_of_its_own() -> None:
    assert EVENT_TYPES.keys() == set(Kind)
    assert len(set(EVENT_TYPES.values())) == len(EVENT_TYPES)


def test_an_event_has_the_attributes_of_its_entry(events: list[dict[str, Any]]) -> None:
    assert [one["type"] for one in events] == [
        "ledgerx.account.opened",
        "ledgerx.account.opened",
        "ledgerx.transaction.posted",
        "ledgerx.account.limited",
        "ledgerx.account.frozen",
        "ledgerx.account.unfrozen",
        "ledgerx.account.opened",
        "ledgerx.account.closed",
    ]
    assert [one["subject"] for one in events][1:4] == ["accounts/b:1", "transactions/3", "accounts/b:1"]
    assert [one["data"]["id"] for one in events] == list(range(1, 9))
    assert [one["id"] for one in events] == [f"{TENANT}/{seq}" for seq in range(1, 9)]
    assert sorted(one["sequence"] for one in events) == [one["sequence"] for one in events]
    assert all(set(one) == {field.name for field in msgspec.structs.fields(CloudEvent)} for one in events)


def test_an_account_entry_shows_the_account_as_it_left_it(events: list[dict[str, Any]]) -> None:
    limited, frozen = events[3]["data"], events[4]["data"]
    assert (limited["kind"], limited["account"]["min_balance"], limited["account"]["max_balance"]) == (
        "limit_account",
        "-1.00",
        "5.00",
    )
    assert (frozen["account"]["code"], frozen["account"]["status"]) == ("a", "frozen")
    assert frozen["actor"] == "test"
