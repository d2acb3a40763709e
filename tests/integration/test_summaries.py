"""Summaries against a naive one, wherever the streams stand, and over HTTP."""

import asyncio
import random
from collections import Counter
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from ledgerx import database as db
from ledgerx.batch import run_batch
from ledgerx.codes import CodeRange, below
from ledgerx.commands import Amend, AnyCommand
from ledgerx.events import JournalMessage, decode
from ledgerx.logins import Database
from ledgerx.summaries import GroupBy, read_summary
from ledgerx_streams.projections.volumes import VOLUMES
from ledgerx_streams.projector import Projector
from tests.commands import envelope, opening, transfer
from tests.integration.ledger_client import LedgerClient, new_tenant

ZONE = "America/New_York"
START = datetime(2100, 1, 30, 3, tzinfo=UTC)
SUMMARY = "/v1/summary"
MEMBER = "me"
OWNED = ("bank", "users:1:a")


class Line(msgspec.Struct, frozen=True):
    account: str
    day: date
    category: str
    amount: int


async def messages_of(database: Database, tenant_id: object) -> list[JournalMessage]:
    async with await db.connect(database.admin_url, application_name="test") as connection:
        rows = await connection.execute(
            "SELECT payload FROM ledgerx.outbox WHERE tenant_id = %s ORDER BY first_seq", (tenant_id,)
        )
        return [decode(payload.encode()) for (payload,) in await rows.fetchall()]


def period_of(day: date, group_by: Collection[GroupBy]) -> date | None:
    if GroupBy.DAY in group_by:
        return day
    if GroupBy.WEEK in group_by:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if GroupBy.MONTH in group_by else None


@pytest.mark.parametrize("streamed", [0, 3, 9])
async def test_a_summary_is_the_sum_of_its_postings(shared_database: Database, streamed: int) -> None:
    tenant_id = (await new_tenant(shared_database, time_zone=ZONE)).tenant_id
    chance = random.Random(streamed)  # noqa: S311 - the same in every run
    posted: dict[int, list[Line]] = {}
    head = 4
    async with await db.connect(shared_database.api_url, application_name="test") as connection:
        codes = ["bank", "users:1", "users:1:a", "users:2"]
        openings = [opening(code, owner=MEMBER if code in OWNED else None) for code in codes]
        await run_batch(connection, tenant_id, openings, clock=lambda: START)
        for number in range(8):
            commands: list[AnyCommand] = []
            for index in range(3 * bool(posted)):
                target, moved_to = chance.choice(list(posted)), chance.choice([None, "food", "rent", "toys"])
                commands.append(Amend(target=target, category=moved_to, **envelope(f"amend {number}.{index}")))
                posted[target] = [msgspec.structs.replace(line, category=moved_to or "") for line in posted[target]]
                head += 1
            now = START + timedelta(hours=7 * number)
            for index in range(10):
                effective = chance.choice([None, now + timedelta(hours=chance.randrange(-500, 500))])
                debit, credit = chance.sample(codes, 2)
                category = chance.choice([None, "food", "rent", "\u00fcber"])
                amount = chance.randrange(1, 1000)
                key = f"{number}.{index}"
                commands.append(
                    transfer(
                        key,
                        f"{amount / 100:.2f}",
                        debit=debit,
                        credit=credit,
                        category=category,
                        effective_at=effective,
                    )
                )
                day = (effective or now).astimezone(ZoneInfo(ZONE)).date()
                head += 1
                posted[head] = [
                    Line(debit, day, category or "", amount),
                    Line(credit, day, category or "", -amount),
                ]
            await run_batch(connection, tenant_id, commands, clock=lambda now=now: now)  # type: ignore[misc]
    async with (
        db.pool(shared_database.streams_url, application_name="test", max_size=2) as streams,
        db.pool(shared_database.api_url, application_name="test", max_size=1) as pool,
    ):
        messages = (await messages_of(shared_database, tenant_id))[:streamed]
        await Projector(VOLUMES, streams).apply(tenant_id, messages)
        lines = [line for pair in posted.values() for line in pair]
        for number in range(30):
            group_by = {group for group in (GroupBy.CATEGORY, GroupBy.ACCOUNT) if chance.random() < 0.5}
            group_by |= {chance.choice([GroupBy.CATEGORY, GroupBy.DAY, GroupBy.WEEK, GroupBy.MONTH])}
            begin = START.date() + timedelta(days=chance.randrange(-22, 22))
            end = begin + timedelta(days=chance.randrange(1, 30))
            ranges: tuple[CodeRange, ...] | None = chance.choice([None, below("users"), below("users:1"), below("b")])
            confined_to = chance.choice([None, MEMBER]) if ranges is not None else None
            expected: Counter[tuple[date | None, str | None, str | None]] = Counter()
            debits, credited = expected.copy(), expected.copy()
            for line in lines:
                if confined_to is not None and line.account not in OWNED:
                    continue
                if begin <= line.day < end and (ranges is None or any(line.account in one for one in ranges)):
                    key_ = (
                        period_of(line.day, group_by),
                        line.account if GroupBy.ACCOUNT in group_by else None,
                        line.category if GroupBy.CATEGORY in group_by else None,
                    )
                    expected[key_] += 1
                    (debits if line.amount > 0 else credited)[key_] += abs(line.amount)
            found = await read_summary(
                pool, tenant_id, begin=begin, end=end, group_by=group_by, ranges=ranges, confined_to=confined_to
            )
            assert {
                (one.period, one.account, one.category): (one.debits, one.credits, one.postings) for one in found.groups
            } == {key_: (debits[key_], credited[key_], count) for key_, count in expected.items()}, number
            assert found.seq == head


async def test_a_summary_over_http_names_what_it_was_grouped_by(client: LedgerClient) -> None:
    await client.open_account("yen", asset="JPY")
    await client.open_account("yen:bank", "asset", asset="JPY")
    await client.transfer("1", "2.00", category="food", effective_at="2026-01-31T23:59:59.999999Z")
    await client.transfer("2", "3.00", effective_at="2026-02-01T00:00:00Z")
    await client.transfer("3", "5", debit="yen:bank", credit="yen", effective_at="2026-02-02T00:00:00Z")
    days = {"from": "2026-01-01", "to": "2026-03-01"}
    answer = (await client.get(SUMMARY, group_by="category,month", prefix="user", **days)).body
    assert answer == days | {
        "time_zone": "UTC",
        "sequence": 7,
        "items": [
            {"asset": "USD", "scale": 2, "period": "2026-01-01", "category": "food"}
            | {"debits": "0.00", "credits": "2.00", "net": "-2.00", "count": 1},
            {"asset": "USD", "scale": 2, "period": "2026-02-01", "category": None}
            | {"debits": "0.00", "credits": "3.00", "net": "-3.00", "count": 1},
        ],
    }
    whole = (await client.get(SUMMARY, **days)).body["items"]
    assert whole == [
        {"asset": "JPY", "scale": 0, "debits": "5", "credits": "5", "net": "0", "count": 2},
        {"asset": "USD", "scale": 2, "debits": "5.00", "credits": "5.00", "net": "0.00", "count": 4},
    ]
    by_account = (await client.get(SUMMARY, group_by="account", account="yen", **days)).body["items"]
    assert [one["account"] for one in by_account] == ["yen"]


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-01-01"},
        {"from": "2026-01-01", "to": "2026-01-01"},
        {"from": "2026-01-02", "to": "2026-01-01"},
        {"from": "2000-01-01", "to": "2026-01-01"},
        {"from": "2026-01-01T00:00:00Z", "to": "soon"},
        {"from": "2026-02-30", "to": "2026-03-01"},
        {"from": "2026-01-01", "to": "2026-02-01", "group_by": "color"},
        {"from": "2026-01-01", "to": "2026-02-01", "group_by": "day,day"},
        {"from": "2026-01-01", "to": "2026-02-01", "group_by": "day,week"},
        {"from": "2026-01-01", "to": "2026-02-01", "group_by": ","},
        {"from": "2026-01-01", "to": "2026-02-01", "account": "a", "prefix": "b"},
    ],
)
async def test_a_summary_that_cannot_be_is_told(client: LedgerClient, query: dict[str, str]) -> None:
    assert (await client.get(SUMMARY, **query)).told == (422, "invalid_field")


async def test_the_ends_of_the_calendar_are_days_like_others(client: LedgerClient) -> None:
    await asyncio.gather(*(client.transfer(f"{n}") for n in range(3)))
    for begin, end in (("0001-01-01", "0002-01-01"), ("9998-12-31", "9999-12-31")):
        answer: Any = await client.get(SUMMARY, **{"from": begin, "to": end, "group_by": "week"})
        assert (answer.status, answer.body["items"]) == (200, [])
