"""Summaries by category, account and period."""

from datetime import date
from typing import Annotated

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import Parameter
from msgspec import UNSET, UnsetType

from ledgerx.errors import InvalidField
from ledgerx.money import from_minor
from ledgerx.roles import Role
from ledgerx.summaries import MAX_DAYS, Group, GroupBy, read_summary
from ledgerx.tenancy import Scope
from ledgerx_api.access import requires
from ledgerx_api.parameters import OneAccount, Prefix, code_ranges
from ledgerx_api.requests import LedgerRequest


class SummaryGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The posted debits and credits of one group; `net` is debits less credits and `count` the number of postings.

    `period` is its first day. `period`, `account` and `category` are there where the summary is grouped by them;
    `category` is null for what has none.
    """

    asset: str
    scale: int
    period: date | UnsetType = UNSET
    account: str | UnsetType = UNSET
    category: str | UnsetType | None = UNSET
    debits: str
    credits: str
    net: str
    count: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """Posted debits and credits of the days from `from` to before `to` in the tenant's `time_zone`.

    Pending lines of holds do not count. True at the entry `sequence` of the journal.
    """

    begin: date = msgspec.field(name="from")
    end: date = msgspec.field(name="to")
    time_zone: str
    items: list[SummaryGroup]
    sequence: int


def routes() -> list[HTTPRouteHandler]:
    """The handlers of this module."""

    @get(
        "/v1/summary",
        tags=["balances"],
        operation_id="getSummary",
        **requires(Scope.LEDGER_READ, roles=[Role.MEMBER]),
    )
    async def get_summary(
        request: LedgerRequest,
        begin: Annotated[date, Parameter(query="from", description="The first day, such as 2026-01-01.")],
        end: Annotated[
            date, Parameter(query="to", description=f"The day after the last, at most {MAX_DAYS} days later.")
        ],
        group_by: Annotated[
            str,
            Parameter(
                pattern=r"^[a-z]*(,[a-z]+){0,2}$",
                description="`category`, `account`, and one of `day`, `week` (from Monday) and `month`, "
                "separated by commas. Assets are always apart.",
            ),
        ] = "",
        account: OneAccount = None,
        prefix: Prefix = None,
    ) -> Summary:
        """Sum posted debits and credits of whole days, by time of effect in the tenant's time zone.

        Pending lines do not count: a hold is in no summary, what was captured of it is, from the capture on.
        Members ask for an account or a prefix, and get the sums of their own accounts.
        """
        groups = _groups(group_by)
        found = await read_summary(
            request.pool,
            request.user.tenant_id,
            begin=begin,
            end=end,
            group_by=groups,
            ranges=code_ranges(account, prefix),
            confined_to=request.user.confined_to,
        )
        return Summary(
            begin=begin,
            end=end,
            time_zone=found.time_zone,
            items=[_shown(group, groups) for group in found.groups],
            sequence=found.seq,
        )

    return [get_summary]


def _groups(text: str) -> frozenset[GroupBy]:
    names = text.split(",") if text else []
    try:
        groups = frozenset(map(GroupBy, names))
    except ValueError:
        raise InvalidField(f"group by {', '.join(GroupBy)}") from None
    if len(groups) < len(names):
        raise InvalidField("group_by names something twice")
    return groups


def _shown(group: Group, groups: frozenset[GroupBy]) -> SummaryGroup:
    return SummaryGroup(
        asset=group.asset,
        scale=group.scale,
        period=UNSET if group.period is None else group.period,
        account=UNSET if group.account is None else group.account,
        category=(group.category or None) if GroupBy.CATEGORY in groups else UNSET,
        debits=from_minor(group.debits, group.scale),
        credits=from_minor(group.credits, group.scale),
        net=from_minor(group.debits - group.credits, group.scale),
        count=group.postings,
    )
