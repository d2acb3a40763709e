"""Summaries: posted debits and credits by day of effect, category and account.

Days are those of the tenant's time zone. What the streams have not put into `daily_volumes` yet is added from the
postings in the same statement, so that a summary is true at the journal's head.
"""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from ledgerx import rows
from ledgerx.codes import CodeRange
from ledgerx.database import Pool, Queries
from ledgerx.errors import Forbidden, InvalidField
from ledgerx.reading import fetch

MAX_DAYS = 3_660
MAX_GROUPS = 10_000
# Rows of `daily_volumes`, one for an account, a day and a category: reading so many takes a second.
MAX_VOLUMES = 500_000

_queries = Queries("ledgerx", "sql/summaries.sql")


class GroupBy(StrEnum):
    """What a summary is grouped by, beside the asset; weeks begin on Monday (ISO 8601)."""

    CATEGORY = "category"
    ACCOUNT = "account"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


PERIODS = frozenset({GroupBy.DAY, GroupBy.WEEK, GroupBy.MONTH})


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of one group in minor units.

    `period` is its first day; `category` is empty where there is none. What was not grouped by is None.
    """

    asset: str
    scale: int
    period: date | None
    account: str | None
    category: str | None
    debits: int
    credits: int
    postings: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Groups by asset, period, account and category, in that order, true at the entry `seq`."""

    seq: int
    recorded_at: datetime
    time_zone: str
    groups: Sequence[Group]


async def read_summary(
    pool: Pool,
    tenant_id: UUID,
    *,
    begin: date,
    end: date,
    group_by: Collection[GroupBy],
    ranges: Sequence[CodeRange] | None,
    confined_to: str | None,
) -> Summary:
    """Sum the days from `begin` to before `end`, of the accounts with codes in `ranges`, or of all.

    Who is `confined_to` an owner gets the sums of that owner's accounts; raises `Forbidden` where they ask for all.
    Raises `InvalidField` where that is no period, is longer than `MAX_DAYS`, or comes to more than `MAX_GROUPS` or
    `MAX_VOLUMES`.
    """
    if confined_to is not None and ranges is None:
        raise Forbidden("members ask for an account or a prefix")
    periods = PERIODS.intersection(group_by)
    if len(periods) > 1:
        raise InvalidField("group by one of day, week and month")
    if not 0 < (end - begin).days <= MAX_DAYS:
        raise InvalidField(f"from comes before to, by at most {MAX_DAYS} days")
    found = await fetch(
        pool,
        tenant_id,
        _queries.summary,
        since=begin,
        until=end,
        lows=None if ranges is None else [one.low for one in ranges],
        highs=None if ranges is None else [one.high for one in ranges],
        owner=confined_to,
        by_category=GroupBy.CATEGORY in group_by,
        by_account=GroupBy.ACCOUNT in group_by,
        period=next((one.value for one in periods), None),
        limit=MAX_GROUPS + 1,
        most=MAX_VOLUMES,
    )
    if found[0][-1] > MAX_VOLUMES:
        raise InvalidField(f"this adds up more than {MAX_VOLUMES} daily volumes: ask for fewer days or accounts")
    if len(found) > MAX_GROUPS:
        raise InvalidField(f"this comes to more than {MAX_GROUPS} groups: ask for fewer days or accounts")
    seq, recorded_at, time_zone = found[0][:3]
    return Summary(
        seq=seq,
        recorded_at=recorded_at,
        time_zone=time_zone,
        groups=[_group(row[3:-1]) for row in found if row[3] is not None],
    )


def _group(row: rows.Row) -> Group:
    asset, scale, period, account, category, debits, credited, postings = row
    return Group(
        asset=asset,
        scale=scale,
        period=period,
        account=account,
        category=category,
        debits=int(debits),
        credits=int(credited),
        postings=postings,
    )
