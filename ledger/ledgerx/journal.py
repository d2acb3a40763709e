"""The journal: a tenant's one gapless sequence of entries, and the hash chain over it.

`hash = SHA-256(hash of the entry before || canonical encoding)`. The encoding is written down, with test vectors, in
docs/journal-format.md; whoever changes a line of `canonical` breaks every chain and must raise `ENCODING`.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from uuid import UUID

import msgspec

ENCODING = 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_encode = msgspec.json.Encoder().encode


class Layer(IntEnum):
    """What a posting counts in. Posted is settled; the pending layers hold the debits and credits of open holds."""

    POSTED = 0
    PENDING_DEBIT = 1
    PENDING_CREDIT = 2


class Kind(StrEnum):
    """What an entry records. The first six are transactions; `AMEND` re-annotates one of them."""

    POST = "post"
    HOLD = "hold"
    CAPTURE = "capture"
    RELEASE = "release"
    EXPIRE = "expire"
    REVERSE = "reverse"
    AMEND = "amend"
    OPEN_ACCOUNT = "open_account"
    UPDATE_ACCOUNT = "update_account"
    CLOSE_ACCOUNT = "close_account"
    CREATE_ASSET = "create_asset"
    UPDATE_ASSET = "update_asset"
    DELETE_ASSET = "delete_asset"
    CREATE_CATEGORY = "create_category"
    UPDATE_CATEGORY = "update_category"
    DELETE_CATEGORY = "delete_category"
    CHANGE_SETTINGS = "change_settings"


TRANSACTIONS = frozenset({Kind.POST, Kind.HOLD, Kind.CAPTURE, Kind.RELEASE, Kind.EXPIRE, Kind.REVERSE})
# What ends a hold; a hold has at most one of these.
RESOLUTIONS = frozenset({Kind.CAPTURE, Kind.RELEASE, Kind.EXPIRE})


class AccountType(StrEnum):
    """The five classes of double-entry bookkeeping; assets and expenses stand on the debit side, the rest on credit."""

    ASSET = "asset"
    LIABILITY = "liability"
    EQUITY = "equity"
    REVENUE = "revenue"
    EXPENSE = "expense"

    @property
    def sign(self) -> int:
        """+1 where debits raise the balance, -1 where credits do."""
        return 1 if self in (AccountType.ASSET, AccountType.EXPENSE) else -1


class AccountStatus(StrEnum):
    """Open accounts take postings, frozen ones take none until unfrozen, closed ones never again."""

    OPEN = "open"
    FROZEN = "frozen"
    CLOSED = "closed"


class Posting(msgspec.Struct, frozen=True, gc=False):
    """One line of a transaction. `amount` is in minor units of the asset, debits positive, credits negative."""

    account: str
    account_id: int
    asset: str
    scale: int
    amount: int
    layer: Layer = Layer.POSTED


class AccountState(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """An account as an account entry leaves it. Limits are minor units on the account's normal side, as strings.

    The fields stand in alphabetical order: their JSON is then canonical (RFC 8785) as msgspec writes it. `owner` is the
    id of a user, or the name of who comes with tokens from outside, and left out where there is none.
    """

    account: str
    account_id: int
    asset: str
    max_balance: str | None
    min_balance: str | None
    owner: str | None = None
    scale: int
    status: AccountStatus
    type: AccountType


class AssetState(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """An asset as its entry leaves it, or takes it away. Alphabetical like `AccountState`, and so are the next two."""

    asset: str
    name: str | None = None
    scale: int


class CategoryState(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """A category as its entry leaves it, or takes it away."""

    category: str
    description: str | None = None
    name: str | None = None


class SettingsState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The tenant's settings as their entry leaves them."""

    strict_categories: bool


Change = AccountState | AssetState | CategoryState | SettingsState
# What the change of an entry is, by its kind; entries of the other kinds have none.
CHANGES: Mapping[Kind, type[Change]] = {
    Kind.OPEN_ACCOUNT: AccountState,
    Kind.UPDATE_ACCOUNT: AccountState,
    Kind.CLOSE_ACCOUNT: AccountState,
    Kind.CREATE_ASSET: AssetState,
    Kind.UPDATE_ASSET: AssetState,
    Kind.DELETE_ASSET: AssetState,
    Kind.CREATE_CATEGORY: CategoryState,
    Kind.UPDATE_CATEGORY: CategoryState,
    Kind.DELETE_CATEGORY: CategoryState,
    Kind.CHANGE_SETTINGS: SettingsState,
}
_change_decoders = {kind: msgspec.json.Decoder(state) for kind, state in CHANGES.items()}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the journal. `metadata` is canonical JSON text (RFC 8785); times are aware and in UTC.

    `target_seq` is the transaction that a capture, release, expiry, reversal or amendment is of.
    """

    seq: int
    kind: Kind
    recorded_at: datetime
    actor: str
    effective_at: datetime | None = None
    idempotency_key: str | None = None
    fingerprint: bytes | None = None
    reference: str | None = None
    category: str | None = None
    description: str | None = None
    metadata: str | None = None
    annotations_hash: bytes | None = None
    postings: tuple[Posting, ...] = ()
    change: Change | None = None
    target_seq: int | None = None
    expires_at: datetime | None = None
    hash: bytes = b""


def decode_change(kind: Kind, text: bytes | str) -> Change:
    """The change of an entry of this kind from its JSON. Raises `msgspec.DecodeError`, also for a kind without one."""
    try:
        decoder = _change_decoders[kind]
    except KeyError:
        raise msgspec.ValidationError(f"an entry of the kind {kind} changes nothing") from None
    return decoder.decode(text)


def genesis(tenant_id: UUID) -> bytes:
    """The hash before a tenant's first entry; it binds the chain to the tenant."""
    return hashlib.sha256(f"ledgerx:{ENCODING}:{tenant_id}".encode()).digest()


def microseconds(moment: datetime) -> int:
    """Whole microseconds since the Unix epoch."""
    return (moment - EPOCH) // _MICROSECOND


def annotations_hash(category: str | None, description: str | None, metadata: str | None) -> bytes | None:
    """SHA-256 over what may later be edited or erased without breaking the chain; None where there is none of it."""
    if category is None and description is None and metadata is None:
        return None
    raw = None if metadata is None else msgspec.Raw(metadata.encode())
    return hashlib.sha256(_encode((category, description, raw))).digest()


def canonical(entry: Entry) -> bytes:
    """The bytes of an entry's immutable fields that the chain covers: a JSON array in the form of RFC 8785."""
    fields = (
        ENCODING,
        entry.seq,
        entry.kind,
        microseconds(entry.recorded_at),
        _microseconds(entry.effective_at),
        entry.actor,
        entry.idempotency_key,
        entry.fingerprint,
        entry.reference,
        entry.annotations_hash,
        [(line.account, str(line.amount), line.layer) for line in entry.postings],
        entry.change,
    )
    if entry.target_seq is None and entry.expires_at is None:
        return _encode(fields)
    return _encode((*fields, entry.target_seq, _microseconds(entry.expires_at)))


def chain(previous: bytes, entry: Entry) -> bytes:
    """The hash of `entry` standing after an entry with the hash `previous`."""
    return hashlib.sha256(previous + canonical(entry)).digest()


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else microseconds(moment)
