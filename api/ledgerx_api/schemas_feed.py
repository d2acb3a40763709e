"""What goes over the wire of the feed and of the journal's integrity."""

from datetime import datetime
from uuid import UUID

import msgspec

from ledgerx.cloud_events import CloudEvent, cloud_event
from ledgerx.feed import FeedPage
from ledgerx.integrity import Integrity as IntegrityNow


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events in order. Ask with `after` = `next_after` for those that follow; at `head` there are none yet."""

    items: list[CloudEvent]
    next_after: int
    head: int


class Projection(msgspec.Struct, frozen=True, kw_only=True):
    """What a projection of the journal has reached: its entry, and how much it lacks in entries and in seconds.

    `consistent` is false when it stems from another journal, for example of before a restore.
    """

    name: str
    sequence: int
    behind_entries: int
    behind_s: float
    consistent: bool


class IntegrityFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Something wrong with the journal or with what is kept beside it; `sequence` is null where it is of no entry.

    It stays until the operator of the platform clears it; `seen_at` is when it was last found so.
    """

    sequence: int | None
    what: str
    found_by: str
    found_at: datetime
    seen_at: datetime


class Integrity(msgspec.Struct, frozen=True, kw_only=True):
    """The journal's last entry, the hash of all of it (base64), and what the projections have reached.

    `healthy` is whether nothing is known to be wrong; `finding` is what was found first.
    """

    healthy: bool
    sequence: int
    hash: bytes
    recorded_at: datetime
    projections: list[Projection]
    finding: IntegrityFinding | None


def event_page(tenant_id: UUID, after: int, page: FeedPage) -> EventPage:
    """A page of the feed from the cursor `after`."""
    items = [cloud_event(tenant_id, entry) for entry in page.entries]
    return EventPage(items=items, next_after=page.entries[-1].seq if page.entries else after, head=page.head)


def integrity(now: IntegrityNow) -> Integrity:
    """A journal's integrity as the API shows it."""
    found = now.finding
    return Integrity(
        healthy=now.healthy,
        sequence=now.seq,
        hash=now.hash,
        recorded_at=now.recorded_at,
        projections=[
            Projection(
                name=one.name,
                sequence=one.seq,
                behind_entries=now.seq - one.seq,
                behind_s=one.behind_s,
                consistent=one.consistent,
            )
            for one in now.projections
        ],
        finding=None
        if found is None
        else IntegrityFinding(
            sequence=found.seq,
            what=found.what,
            found_by=found.found_by,
            found_at=found.found_at,
            seen_at=found.seen_at,
        ),
    )
