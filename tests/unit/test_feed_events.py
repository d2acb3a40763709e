"""The form of events: every kind of entry has one."""

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from ledgerx.commands import (
    Amend,
    Capture,
    ChangeSettings,
    CloseAccount,
    CreateAsset,
    CreateCategory,
    DeleteAsset,
    DeleteCategory,
    Direction,
    Expire,
    Hold,
    Line,
    Release,
    Reverse,
    UpdateAccount,
    UpdateAsset,
    UpdateCategory,
)
from ledgerx.feed import EVENT_TYPES
from ledgerx.journal import Kind
from ledgerx_api.schemas_feed import CloudEvent, event
from tests.commands import envelope, opening, transfer
from tests.unit.memory_ledger import NOON, TENANT, MemoryLedger

LATER = NOON + timedelta(hours=1)


@pytest.fixture
def events() -> list[dict[str, Any]]:
    """Those of a journal of 21 entries, with one of every kind."""
    ledger = MemoryLedger()
    ledger.run([opening("a"), opening("b:1", min_balance="0"), transfer("t", debit="a", credit="b:1")])
    lines = (Line("a", Direction.DEBIT, "1"), Line("b:1", Direction.CREDIT, "1"))
    ledger.run([Hold(lines=lines, expires_at=LATER, **envelope(f"h{n}")) for n in range(3)])
    ledger.run([Capture(target=4, **envelope("c")), Release(target=5, **envelope("r"))])
    ledger.run([Expire(target=6, **envelope("e")), Reverse(target=3, **envelope("v"))], LATER)
    ledger.run([Amend(target=3, category="c", **envelope("m"))])
    ledger.run([UpdateAccount(code="a", max_balance="5", frozen=True, owner="o", **envelope("u"))])
    ledger.run([opening("c"), CloseAccount(code="c", **envelope("close"))])
    ledger.run([CreateAsset(code="BTC", scale=8, name="Bitcoin", **envelope("ca"))])
    ledger.run([UpdateAsset(code="BTC", name=None, **envelope("ua")), DeleteAsset(code="BTC", **envelope("da"))])
    ledger.run([CreateCategory(code="food:fruit", **envelope("cc"))])
    ledger.run([UpdateCategory(code="food:fruit", name="Fruit", **envelope("uc"))])
    ledger.run([DeleteCategory(code="food:fruit", **envelope("dc"))])
    ledger.run([ChangeSettings(strict_categories=True, **envelope("s"))])
    return [json.loads(msgspec.json.encode(event(TENANT, entry))) for entry in ledger.entries]


def test_every_kind_has_a_type_of_its_own() -> None:
    assert EVENT_TYPES.keys() == set(Kind)
    assert len(set(EVENT_TYPES.values())) == len(EVENT_TYPES)


def test_an_event_has_the_attributes_of_its_entry(events: list[dict[str, Any]]) -> None:
    assert {one["type"] for one in events} == set(EVENT_TYPES.values())
    subjects = {one["type"].removeprefix("ledgerx."): one["subject"] for one in events}
    assert subjects["account.updated"] == "accounts/a"
    assert subjects["transaction.captured"] == "transactions/7"
    assert subjects["transaction.amended"] == "transactions/3"
    assert subjects["asset.deleted"] == "assets/BTC"
    assert subjects["category.updated"] == "categories/food:fruit"
    assert subjects["settings.changed"] == "settings"
    assert [one["data"]["id"] for one in events] == list(range(1, 22))
    assert [one["id"] for one in events] == [f"{TENANT}/{seq}" for seq in range(1, 22)]
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


def test_entries_of_registries_show_what_they_left_or_took_away(events: list[dict[str, Any]]) -> None:
    shown = {one["data"]["kind"]: one["data"] for one in events[14:]}
    assert shown["create_asset"]["asset"] == {"code": "BTC", "scale": 8, "name": "Bitcoin"}
    assert shown["delete_asset"]["asset"] == {"code": "BTC", "scale": 8, "name": None}
    assert shown["delete_category"]["category"] == {"code": "food:fruit", "name": "Fruit", "description": None}
    assert shown["change_settings"]["settings"] == {"strict_categories": True}
    common = {"id", "kind", "recorded_at", "actor", "idempotency_key", "hash"}
    assert [set(data) - common for data in shown.values()] == [*[{"asset"}] * 3, *[{"category"}] * 3, {"settings"}]


def test_an_amendment_names_its_transaction_and_has_no_postings(events: list[dict[str, Any]]) -> None:
    [amended] = [one["data"] for one in events if one["type"] == "ledgerx.transaction.amended"]
    assert (amended["target"], amended["category"], amended["postings"]) == (3, "c", [])
