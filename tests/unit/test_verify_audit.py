"""The audit: every way in which a stored journal can be wrong is found, and named by its entry."""

from collections.abc import Callable

import msgspec
import pytest

from ledgerx.commands import Direction, Hold, Line, Post, Release
from ledgerx.findings import Finding
from ledgerx.journal import Entry, chain
from ledgerx.state import POSTINGS_PER_MARK, Sums
from ledgerx.verify import Audit
from tests.commands import envelope, opening, transfer
from tests.unit.memory_ledger import TENANT, MemoryLedger


@pytest.fixture
def ledger() -> MemoryLedger:
    """Two accounts, then three transactions: entries 1 to 5."""
    ledger = MemoryLedger()
    posted = [transfer(f"{number}", debit="a", credit="b", category="c") for number in range(3)]
    ledger.run([opening("a"), opening("b"), *posted])
    return ledger


def audited(entries: list[Entry], head: Entry) -> Audit:
    audit = Audit(TENANT)
    for entry in entries:
        audit.feed(entry)
    audit.finish(head.seq, head.hash)
    return audit


def test_a_sound_journal_has_no_findings(ledger: MemoryLedger) -> None:
    audit = audited(ledger.entries, ledger.entries[-1])
    assert audit.findings == []
    assert (audit.entries, audit.transactions, audit.postings) == (5, 3, 6)
    assert audit.sums == {1: Sums(300), 2: Sums(-300)}


def _with_lines(amount: int) -> Callable[[Entry], Entry]:
    def change(entry: Entry) -> Entry:
        first, *others = entry.postings
        return msgspec.structs.replace(entry, postings=(msgspec.structs.replace(first, amount=amount), *others))

    return change


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (_with_lines(101), "hash does not match"),
        (_with_lines(101), "debits and credits differ"),
        (lambda entry: msgspec.structs.replace(entry, actor="you"), "hash does not match"),
        (lambda entry: msgspec.structs.replace(entry, hash=bytes(32)), "hash does not match"),
        (lambda entry: msgspec.structs.replace(entry, category="d"), "do not match their hash"),
        (lambda entry: msgspec.structs.replace(entry, metadata="{}"), "do not match their hash"),
    ],
)
def test_a_changed_entry_is_the_first_finding(
    ledger: MemoryLedger, change: Callable[[Entry], Entry], found: str
) -> None:
    entries = [change(entry) if entry.seq == 4 else entry for entry in ledger.entries]
    findings = audited(entries, ledger.entries[-1]).findings
    assert findings[0].seq == 4
    assert any(found in finding.what for finding in findings if finding.seq == 4)


def test_an_entry_that_was_chained_anew_breaks_the_next(ledger: MemoryLedger) -> None:
    entries = list(ledger.entries)
    changed = msgspec.structs.replace(entries[3], actor="you")
    entries[3] = msgspec.structs.replace(changed, hash=chain(entries[2].hash, changed))
    assert audited(entries, ledger.entries[-1]).findings[0].seq == 5


@pytest.mark.parametrize("missing", [1, 3, 5])
def test_a_missing_entry_is_found(ledger: MemoryLedger, missing: int) -> None:
    entries = [entry for entry in ledger.entries if entry.seq != missing]
    assert audited(entries, ledger.entries[-1]).findings[0] == Finding(missing, f"entry {missing} is missing")


def test_a_head_that_is_not_the_last_entrys_is_found(ledger: MemoryLedger) -> None:
    head = msgspec.structs.replace(ledger.entries[-1], hash=bytes(32))
    assert "the journal's head" in audited(ledger.entries, head).findings[0].what


def test_kept_sums_are_compared_account_by_account(ledger: MemoryLedger) -> None:
    audit = audited(ledger.entries, ledger.entries[-1])
    audit.compare_sums("sums", {1: Sums(300), 2: Sums(-300)})
    audit.compare_some_sums("sums", {2: Sums(-300)})
    assert audit.findings == []
    audit.compare_sums("sums", {1: Sums(300), 2: Sums(-299)})
    audit.compare_sums("sums", {1: Sums(300)})
    audit.compare_some_sums("sums", {1: Sums(0, 300)})
    assert [finding.what.split()[3] for finding in audit.findings] == ["2", "2", "1"]


def test_kept_counts_are_compared_account_by_account(ledger: MemoryLedger) -> None:
    audit = audited(ledger.entries, ledger.entries[-1])
    audit.compare_counts({1: 3, 2: 3})
    assert audit.findings == []
    audit.compare_counts({1: 3, 2: 4})
    audit.compare_counts({2: 3})
    assert [finding.what.split()[4] for finding in audit.findings] == ["2", "1"]


def test_a_mark_stands_at_every_thousandth_posting_of_an_account() -> None:
    ledger = MemoryLedger()
    lines = tuple(Line("a", direction, "1") for direction in Direction for _ in range(300))
    ledger.run([opening("a"), *(Post(lines=lines, **envelope(f"{number}")) for number in range(4))])
    audit = audited(ledger.entries, ledger.entries[-1])
    # 600 lines an entry, 300 debits first: the 1,000th line is the 400th of the second transaction.
    assert audit.marks == {
        (1, 3, 399): (POSTINGS_PER_MARK, Sums(200 * 100)),
        (1, 5, 199): (2 * POSTINGS_PER_MARK, Sums(200 * 100)),
    }
    audit.compare_marks(audit.marks)
    assert audit.findings == []
    audit.compare_marks({(1, 3, 399): (POSTINGS_PER_MARK, Sums())})
    assert [finding.seq for finding in audit.findings] == [3, 5]


def test_findings_are_bounded(ledger: MemoryLedger) -> None:
    audit = audited(ledger.entries, ledger.entries[-1])
    audit.compare_some_sums("sums", {account: Sums(1) for account in range(1_000)})
    assert len(audit.findings) == 100


def test_holds_are_followed_to_their_end(ledger: MemoryLedger) -> None:
    lines = transfer("", debit="a", credit="b").lines
    ledger.run([Hold(lines=lines, **envelope(f"h{number}")) for number in range(2)])
    ledger.run([Release(target=6, **envelope("r"))])
    audit = audited(ledger.entries, ledger.entries[-1])
    audit.compare_holds([7])
    assert audit.findings == []
    audit.compare_holds([6])
    assert [finding.seq for finding in audit.findings] == [6, 7]


def test_a_hold_that_is_resolved_twice_is_found(ledger: MemoryLedger) -> None:
    lines = transfer("", debit="a", credit="b").lines
    ledger.run([Hold(lines=lines, **envelope("h")), Release(target=6, **envelope("r"))])
    again = msgspec.structs.replace(ledger.entries[-1], seq=8)
    again = msgspec.structs.replace(again, hash=chain(ledger.entries[-1].hash, again))
    audit = audited([*ledger.entries, again], again)
    assert audit.findings == [Finding(8, "6 is no open hold")]
