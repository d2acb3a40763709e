"""The canonical encoding and the hash chain, against fixed vectors and an implementation of their own."""

import hashlib
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ledgerx.journal import (
    CHANGES as CHANGES_BY_KIND,
)
from ledgerx.journal import (
    AccountState,
    AccountStatus,
    AccountType,
    AssetState,
    CategoryState,
    Change,
    Entry,
    Kind,
    Layer,
    Posting,
    SettingsState,
    annotations_hash,
    canonical,
    chain,
    decode_change,
    genesis,
)

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "journal_vectors.json").read_text())
CHAIN_BREAKING = {
    "seq": 2,
    "kind": Kind.CLOSE_ACCOUNT,
    "recorded_at": datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    "effective_at": datetime(2026, 1, 1, tzinfo=UTC),
    "actor": "somebody",
    "idempotency_key": "other",
    "fingerprint": b"2",
    "reference": "r",
    "annotations_hash": bytes(32),
    "postings": (Posting("a", 1, "USD", 2, 2), Posting("b", 2, "USD", 2, -2)),
    "change": AccountState(
        account="a",
        account_id=1,
        asset="USD",
        max_balance=None,
        min_balance=None,
        scale=2,
        status=AccountStatus.OPEN,
        type=AccountType.ASSET,
    ),
    "target_seq": 1,
    "expires_at": datetime(2026, 1, 1, tzinfo=UTC),
}
ENTRY = Entry(
    seq=1,
    kind=Kind.POST,
    recorded_at=datetime(2026, 1, 1, tzinfo=UTC),
    actor="me",
    idempotency_key="key",
    fingerprint=b"1",
    postings=(Posting("a", 1, "USD", 2, 1), Posting("b", 2, "USD", 2, -1)),
)

# Integers of RFC 8785 have 53 bits, and so have the times of these entries.
INTEGERS = st.integers(1, 2**53 - 1)
TIMES = st.datetimes(datetime(1800, 1, 1), datetime(2250, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
TEXTS = st.text(max_size=20)
LIMITS = st.none() | st.integers(-(10**30), 10**30).map(str)
POSTINGS = st.builds(
    Posting, TEXTS, INTEGERS, TEXTS, st.integers(0, 30), st.integers(-(10**40), 10**40), st.sampled_from(Layer)
)
METADATA = st.dictionaries(TEXTS, TEXTS | st.integers(-(2**50), 2**50), max_size=3).map(
    lambda value: rfc8785.dumps(value).decode()
)
CHANGES: st.SearchStrategy[Change] = st.builds(
    AccountState,
    account_id=INTEGERS,
    scale=st.integers(0, 30),
    min_balance=LIMITS,
    max_balance=LIMITS,
    owner=st.none() | TEXTS,
)
CHANGES |= st.builds(AssetState, name=st.none() | TEXTS, scale=st.integers(0, 18))
CHANGES |= st.builds(CategoryState, name=st.none() | TEXTS, description=st.none() | TEXTS)
CHANGES |= st.builds(SettingsState)
ENTRIES = st.builds(
    Entry,
    seq=INTEGERS,
    recorded_at=TIMES,
    effective_at=st.none() | TIMES,
    target_seq=st.none() | INTEGERS,
    expires_at=st.none() | TIMES,
    metadata=st.none() | METADATA,
    postings=st.lists(POSTINGS, max_size=4).map(tuple),
    change=st.none() | CHANGES,
)


def base64(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode()


def microseconds(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    since: timedelta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def entry_of(fields: dict[str, Any]) -> Entry:
    """The entry of a vector."""
    types = {"kind": Kind, "fingerprint": bytes, "postings": tuple[Posting, ...]}
    types |= dict.fromkeys(("recorded_at", "effective_at", "expires_at"), datetime)
    given: dict[str, Any] = {name: msgspec.convert(value, types.get(name, Any)) for name, value in fields.items()}
    if "change" in given:
        given["change"] = decode_change(given["kind"], json.dumps(given["change"]))
    return Entry(**given)


def fields_of(entry: Entry) -> list[Any]:
    """The array that docs/journal-format.md describes."""
    fields = [
        1,
        entry.seq,
        str(entry.kind),
        microseconds(entry.recorded_at),
        microseconds(entry.effective_at),
        entry.actor,
        entry.idempotency_key,
        base64(entry.fingerprint),
        entry.reference,
        base64(entry.annotations_hash),
        [[line.account, str(line.amount), int(line.layer)] for line in entry.postings],
        None if entry.change is None else msgspec.to_builtins(entry.change),
    ]
    if entry.target_seq is not None or entry.expires_at is not None:
        fields += [entry.target_seq, microseconds(entry.expires_at)]
    return fields


@given(ENTRIES)
def test_the_encoding_is_that_of_rfc_8785(entry: Entry) -> None:
    assert canonical(entry) == rfc8785.dumps(fields_of(entry))


@given(ENTRIES, st.integers(2**53, 2**63 - 1))
def test_larger_integers_are_written_out_as_well(entry: Entry, seq: int) -> None:
    entry = msgspec.structs.replace(entry, seq=seq, effective_at=datetime.max.replace(tzinfo=UTC))
    text = json.dumps(fields_of(entry), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    assert canonical(entry) == text.encode()


@given(st.none() | TEXTS, st.none() | TEXTS, st.none() | METADATA)
def test_annotations_enter_by_the_hash_of_their_canonical_array(
    category: str | None, description: str | None, metadata: str | None
) -> None:
    array = [category, description, None if metadata is None else json.loads(metadata)]
    expected = None if array == [None] * 3 else hashlib.sha256(rfc8785.dumps(array)).digest()
    assert annotations_hash(category, description, metadata) == expected


def test_the_chain_begins_with_a_hash_of_the_tenant() -> None:
    start = VECTORS["genesis"]
    assert genesis(UUID(VECTORS["tenant"])).hex() == start["hash"] == VECTORS["entries"][0]["previous_hash"]
    assert hashlib.sha256(start["text"].encode()).hexdigest() == start["hash"]


@pytest.mark.parametrize("vector", VECTORS["entries"], ids=lambda vector: f"entry {vector['fields']['seq']}")
def test_the_vectors_are_reproduced(vector: dict[str, Any]) -> None:
    given_fields = entry_of(vector["fields"])
    annotations = annotations_hash(given_fields.category, given_fields.description, given_fields.metadata)
    entry = msgspec.structs.replace(given_fields, annotations_hash=annotations)
    assert canonical(entry).decode() == vector["canonical"]
    assert chain(bytes.fromhex(vector["previous_hash"]), entry).hex() == vector["hash"]
    if vector["annotations"] is not None:
        assert annotations == hashlib.sha256(vector["annotations"].encode()).digest()


def test_there_is_a_vector_of_every_change() -> None:
    kinds = {Kind(vector["fields"]["kind"]) for vector in VECTORS["entries"] if "change" in vector["fields"]}
    assert {CHANGES_BY_KIND[kind] for kind in kinds} == set(CHANGES_BY_KIND.values())


@pytest.mark.parametrize(
    ("kind", "text"), [(Kind.POST, "{}"), (Kind.CREATE_ASSET, '{"asset":"A"}'), (Kind.CREATE_ASSET, "x")]
)
def test_a_change_that_is_not_one_of_its_kind_is_refused(kind: Kind, text: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_change(kind, text)


def test_the_vectors_are_one_chain() -> None:
    entries = VECTORS["entries"]
    hashes = [VECTORS["genesis"]["hash"], *(entry["hash"] for entry in entries)]
    assert [entry["previous_hash"] for entry in entries] == hashes[:-1]


@pytest.mark.parametrize("field", CHAIN_BREAKING)
def test_no_immutable_field_changes_unnoticed(field: str) -> None:
    changed = msgspec.structs.replace(ENTRY, **{field: CHAIN_BREAKING[field]})
    assert chain(bytes(32), changed) != chain(bytes(32), ENTRY)
    assert chain(bytes(31) + b"\1", ENTRY) != chain(bytes(32), ENTRY)


def test_annotations_may_be_edited_without_breaking_the_chain() -> None:
    edited = msgspec.structs.replace(ENTRY, category="c", description="d", metadata="{}")
    assert chain(bytes(32), edited) == chain(bytes(32), ENTRY)
