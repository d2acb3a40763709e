"""The journal message: what one outbox row carries and the topic `ledgerx.events.journal` delivers.

One message holds consecutive entries of one tenant, with the hash before the first and after the last, so that a
reader can tell a repeat, a gap and a fork without asking anybody. Hashes are base64, amounts are strings of minor
units with debits positive, and absent fields are left out.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from ledgerx.journal import Entry, Kind, Layer, Posting, decode_change

AGGREGATE_JOURNAL = "journal"
ENTRIES_RECORDED = "entries.recorded"
TOPIC_JOURNAL = f"ledgerx.events.{AGGREGATE_JOURNAL}"
# Kafka's default limit for a message is 1 MiB with its headers.
MAX_PAYLOAD_BYTES = 900 * 1024


class PostingRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A posting on the wire; `amount` is minor units, debits positive."""

    account: str
    account_id: int
    asset: str
    scale: int
    amount: str
    layer: Layer = Layer.POSTED


class EntryRecord(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An entry on the wire; `metadata` is the stored canonical JSON, embedded as it is."""

    seq: int
    kind: Kind
    recorded_at: datetime
    effective_at: datetime | None = None
    actor: str
    idempotency_key: str | None = None
    fingerprint: bytes | None = None
    reference: str | None = None
    category: str | None = None
    description: str | None = None
    # Not None where there is none: msgspec decodes `Raw | None` as null and nothing else.
    metadata: msgspec.Raw | UnsetType = UNSET
    annotations_hash: bytes | None = None
    postings: tuple[PostingRecord, ...] = ()
    # One of several structs, and only the kind says which: `entry` decodes it.
    change: msgspec.Raw | UnsetType = UNSET
    target_seq: int | None = None
    expires_at: datetime | None = None
    hash: bytes


class JournalMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive entries `first` to `last` of one tenant."""

    tenant: UUID
    first: int
    last: int
    previous_hash: bytes
    hash: bytes
    entries: tuple[EntryRecord, ...]


class _RawMessage(msgspec.Struct, frozen=True, kw_only=True):
    """`JournalMessage` with its entries encoded already: they are measured one by one."""

    tenant: UUID
    first: int
    last: int
    previous_hash: bytes
    hash: bytes
    entries: list[msgspec.Raw]


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """One outbox row's worth of entries; `payload` is the exact JSON text that Kafka will carry."""

    first: int
    last: int
    payload: str


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(JournalMessage)
_ENVELOPE_BYTES = 512


def record(entry: Entry) -> EntryRecord:
    """An entry in its wire form."""
    return EntryRecord(
        seq=entry.seq,
        kind=entry.kind,
        recorded_at=entry.recorded_at,
        effective_at=entry.effective_at,
        actor=entry.actor,
        idempotency_key=entry.idempotency_key,
        fingerprint=entry.fingerprint,
        reference=entry.reference,
        category=entry.category,
        description=entry.description,
        metadata=UNSET if entry.metadata is None else msgspec.Raw(entry.metadata.encode()),
        annotations_hash=entry.annotations_hash,
        # A list is made in half the time of a generator.
        postings=tuple(
            [
                PostingRecord(line.account, line.account_id, line.asset, line.scale, str(line.amount), line.layer)
                for line in entry.postings
            ]
        ),
        change=UNSET if entry.change is None else msgspec.Raw(_encode(entry.change)),
        target_seq=entry.target_seq,
        expires_at=entry.expires_at,
        hash=entry.hash,
    )


def entry(record: EntryRecord) -> Entry:
    """The entry that a wire form stands for. Raises `msgspec.DecodeError` where its change is not one of its kind."""
    return Entry(
        seq=record.seq,
        kind=record.kind,
        recorded_at=record.recorded_at,
        effective_at=record.effective_at,
        actor=record.actor,
        idempotency_key=record.idempotency_key,
        fingerprint=record.fingerprint,
        reference=record.reference,
        category=record.category,
        description=record.description,
        metadata=None if record.metadata is UNSET else bytes(record.metadata).decode(),
        annotations_hash=record.annotations_hash,
        postings=tuple(
            [
                Posting(line.account, line.account_id, line.asset, line.scale, int(line.amount), line.layer)
                for line in record.postings
            ]
        ),
        change=None if record.change is UNSET else decode_change(record.kind, bytes(record.change)),
        target_seq=record.target_seq,
        expires_at=record.expires_at,
        hash=record.hash,
    )


def chunks(
    tenant_id: UUID, previous_hash: bytes, entries: Iterable[Entry], *, max_bytes: int = MAX_PAYLOAD_BYTES
) -> Iterator[Chunk]:
    """Cut consecutive entries into payloads of at most `max_bytes` bytes of UTF-8, in order.

    A single entry above the limit still makes a chunk of its own: the limits on a transaction keep it below.
    """
    raws: list[msgspec.Raw] = []
    size, first, last = _ENVELOPE_BYTES, 0, 0
    before = after = previous_hash

    def chunk() -> Chunk:
        message = _RawMessage(tenant=tenant_id, first=first, last=last, previous_hash=before, hash=after, entries=raws)
        return Chunk(first, last, _encode(message).decode())

    for one in entries:
        raw = _encode(record(one))
        if raws and size + len(raw) > max_bytes:
            yield chunk()
            raws, size, before = [], _ENVELOPE_BYTES, after
        if not raws:
            first = one.seq
        raws.append(msgspec.Raw(raw))
        size += len(raw) + 1
        last, after = one.seq, one.hash
    if raws:
        yield chunk()


def decode(payload: bytes) -> JournalMessage:
    """Read a journal message. Raises `msgspec.DecodeError` on anything else."""
    return _decoder.decode(payload)
