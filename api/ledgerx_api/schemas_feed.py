"""What goes over the wire of the feed and of the journal's integrity."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledgerx.commands import Direction
from ledgerx.feed import EVENT_TYPES, FeedPage
from ledgerx.integrity import Integrity as IntegrityNow
from ledgerx.journal import AccountState, AccountType, AssetState, CategoryState, Change, Entry, Kind, SettingsState
from ledgerx_api import schemas, schemas_registries
from ledgerx_api.schemas_registries import ChangedAsset, ChangedCategory, Settings

# A bigint has at most 19 digits.
_SEQUENCE_DIGITS = 19
_encode = msgspec.json.Encoder().encode


class ChangedAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account as an entry of the journal left it."""

    code: str
    asset: str
    scale: int
    type: AccountType
    normal_side: Direction
    status: str
    min_balance: str | None
    max_balance: str | None
    owner: str | None


class ChangeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded change of an account, an asset, a category or the settings, as the entry left it or took it away.

    `id`, `actor`, `idempotency_key` and `hash` are those of the journal's entry.
    """

    id: int
    kind: str
    recorded_at: datetime
    account: ChangedAccount | UnsetType = UNSET
    metadata: msgspec.Raw | UnsetType | None = UNSET
    asset: ChangedAsset | UnsetType = UNSET
    category: ChangedCategory | UnsetType = UNSET
    settings: Settings | UnsetType = UNSET
    actor: str
    idempotency_key: str | None
    hash: bytes


class CloudEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the journal as a CloudEvent 1.0, with the extension `sequence`."""

    specversion: str = "1.0"
    id: Annotated[str, Meta(description="`<tenant>/<number of the entry>`: the same whenever the event is sent.")]
    source: Annotated[str, Meta(description="The tenant, as a URN.")]
    type: Annotated[str, Meta(description="What happened.", examples=["ledgerx.transaction.posted"])]
    subject: Annotated[str, Meta(description="Below /v1.", examples=["transactions/3", "accounts/bank", "settings"])]
    time: Annotated[datetime, Meta(description="When it was recorded.")]
    datacontenttype: str = "application/json"
    sequence: Annotated[str, Meta(description="The number of the entry in 19 digits, so that texts sort as numbers.")]
    data: Annotated[
        msgspec.Raw,
        Meta(
            description="A transaction, or a change of something else, as the entry recorded it.",
            extra_json_schema={"type": "object"},
        ),
    ]


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


def event(tenant_id: UUID, entry: Entry) -> CloudEvent:
    """An entry as the feed shows it."""
    return CloudEvent(
        id=f"{tenant_id}/{entry.seq}",
        source=f"urn:ledgerx:tenant:{tenant_id}",
        type=EVENT_TYPES[entry.kind],
        subject=_subject(entry),
        time=entry.recorded_at,
        sequence=f"{entry.seq:0{_SEQUENCE_DIGITS}}",
        data=msgspec.Raw(
            _encode(schemas.transaction(entry) if entry.change is None else _change_entry(entry, entry.change))
        ),
    )


def event_page(tenant_id: UUID, after: int, page: FeedPage) -> EventPage:
    """A page of the feed from the cursor `after`."""
    items = [event(tenant_id, entry) for entry in page.entries]
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


def _subject(entry: Entry) -> str:
    match entry.change:
        case AccountState(account=code):
            return f"accounts/{code}"
        case AssetState(asset=code):
            return f"assets/{code}"
        case CategoryState(category=code):
            return f"categories/{code}"
        case SettingsState():
            return "settings"
    # An amendment is of a transaction, and none itself.
    return f"transactions/{entry.target_seq if entry.kind is Kind.AMEND else entry.seq}"


def _change_entry(entry: Entry, change: Change) -> ChangeEntry:
    changed: dict[str, Any]
    match change:
        case AccountState():
            account = schemas.opened_account(entry)
            shown = msgspec.convert(account, ChangedAccount, from_attributes=True)
            changed = {"account": shown, "metadata": account.metadata}
        case AssetState():
            changed = {"asset": ChangedAsset(code=change.asset, scale=change.scale, name=change.name)}
        case CategoryState():
            changed = {
                "category": ChangedCategory(code=change.category, name=change.name, description=change.description)
            }
        case SettingsState():
            changed = {"settings": schemas_registries.settings(change)}
    return ChangeEntry(
        id=entry.seq,
        kind=entry.kind,
        recorded_at=entry.recorded_at,
        actor=entry.actor,
        idempotency_key=entry.idempotency_key,
        hash=entry.hash,
        **changed,
    )
