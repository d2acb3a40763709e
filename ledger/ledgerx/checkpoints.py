"""Checkpoints: what a tenant's journal is up to an entry, signed, and proofs that lead to it.

The leaves of a tenant's Merkle tree (`ledgerx.merkle`) are the hashes of its entries, in order: the leaf number n - 1
is the hash of the entry n, which covers that entry's canonical encoding and all entries before it. A checkpoint is a
signed note in the form of https://c2sp.org/tlog-checkpoint with one extension line, the hash of the trial balance.
"""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import UNSET, UnsetType

from ledgerx import notes, rows, tiles
from ledgerx.database import Connection, Pool, Queries, tenant_scope
from ledgerx.errors import InvalidField, NotCheckpointed, NotFound
from ledgerx.journal import AccountType, Entry, canonical, genesis
from ledgerx.keys import Keyset
from ledgerx.merkle import HASH_BYTES, Nodes, consistency_proof, inclusion_proof
from ledgerx.tiles import Place

DEFAULT_ORIGIN = "ledgerx"
_EXTENSION = "trial-balance "
_queries = Queries("ledgerx", "sql/checkpoints.sql")
_encode = msgspec.json.Encoder().encode


class BalanceLine(msgspec.Struct, frozen=True):
    """The posted lines of all accounts of an asset and a type, summed in minor units, debits positive.

    These two have their fields in alphabetical order: their JSON is then canonical (RFC 8785) as msgspec writes it.
    """

    asset: str
    posted: str
    scale: int
    type: AccountType


class BalanceStatement(msgspec.Struct, frozen=True):
    """The trial balance of the first `size` entries of a tenant, by asset and type in that order."""

    items: tuple[BalanceLine, ...]
    size: int
    tenant: UUID

    @property
    def sha256(self) -> bytes:
        """What a checkpoint says of it."""
        return hashlib.sha256(_encode(self)).digest()


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """The text of a checkpoint. `origin` names the log, and so the tenant."""

    origin: str
    size: int
    root: bytes
    balance_sha256: bytes

    @property
    def text(self) -> str:
        """The lines that are signed."""
        hashes = b64encode(self.root).decode(), b64encode(self.balance_sha256).decode()
        return f"{self.origin}\n{self.size}\n{hashes[0]}\n{_EXTENSION}{hashes[1]}\n"


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A signed note of the tree of `size` entries; `verifier_keys` are those of its signatures."""

    size: int
    root: bytes
    signed_at: datetime
    note: str
    trial_balance: BalanceStatement
    verifier_keys: tuple[str, ...]


class InclusionProof(msgspec.Struct, frozen=True, kw_only=True, tag="inclusion"):
    """That a transaction is in the tree of a checkpoint; RFC 6962, 2.1.1.

    `entry` is its canonical encoding. SHA-256 of `previous_hash` and `entry` is the hash of the entry, which is the
    leaf `sequence` - 1.
    """

    tenant: UUID
    sequence: int
    entry: str
    previous_hash: bytes
    hash: bytes
    proof: list[bytes]
    checkpoint: str
    trial_balance: BalanceStatement


class ConsistencyProof(msgspec.Struct, frozen=True, kw_only=True, tag="consistency"):
    """That the tree of one checkpoint is the beginning of that of another one; RFC 6962, 2.1.2.

    The note of the older one is missing where that is not kept: whoever asks has it.
    """

    tenant: UUID
    proof: list[bytes]
    older: str | UnsetType = msgspec.field(name="from", default=UNSET)
    newer: str = msgspec.field(name="to")


def origin_of(platform: str, tenant_id: UUID) -> str:
    """The name of a tenant's log, and of the keys that sign for it, on a platform of this name."""
    return f"{platform}/{tenant_id}"


def signed(
    platform: str, tenant_id: UUID, root: bytes, balance: BalanceStatement, keyset: Keyset
) -> tuple[str, list[str]]:
    """The note of a checkpoint, and the keys that verify it.

    It is signed with the current key of `keyset` and the one before, so that who knows either can go on.
    """
    keys: list[Ed25519PrivateKey] = keyset.private_keys
    origin = origin_of(platform, tenant_id)
    statement = Statement(origin=origin, size=balance.size, root=root, balance_sha256=balance.sha256)
    note = notes.sign(statement.text, origin, keys)
    return note, [str(notes.verifier_key(origin, key.public_key())) for key in keys]


def parse_statement(text: str) -> Statement:
    """Read the text of a note of ours. Raises `notes.BadNoteError`."""
    try:
        origin, size, root, extension = text.removesuffix("\n").split("\n")
        found = Statement(
            origin=origin,
            size=int(size),
            root=b64decode(root, validate=True),
            balance_sha256=b64decode(extension.removeprefix(_EXTENSION), validate=True),
        )
    except ValueError:
        found = None
    if found is None or found.text != text or not len(found.root) == len(found.balance_sha256) == HASH_BYTES:
        raise notes.BadNoteError("the note is not a checkpoint of a ledger")
    return found


async def read_checkpoints(pool: Pool, tenant_id: UUID, *, before: int, limit: int) -> list[Checkpoint]:
    """At most `limit` checkpoints of fewer than `before` entries, the largest first."""
    parameters = {"tenant_id": tenant_id, "before": before, "limit": limit}
    async with pool.connection() as connection:
        async with tenant_scope(connection, tenant_id, read_only=True):
            cursor = await connection.execute(_queries.checkpoints_page, parameters, binary=True)
        return [checkpoint_of(row) for row in await cursor.fetchall()]


async def prove_inclusion(pool: Pool, tenant_id: UUID, seq: int, *, size: int | None) -> InclusionProof:
    """The proof that a transaction is in the checkpoint of `size` entries, in the largest one unless said.

    Raises `NotFound` and `NotCheckpointed`.
    """
    parameters = {"tenant_id": tenant_id, "sizes": [size], "before": 2**63 - 1, "limit": 1}
    query = _queries.checkpoints_page if size is None else _queries.checkpoints
    async with pool.connection() as connection:
        async with tenant_scope(connection, tenant_id, read_only=True):
            cursor = await connection.execute(query, parameters, binary=True)
            entries = {one.seq: one for one in await rows.read_entries(connection, tenant_id, [seq - 1, seq])}
        found = [checkpoint_of(row) for row in await cursor.fetchall()]
        if seq not in entries or not entries[seq].postings:
            raise NotFound(f"there is no transaction {seq}")
        if size is not None and not found:
            raise NotFound(f"there is no checkpoint of {size} entries")
        if not found or found[0].size < seq:
            raise NotCheckpointed(f"no checkpoint covers the entry {seq} yet")
        checkpoint = found[0]
        kept = await read_tiles(connection, tenant_id, tiles.places_for_inclusion(seq - 1, checkpoint.size))
    return InclusionProof(
        tenant=tenant_id,
        sequence=seq,
        entry=canonical(entries[seq]).decode(),
        previous_hash=_previous_hash(tenant_id, entries, seq),
        hash=entries[seq].hash,
        proof=_proved(partial(inclusion_proof, seq - 1, checkpoint.size), kept),
        checkpoint=checkpoint.note,
        trial_balance=checkpoint.trial_balance,
    )


async def prove_consistency(pool: Pool, tenant_id: UUID, *, older: int, newer: int) -> ConsistencyProof:
    """The proof that leads from the tree of `older` entries to the checkpoint of `newer` entries.

    A checkpoint of `older` entries need not be kept. Raises `InvalidField`, `NotFound` and `NotCheckpointed`.
    """
    if older > newer:
        raise InvalidField("send the smaller checkpoint as from and the larger one as to")
    parameters = {"tenant_id": tenant_id, "sizes": [older, newer]}
    async with pool.connection() as connection:
        async with tenant_scope(connection, tenant_id, read_only=True):
            cursor = await connection.execute(_queries.checkpoints, parameters, binary=True)
        found = {checkpoint.size: checkpoint for checkpoint in map(checkpoint_of, await cursor.fetchall())}
        if newer not in found:
            raise NotFound(f"there is no checkpoint of {newer} entries")
        kept = await read_tiles(connection, tenant_id, tiles.places_for_consistency(older, newer))
    return ConsistencyProof(
        tenant=tenant_id,
        proof=_proved(partial(consistency_proof, older, newer), kept),
        older=found[older].note if older in found else UNSET,
        newer=found[newer].note,
    )


async def read_tiles(connection: Connection, tenant_id: UUID, places: Collection[Place]) -> dict[Place, bytes]:
    """The tiles at these places, in a scope of their own."""
    async with tenant_scope(connection, tenant_id, read_only=True):
        cursor = await connection.execute(_queries.tiles, tile_parameters(tenant_id, places), binary=True)
    return {(level, index): hashes for level, index, hashes in await cursor.fetchall()}


def tile_parameters(tenant_id: UUID, places: Collection[Place]) -> dict[str, object]:
    """The parameters of `tiles`."""
    levels, indexes = [level for level, _ in places], [index for _, index in places]
    return {"tenant_id": tenant_id, "levels": levels, "indexes": indexes}


def _proved(prove: Callable[[Nodes], list[bytes]], kept: Mapping[Place, bytes]) -> list[bytes]:
    try:
        return prove(tiles.nodes_in(kept))
    except LookupError:
        raise NotCheckpointed("the tree is being computed anew") from None


def _previous_hash(tenant_id: UUID, entries: Mapping[int, Entry], seq: int) -> bytes:
    return genesis(tenant_id) if seq == 1 else entries[seq - 1].hash


def checkpoint_of(row: rows.Row) -> Checkpoint:
    """A checkpoint from a row of the columns of `checkpoints`."""
    size, root, signed_at, note, trial_balance, verifier_keys = row
    return Checkpoint(
        size=size,
        root=root,
        signed_at=signed_at,
        note=note,
        trial_balance=msgspec.json.decode(trial_balance, type=BalanceStatement),
        verifier_keys=tuple(verifier_keys),
    )


def encode_statement(statement: BalanceStatement) -> str:
    """The canonical text of a trial balance."""
    return _encode(statement).decode()


def decode_lines(text: str) -> tuple[BalanceLine, ...]:
    """The lines of a trial balance as `encode_lines` wrote them."""
    return msgspec.json.decode(text, type=tuple[BalanceLine, ...])


def encode_lines(lines: Sequence[BalanceLine]) -> str:
    """Lines of a trial balance as a tree keeps them."""
    return _encode(lines).decode()
