"""Between kopf and the reconcilers: what happens to an object becomes conditions, Events, metrics and retries."""

import asyncio
import random
import time
from collections import Counter as Counts
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import kopf
import structlog
from prometheus_client import Counter, Gauge, Histogram

from ledgerx_operator import conditions
from ledgerx_operator.conditions import Condition, Outcome
from ledgerx_operator.failures import Failure, NotYet, failure_of
from ledgerx_operator.names import PAUSED

Reconcile: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[Outcome]]
Leave: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[None]]

MAX_DELAY_S = 30.0
# Objects worked on at the same time; the others wait without holding anything.
AT_ONCE = 16
_BLOCKED = ("DeletionNotConfirmed", "TenantsLeft")

_log = structlog.get_logger()
_RECONCILES = Counter(
    "ledgerx_operator_reconciles_total", "Looks at an object, by kind and outcome", ["kind", "outcome"]
)
_SECONDS = Histogram("ledgerx_operator_reconcile_seconds", "Time of one look at an object, by kind", ["kind"])
_OBJECTS = Gauge(
    "ledgerx_operator_objects", "Objects by kind and the reason of their condition Ready", ["kind", "reason"]
)


def delay_s(retry: int) -> float:
    """How long to wait before another try, in seconds: ever longer, and not all objects at the same moment."""
    return min(MAX_DELAY_S, 2.0 ** min(retry, 6) / 2) * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


class Handlers:
    """What kopf calls for the objects of one kind.

    `observe` adds to the status what is only looked at, such as usage. Objects that are `idle` need no look for drift.
    """

    def __init__(
        self,
        kind: str,
        reconcile: Reconcile,
        leave: Leave,
        at_once: asyncio.Semaphore,
        *,
        observe: Reconcile | None = None,
        idle: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> None:
        self._kind = kind
        self._reconcile = reconcile
        self._leave = leave
        self._observe = observe
        self._idle = idle
        self._at_once = at_once
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._reasons: dict[str, str] = {}

    async def changed(self, *, body: kopf.Body, patch: kopf.Patch, retry: int, **_: Any) -> None:
        """Bring an object to what it declares."""
        async with self._locks[_uid(body)]:
            await self._look(body, patch, retry)

    async def looked_at(self, *, body: kopf.Body, patch: kopf.Patch, retry: int = 0, **_: Any) -> None:
        """Put back what has drifted, and tell what there is to see."""
        async with self._locks[_uid(body)]:
            if body["metadata"].get("deletionTimestamp") is not None or (self._idle is not None and self._idle(body)):
                return
            await self._look(body, patch, retry)
            if self._observe is not None and not _is_paused(body):
                try:
                    observed = await self._observe(body)
                    _set(body, patch, observed.fields)
                    self._condition(body, patch, observed.conditions)
                except Exception as error:  # noqa: BLE001 - told as any other
                    _log.warning("not observed", kind=self._kind, reason=failure_of(error).reason)

    async def deleted(self, *, body: kopf.Body, patch: kopf.Patch, retry: int, **_: Any) -> None:
        """Take leave of an object; it stays until that is done."""
        uid = _uid(body)
        async with self._locks[uid]:
            failure: Failure | None = None
            if _is_paused(body):
                failure = NotYet("ReconciliationPaused", f"the annotation {PAUSED} keeps it from being deleted")
            else:
                try:
                    with _SECONDS.labels(self._kind).time():
                        async with self._at_once:
                            await self._leave(body)
                except Exception as error:  # noqa: BLE001 - every failure is told and tried again
                    failure = failure_of(error)
            if failure is not None:
                _RECONCILES.labels(self._kind, failure.reason).inc()
                blocked = Condition(conditions.DELETION_BLOCKED, True, failure.reason, failure.message)
                self._tell(body, patch, failure.reason, failure.message, [blocked], kind="Warning")
                delay = MAX_DELAY_S if retry > 60 else max(delay_s(min(retry, 3)), 1.0)
                raise kopf.TemporaryError(failure.message, delay=delay)
        _RECONCILES.labels(self._kind, "Deleted").inc()
        self._locks.pop(uid, None)
        self._count(uid, None)

    async def _look(self, body: kopf.Body, patch: kopf.Patch, retry: int) -> None:
        if _is_paused(body):
            paused = Condition(conditions.RECONCILIATION_PAUSED, True, "Paused", f"by the annotation {PAUSED}")
            self._tell(body, patch, "Paused", paused.message, [paused])
            return
        resumed = Condition(conditions.RECONCILIATION_PAUSED, False, "Resumed")
        began = time.monotonic()
        try:
            async with self._at_once:
                outcome = await self._reconcile(body)
        except Exception as error:  # noqa: BLE001 - every failure becomes a condition
            failure = failure_of(error)
            _RECONCILES.labels(self._kind, failure.reason).inc()
            ready = Condition(conditions.READY, False, failure.reason, failure.message)
            self._tell(body, patch, failure.reason, failure.message, [ready, resumed], kind="Warning")
            if isinstance(failure, NotYet):
                raise kopf.TemporaryError(failure.message, delay=delay_s(retry)) from None
            return
        finally:
            _SECONDS.labels(self._kind).observe(time.monotonic() - began)
        _RECONCILES.labels(self._kind, "Done").inc()
        _set(body, patch, outcome.fields)
        reason, message = "Reconciled", "as declared"
        if body["spec"].get("suspended"):
            reason, message = "Suspended", "suspended as declared: nobody may use it"
        ready = Condition(conditions.READY, True, reason, message)
        self._tell(body, patch, reason, message, [ready, resumed, *outcome.conditions])

    def _tell(
        self,
        body: kopf.Body,
        patch: kopf.Patch,
        reason: str,
        message: str,
        now: Sequence[Condition],
        *,
        kind: str = "Normal",
    ) -> None:
        before = (body.get("status") or {}).get("conditions") or []
        self._condition(body, patch, now)
        _set(body, patch, {"observedGeneration": body["metadata"]["generation"]})
        if self._reasons.get(_uid(body)) != reason and conditions.find(before, now[0].type).get("reason") != reason:
            kopf.event(body, type=kind, reason=reason, message=message)
            _log.info(
                "told",
                kind=self._kind,
                object=f"{body['metadata'].get('namespace')}/{body['metadata']['name']}",
                reason=reason,
                detail=message,
            )
        self._count(_uid(body), reason)

    @staticmethod
    def _condition(body: kopf.Body, patch: kopf.Patch, now: Sequence[Condition]) -> None:
        before = patch.status.get("conditions") or (body.get("status") or {}).get("conditions") or []
        generation = body["metadata"]["generation"]
        _set(body, patch, {"conditions": conditions.updated(before, now, generation=generation, at=datetime.now(UTC))})

    def _count(self, uid: str, reason: str | None) -> None:
        before = self._reasons.pop(uid, None)
        if reason is not None:
            self._reasons[uid] = reason
        if before != reason:
            counts = Counts(self._reasons.values())
            for one in filter(None, (before, reason)):
                _OBJECTS.labels(self._kind, one).set(counts[one])


def _set(body: kopf.Body, patch: kopf.Patch, fields: Mapping[str, Any]) -> None:
    """Patch what differs: a status that stays as it is costs no write."""
    status = body.get("status") or {}
    for name, value in fields.items():
        if status.get(name) != value:
            patch.status[name] = value


def _uid(body: kopf.Body) -> str:
    return str(body["metadata"]["uid"])


def _is_paused(body: kopf.Body) -> bool:
    return (body["metadata"].get("annotations") or {}).get(PAUSED) == "true"
