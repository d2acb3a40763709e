"""An entry of the journal as a CloudEvent 1.0: the same whether a page, a stream, Kafka or a webhook carries it."""

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ledgerx import shown
from ledgerx.commands import Direction
from ledgerx.feed import EVENT_TYPES
from ledgerx.journal import AccountState, AccountType, AssetState, CategoryState, Change, Entry, Kind, SettingsState
from ledgerx.shown import ChangedAsset, ChangedCategory, Settings

MEDIA_TYPE = "application/cloudevents+json"
# A bigint has at most 19 digits.
_SEQUENCE_DIGITS = 19
_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=1_000)
def _text(tenant_id: UUID) -> str:
    # Python takes as long for this as for a posting, and there are two in each event.
    return str(tenant_id)


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


def cloud_event(tenant_id: UUID, entry: Entry) -> CloudEvent:
    """An entry as an event."""
    return CloudEvent(
        id=event_id(tenant_id, entry.seq),
        source=f"urn:ledgerx:tenant:{_text(tenant_id)}",
        type=EVENT_TYPES[entry.kind],
        subject=_subject(entry),
        time=entry.recorded_at,
        sequence=f"{entry.seq:0{_SEQUENCE_DIGITS}}",
        data=msgspec.Raw(
            _encode(shown.transaction(entry) if entry.change is None else _change_entry(entry, entry.change))
        ),
    )


def event_id(tenant_id: UUID, seq: int) -> str:
    """What the event of an entry is called, whenever it is sent."""
    return f"{_text(tenant_id)}/{seq}"


def encode_event(tenant_id: UUID, entry: Entry) -> bytes:
    """An entry as the JSON of its event, on one line."""
    return _encode(cloud_event(tenant_id, entry))


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
            account = shown.opened_account(entry)
            as_left = msgspec.convert(account, ChangedAccount, from_attributes=True)
            changed = {"account": as_left, "metadata": account.metadata}
        case AssetState():
            changed = {"asset": ChangedAsset(code=change.asset, scale=change.scale, name=change.name)}
        case CategoryState():
            changed = {
                "category": ChangedCategory(code=change.category, name=change.name, description=change.description)
            }
        case SettingsState():
            changed = {"settings": shown.settings(change)}
    return ChangeEntry(
        id=entry.seq,
        kind=entry.kind,
        recorded_at=entry.recorded_at,
        actor=entry.actor,
        idempotency_key=entry.idempotency_key,
        hash=entry.hash,
        **changed,
    )
