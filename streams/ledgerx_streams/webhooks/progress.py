"""What an attempt means for an endpoint: how far it is, and when it is tried again. Pure.

An endpoint is its own circuit breaker. It has one event in hand, so a pause after a failure is a pause of all that
waits behind it. The pauses double with every failure in a row, whichever events they were of, and the one attempt after
a pause finds out whether the endpoint is back.
"""

from http import HTTPStatus

import msgspec
from msgspec.structs import replace

from ledgerx.webhook_deliveries import Outcome
from ledgerx.webhooks import Reason

# An attempt that takes longer makes its endpoint a slow one.
SLOW_S = 1.0


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """How long an event is tried for, in seconds, and how the pauses between the attempts grow.

    After `dead_in_a_row` events that nobody took an endpoint is disabled: the next ones wait for somebody to look.
    """

    patience_s: float = 259_200
    first_pause_s: float = 5
    longest_pause_s: float = 14_400
    dead_in_a_row: int = 3


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended: with a status, or with an `error` before there was one."""

    status_code: int | None = None
    error: str | None = None
    duration_s: float
    retry_after_s: float = 0

    @property
    def is_success(self) -> bool:
        """Whether the receiver took the event: a redirect is no such thing."""
        return self.status_code is not None and HTTPStatus.OK <= self.status_code < HTTPStatus.MULTIPLE_CHOICES

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants nothing any more."""
        return self.status_code == HTTPStatus.GONE


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Where an endpoint stands.

    `attempts` of the entry `next_seq` have failed, the first of them `tried_s` seconds ago, and `failures` in a row. It
    is not tried again for `pause_s` seconds, and not at all for a `disabled_reason`.
    """

    next_seq: int
    attempts: int = 0
    tried_s: float = 0
    failures: int = 0
    dead_in_a_row: int = 0
    is_slow: bool = False
    pause_s: float | None = None
    disabled_reason: Reason | None = None


def after(before: Progress, seq: int, reply: Reply, *, policy: Policy, jitter: float) -> tuple[Progress, Outcome]:
    """Where an endpoint stands when an attempt to send the entry `seq` in its turn has ended.

    `jitter` from 0 to 1 spreads the pauses, from half of what they may be to all of it.
    """
    now = replace(before, next_seq=seq, is_slow=reply.duration_s > SLOW_S, pause_s=None)
    if reply.is_success:
        return replace(now, next_seq=seq + 1, attempts=0, tried_s=0, failures=0, dead_in_a_row=0), Outcome.DELIVERED
    if reply.is_gone:
        return replace(now, attempts=before.attempts + 1, disabled_reason=Reason.GONE), Outcome.GONE
    failures = before.failures + 1
    pause_s = max(pause(failures, policy=policy, jitter=jitter), min(reply.retry_after_s, policy.longest_pause_s))
    left_s = policy.patience_s - before.tried_s
    if left_s > 0:
        # The last attempt is made when patience ends.
        now = replace(now, attempts=before.attempts + 1, failures=failures, pause_s=min(pause_s, left_s))
        return now, Outcome.FAILED
    dead = before.dead_in_a_row + 1
    return replace(
        now,
        next_seq=seq + 1,
        attempts=0,
        tried_s=0,
        failures=failures,
        dead_in_a_row=dead,
        pause_s=pause_s,
        disabled_reason=Reason.FAILING if dead >= policy.dead_in_a_row else None,
    ), Outcome.DEAD


def after_asked(before: Progress, reply: Reply) -> tuple[Progress, Outcome]:
    """Where an endpoint stands when an attempt that somebody asked for has ended: a failure of it counts for nothing.

    One that succeeds ends the pause: what waits is tried at once.
    """
    if reply.is_success:
        return replace(before, failures=0, pause_s=None), Outcome.DELIVERED
    if reply.is_gone:
        return replace(before, disabled_reason=Reason.GONE), Outcome.GONE
    return before, Outcome.FAILED


def pause(failures: int, *, policy: Policy, jitter: float) -> float:
    """Seconds until the next attempt after this many failures in a row, at least one."""
    full_s = policy.first_pause_s * 2.0 ** min(failures - 1, 62)
    return min(full_s, policy.longest_pause_s) * (0.5 + jitter / 2)
