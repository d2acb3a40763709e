"""When a tenant's balances are captured: cron expressions in the tenant's time zone. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from ledgerx.errors import InvalidField

MAX_EXPRESSIONS = 8
MAX_CHARACTERS = 100


def check_schedule(schedule: Sequence[str]) -> None:
    """Raise `InvalidField` where this is no schedule: one to eight cron expressions of five fields, as in Debian."""
    if not 1 <= len(schedule) <= MAX_EXPRESSIONS:
        raise InvalidField(f"a schedule has 1 to {MAX_EXPRESSIONS} cron expressions")
    for expression in schedule:
        if len(expression) > MAX_CHARACTERS or len(expression.split()) != 5:
            raise InvalidField(f'"{expression[:MAX_CHARACTERS]}" is not a cron expression of five fields')
        try:
            next_boundary([expression], datetime.now(UTC), "UTC")
        except CronSimError as error:
            raise InvalidField(f'"{expression}" is not a cron expression: {error}') from None
        except StopIteration:
            raise InvalidField(f'"{expression}" never comes') from None


def next_boundary(schedule: Sequence[str], after: datetime, time_zone: str) -> datetime:
    """The first moment after another one that any of the expressions names, in UTC.

    Where clocks are put forward or back it is as in Debian's cron: hourly ones run by elapsed time, others once. A zone
    that only Postgres knows counts as UTC. Raises `CronSimError` and `StopIteration`.
    """
    try:
        zone: ZoneInfo = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        zone = ZoneInfo("UTC")
    local = after.astimezone(zone)
    return min(next(CronSim(expression, local)).astimezone(UTC) for expression in schedule)
