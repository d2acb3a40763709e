"""Journal messages: what the outbox holds and Kafka carries."""

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerx import events
from ledgerx.commands import AnyCommand
from ledgerx.events import MAX_PAYLOAD_BYTES, Chunk
from ledgerx.journal import Entry, genesis
from tests.commands import opening, transfer
from tests.unit.memory_ledger import NOON, TENANT, MemoryLedger

TEXTS = st.none() | st.text(max_size=40)


def journal(descriptions: list[str | None], amount: str = "1.00") -> list[Entry]:
    ledger = MemoryLedger()
    posted: list[AnyCommand] = [
        transfer(
            f"{number}",
            amount,
            debit="a",
            credit="b",
            description=description,
            effective_at=NOON if number % 2 else None,
            metadata='{"ö":[1,null]}' if number % 3 else None,
        )
        for number, description in enumerate(descriptions)
    ]
    ledger.run([opening("a"), opening("b"), *posted])
    return ledger.entries


def chunks_of(entries: list[Entry], **options: Any) -> list[Chunk]:
    return list(events.chunks(TENANT, genesis(TENANT), entries, **options))


@given(st.lists(TEXTS, max_size=12), st.integers(700, 3_000))
def test_messages_bring_back_every_entry_in_order(descriptions: list[str | None], max_bytes: int) -> None:
    entries = journal(descriptions)
    messages = [events.decode(chunk.payload.encode()) for chunk in chunks_of(entries, max_bytes=max_bytes)]
    assert [events.entry(record) for message in messages for record in message.entries] == entries


@given(st.lists(TEXTS, max_size=12), st.integers(700, 3_000))
def test_messages_join_seamlessly(descriptions: list[str | None], max_bytes: int) -> None:
    entries = journal(descriptions)
    chunks = chunks_of(entries, max_bytes=max_bytes)
    messages = [events.decode(chunk.payload.encode()) for chunk in chunks]
    assert messages[0].previous_hash == genesis(TENANT)
    assert messages[-1].hash == entries[-1].hash
    assert all(one.hash == two.previous_hash and one.last + 1 == two.first for one, two in pairwise(messages))
    for chunk, message in zip(chunks, messages, strict=True):
        assert (chunk.first, chunk.last) == (message.first, message.last)
        assert [record.seq for record in message.entries] == list(range(message.first, message.last + 1))
        assert message.hash == message.entries[-1].hash


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=200), max_size=12), st.integers(1_500, 4_000))
def test_no_payload_is_larger_than_its_limit(descriptions: list[str | None], max_bytes: int) -> None:
    chunks = chunks_of(journal(descriptions), max_bytes=max_bytes)
    assert all(len(chunk.payload.encode()) <= max_bytes for chunk in chunks)


def test_the_largest_transaction_stays_below_the_limit_of_a_message() -> None:
    code = "ö" * 255  # wider than any code that is let in
    line = journal(["d" * 1_000])[-1].postings[0]
    wide = msgspec.structs.replace(line, account=code, amount=10**30 - 1, account_id=2**63 - 1)
    entry = msgspec.structs.replace(
        journal([None])[-1], postings=(wide,) * 1_000, metadata='{"a":"' + "x" * 16_000 + '"}', description="d" * 1_000
    )
    [chunk] = chunks_of([entry])
    assert len(chunk.payload.encode()) < MAX_PAYLOAD_BYTES


def test_nothing_makes_no_message() -> None:
    assert chunks_of([]) == []


def test_an_entry_above_the_limit_stands_alone() -> None:
    entries = journal([None, "x" * 2_000, None])
    chunks = chunks_of(entries, max_bytes=1_500)
    assert any(chunk.first == chunk.last == entries[3].seq for chunk in chunks)
    assert sum(chunk.last - chunk.first + 1 for chunk in chunks) == len(entries)


def test_the_wire_form_is_plain_json_without_absent_fields() -> None:
    message = json.loads(chunks_of(journal([None], amount="12.34"))[0].payload)
    posted = message["entries"][-1]
    assert message["tenant"] == str(TENANT)
    assert posted["postings"][1] == {"account": "b", "account_id": 2, "asset": "USD", "scale": 2, "amount": "-1234"}
    assert posted.keys().isdisjoint({"description", "metadata", "effective_at", "change", "reference"})


@pytest.mark.parametrize("payload", [b"", b"{}", b"null", b'{"tenant":1}', b"\xff"])
def test_anything_else_is_refused(payload: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeError)):
        events.decode(payload)
