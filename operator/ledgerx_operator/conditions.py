"""Conditions of a status: pure functions over the lists that Kubernetes keeps."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

READY = "Ready"
PROVISIONED = "Provisioned"
HEALTHY = "Healthy"
DELETION_BLOCKED = "DeletionBlocked"
RECONCILIATION_PAUSED = "ReconciliationPaused"


class Condition(msgspec.Struct, frozen=True):
    """What is so, or not, and why; `reason` in PascalCase."""

    type: str
    holds: bool
    reason: str
    message: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What a look at an object comes to: fields of its status, and conditions beside those that all objects have."""

    fields: Mapping[str, Any]
    conditions: Sequence[Condition] = ()


def updated(
    before: Sequence[Mapping[str, Any]], now: Iterable[Condition], *, generation: int, at: datetime
) -> list[dict[str, Any]]:
    """The conditions with those of `now` in their places; the time of one changes only when it turns over.

    Those that are abnormal when they hold (`DeletionBlocked`, `ReconciliationPaused`) are left out when they do not.
    """
    conditions = {str(one["type"]): dict(one) for one in before}
    for condition in now:
        known = conditions.pop(condition.type, {})
        if condition.type in (DELETION_BLOCKED, RECONCILIATION_PAUSED) and not condition.holds:
            continue
        status = str(condition.holds)
        turned = known.get("status") != status
        conditions[condition.type] = {
            "type": condition.type,
            "status": status,
            "reason": condition.reason,
            "message": condition.message,
            "lastTransitionTime": timestamp(at) if turned else known["lastTransitionTime"],
            "observedGeneration": generation,
        }
    return sorted(conditions.values(), key=lambda condition: str(condition["type"]))


def find(conditions: Iterable[Mapping[str, Any]], kind: str) -> Mapping[str, Any]:
    """The condition of a type; empty where there is none."""
    return next((one for one in conditions if one["type"] == kind), {})


def is_settled(body: Mapping[str, Any]) -> bool:
    """Whether an object is ready as it stands."""
    status = body.get("status") or {}
    ready = find(status.get("conditions") or [], READY)
    return ready.get("status") == "True" and ready.get("observedGeneration") == body["metadata"]["generation"]


def timestamp(moment: datetime) -> str:
    """A moment in UTC as Kubernetes writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def misplaced(body: Mapping[str, Any], namespace: str, *, at: datetime) -> list[dict[str, Any]]:
    """The conditions of a LedgerDatabase that is not in the operator's `namespace`, where nobody looks after it."""
    message = f"only LedgerDatabases in the operator's namespace {namespace} count"
    before = (body.get("status") or {}).get("conditions") or []
    refused = Condition(READY, False, "WrongNamespace", message)
    return updated(before, [refused], generation=body["metadata"]["generation"], at=at)
