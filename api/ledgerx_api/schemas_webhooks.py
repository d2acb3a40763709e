"""What goes over the wire of webhooks."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, TypeAlias
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledgerx import webhooks as kernel
from ledgerx.outbound import MAX_URL_CHARACTERS
from ledgerx.webhook_deliveries import Cause, Outcome
from ledgerx.webhook_deliveries import Delivery as DeliveryRecord
from ledgerx.webhooks import MAX_OVERLAP_S, OVERLAP_S, Endpoint, Reason, Status
from ledgerx_api.schemas import NO_NUL

Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_URL_CHARACTERS,
        pattern=NO_NUL,
        description="https, at a public address.",
        examples=["https://example.com/hooks/ledger"],
    ),
]
Description = Annotated[str, Meta(min_length=1, max_length=255, pattern=NO_NUL)]
EventTypes: TypeAlias = Annotated[
    list[Annotated[str, Meta(max_length=64, examples=["ledgerx.transaction.posted"])]],
    Meta(
        min_length=1,
        max_length=64,
        description="What is sent: the events of these types. Null stands for all, those to come included.",
    ),
]
Sequence: TypeAlias = Annotated[
    int, Meta(ge=1, le=2**63 - 1, description="The number of an entry of the journal: `sequence` of its event.")
]


class NewWebhook(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endpoint to make. It gets what is recorded from now on, or from an entry on, however long ago that was."""

    url: Url
    description: Description | None = None
    event_types: EventTypes | None = None
    from_sequence: Sequence | None = None


class WebhookChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of an endpoint; what is left out stays. One that is enabled again goes on where it stands."""

    url: Url | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    event_types: EventTypes | UnsetType | None = UNSET
    status: Status | UnsetType = UNSET


class SecretRotation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many seconds messages are signed with the secret of before as well."""

    overlap_s: Annotated[int, Meta(ge=0, le=MAX_OVERLAP_S)] = OVERLAP_S


class Redelivery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry to send once more, or the entry from which on to send all: one of the two."""

    sequence: Sequence | None = None
    from_sequence: Sequence | None = None


class Circuit(StrEnum):
    """Whether an endpoint works, has failed of late, or has failed several times in a row and rests."""

    CLOSED = "closed"
    RETRYING = "retrying"
    OPEN = "open"


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint. `version` is what the `ETag` says.

    It looks at the entry `next_sequence` next, and `behind` entries are recorded that it has not looked at. Of the
    entry in hand `failures` attempts in a row have failed, since `failing_since`; the next one is at `retry_at`.
    `requested` deliveries were asked for and are still to be made. Until `previous_secret_until` messages have a second
    signature, by the secret of before.
    """

    id: UUID
    url: str
    description: str | None
    event_types: list[str] | None
    status: Status
    disabled_reason: Reason | None
    version: int
    created_at: datetime
    updated_at: datetime
    next_sequence: int
    behind: int
    requested: int
    circuit: Circuit
    failures: int
    failing_since: datetime | None
    retry_at: datetime | None
    previous_secret_until: datetime | None


class WebhookWithSecret(Webhook, frozen=True, kw_only=True):
    """An endpoint with its new secret, which is shown this once."""

    secret: Annotated[str, Meta(description="As Standard Webhooks writes it: whsec_ and base64.")]


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to send an event. `sequence` is null for a ping.

    After `failed` there is another attempt, or somebody may ask for one; `dead` was the last one of its event; `gone`
    was the receiver's 410. `error` says why there is no `status_code`.
    """

    id: UUID
    attempted_at: datetime
    cause: Cause
    sequence: int | None
    event_type: str
    attempt: int
    outcome: Outcome
    status_code: int | None
    error: str | None
    duration_ms: int


def changes(data: WebhookChanges) -> kernel.Changes:
    """The changes behind `WebhookChanges`."""
    types = data.event_types
    return kernel.Changes(
        url=data.url,
        description=data.description,
        event_types=types if isinstance(types, UnsetType) else event_types(types),
        status=data.status,
    )


def event_types(given: list[str] | None) -> tuple[str, ...] | None:
    """The types, each once."""
    return None if given is None else tuple(sorted(set(given)))


def webhook(endpoint: Endpoint) -> Webhook:
    """An endpoint as the API shows it."""
    return Webhook(**_members(endpoint))


def webhook_with_secret(endpoint: Endpoint, secret: str) -> WebhookWithSecret:
    """An endpoint with the secret that it was just given."""
    return WebhookWithSecret(**_members(endpoint), secret=secret)


def delivery(found: DeliveryRecord) -> Delivery:
    """An attempt as the API shows it."""
    return Delivery(**{field: getattr(found, field) for field in Delivery.__struct_fields__})


def _members(endpoint: Endpoint) -> dict[str, Any]:
    target = endpoint.target
    return {
        "id": endpoint.id,
        "url": target.url,
        "description": target.description,
        "event_types": None if target.event_types is None else list(target.event_types),
        "status": target.status,
        "disabled_reason": endpoint.disabled_reason,
        "version": endpoint.version,
        "created_at": endpoint.created_at,
        "updated_at": endpoint.updated_at,
        "next_sequence": endpoint.next_sequence,
        "behind": endpoint.behind,
        "requested": endpoint.asked,
        "circuit": _circuit(endpoint.failures),
        "failures": endpoint.failures,
        "failing_since": endpoint.tried_since,
        "retry_at": endpoint.retry_at,
        "previous_secret_until": endpoint.previous_secret_until,
    }


def _circuit(failures: int) -> Circuit:
    if failures >= kernel.FAILURES_OPEN:
        return Circuit.OPEN
    return Circuit.RETRYING if failures else Circuit.CLOSED
