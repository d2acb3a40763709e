"""A journal in a file: what was tampered with is found, and what is no journal is refused."""

import io
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ledgerx import events, journal_file
from ledgerx.journal import chain, genesis
from ledgerx.journal_file import JournalFileHead, NotAJournalFileError, verify_file
from ledgerx.verify import Report
from tests.commands import opening, transfer
from tests.unit.memory_ledger import NOON, TENANT, MemoryLedger

Lines = list[dict[str, Any]]


@pytest.fixture
def lines() -> Lines:
    """The lines of a file: two accounts, then three transactions: entries 1 to 5 on lines 2 to 6."""
    ledger = MemoryLedger()
    posted = [transfer(f"{n}", debit="a", credit="b", metadata='{"a":1,"ö":[]}', effective_at=NOON) for n in range(3)]
    ledger.run([opening("a"), opening("b", min_balance="0"), *posted])
    head = JournalFileHead(tenant=TENANT, last=5, hash=ledger.head.hash, recorded_at=NOON)
    return [json.loads(msgspec.json.encode(one)) for one in (head, *map(events.record, ledger.entries))]


def text(lines: Lines) -> bytes:
    return "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines).encode()


def report_of(lines: Lines) -> Report:
    return verify_file(io.BytesIO(text(lines)))


def test_a_sound_file_is_counted(lines: Lines) -> None:
    seen: list[tuple[int, int]] = []
    report = verify_file(io.BytesIO(text(lines)), progress=lambda done, total: seen.append((done, total)))
    assert report.ok
    assert (report.tenant_id, report.entries, report.transactions, report.postings) == (TENANT, 5, 3, 6)
    assert (report.head, report.projections) == (5, {})
    assert seen[-1] == (5, 5)


def test_an_empty_journal_is_sound() -> None:
    head = JournalFileHead(tenant=TENANT, last=0, hash=genesis(TENANT), recorded_at=NOON)
    assert verify_file(io.BytesIO(msgspec.json.encode(head) + b"\n")).ok


def swapped(lines: Lines) -> None:
    lines[4], lines[5] = lines[5], lines[4]


def forged(lines: Lines) -> None:
    """An entry chained anew, as somebody does who knows the format but cannot change what follows."""
    record = lines[4] | {"actor": "you"}
    entry = events.entry(msgspec.json.decode(json.dumps(record), type=events.EntryRecord))
    before = msgspec.json.decode(json.dumps(lines[3]["hash"]), type=bytes)
    lines[4] = record | {"hash": json.loads(msgspec.json.encode(chain(before, entry)))}


@pytest.mark.parametrize(
    ("tamper", "seq"),
    [
        (lambda lines: lines[4]["postings"][0].update(amount="200"), 4),
        (lambda lines: lines[4]["postings"][0].update(account="b"), 4),
        (lambda lines: lines[4]["postings"][0].update(asset="EUR"), 4),
        (lambda lines: [line.update(asset="EUR") for line in lines[4]["postings"]], 4),
        (lambda lines: lines[4]["postings"][0].update(scale=3), 4),
        (lambda lines: lines[4]["postings"][0].update(account_id=2), 4),
        (lambda lines: lines[4]["postings"].reverse(), 4),
        (lambda lines: lines[4].update(postings=[]), 4),
        (lambda lines: lines[4].update(actor="you"), 4),
        (lambda lines: lines[4].update(metadata={"a": 2}), 4),
        (lambda lines: lines[4].update(effective_at="2026-01-01T12:00:00.000001Z"), 4),
        (lambda lines: lines[2]["change"].update(min_balance="-5"), 2),
        (lambda lines: lines[2]["change"].update(asset="EUR"), 2),
        (forged, 5),
        (swapped, 4),
        (lambda lines: lines.insert(4, lines[4]), 4),
        (lambda lines: lines.pop(4), 4),
        (lambda lines: lines.pop(), 5),
        (lambda lines: lines[0].update(last=6), 6),
        (lambda lines: lines[0].update(hash=lines[4]["hash"]), None),
        (lambda lines: lines[0].update(tenant="0198c0de-0000-7000-8000-000000000002"), 1),
    ],
)
def test_tampering_is_found_where_it_was_done(lines: Lines, tamper: Callable[[Lines], object], seq: int | None) -> None:
    tamper(lines)
    report = report_of(lines)
    assert not report.ok
    assert report.findings[0].seq == seq


def test_an_amount_that_is_no_number_ends_the_journal_before_it(lines: Lines) -> None:
    lines[4]["postings"][0]["amount"] = "much"
    report = report_of(lines)
    assert report.entries == 3
    assert report.findings[0].what.startswith("line 5 cannot be read")


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\n",
        b"[]\n",
        b"{}\n",
        b"\xff\n",
        b'{"seq":5',
        b'{"seq":5,"kind":"post","recorded_at":"2026-01-01T12:00:00","actor":"a","hash":""}\n',
        b'{"seq":5,"kind":"nothing","recorded_at":"2026-01-01T12:00:00Z","actor":"a","hash":""}\n',
        b'{"seq":5,"kind":"post","recorded_at":"2026-01-01T12:00:00Z","actor":"a","hash":"","postings":[{"amount":1}]}\n',
    ],
)
def test_a_line_that_cannot_be_read_ends_the_journal_before_it(lines: Lines, damaged: bytes) -> None:
    report = verify_file(io.BytesIO(text(lines[:5]) + damaged))
    assert report.entries == 4
    found = [finding.what for finding in report.findings]
    assert "entry 5 is missing" in found
    assert damaged == b"" or found[0].startswith("line 6 cannot be read")


def test_no_line_is_read_beyond_its_limit(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "MAX_LINE_BYTES", 1_000)
    lines[4]["description"] = "x" * 2_000
    assert report_of(lines).findings[0].what.startswith("line 5 cannot be read")


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"format":"other"}', b"\x1f\x8b", b'{"format":"ledgerx.journal","version":2,"tenant":""}'],
)
def test_what_is_no_file_of_a_journal_is_refused(content: bytes) -> None:
    with pytest.raises(NotAJournalFileError, match="not a file of a journal"):
        verify_file(io.BytesIO(content))


def test_an_encoding_of_another_version_is_refused(lines: Lines) -> None:
    lines[0]["encoding"] += 1
    with pytest.raises(NotAJournalFileError, match="its encoding is version"):
        report_of(lines)
