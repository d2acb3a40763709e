"""Marks: what an account's sums were at every 1,000th of its postings, so that its past is never far from one."""

from collections.abc import Iterable, Mapping

import msgspec

from ledgerx.events import EntryRecord
from ledgerx.state import POSTINGS_PER_MARK, Sums


class Tail(msgspec.Struct, frozen=True, gc=False):
    """An account's sums, and how many postings they are the sums of."""

    postings: int
    sums: Sums


class Mark(msgspec.Struct, frozen=True, gc=False):
    """An account's tail just after its posting at (`seq`, `line`)."""

    account_id: int
    seq: int
    line: int
    postings: int
    posted: int
    pending_debit: int
    pending_credit: int


def marks(tails: Mapping[int, Tail], entries: Iterable[EntryRecord]) -> list[Mark]:
    """The marks passed in `entries` by those accounts, by id, whose `tails` before them are given."""
    passed: list[Mark] = []
    extended = dict(tails)
    for entry in entries:
        for number, line in enumerate(entry.postings):
            account_id = line.account_id
            if account_id not in extended:
                continue
            postings = extended[account_id].postings + 1
            sums = extended[account_id].sums.plus(line.layer, int(line.amount))
            extended[account_id] = Tail(postings, sums)
            if postings % POSTINGS_PER_MARK == 0:
                passed.append(
                    Mark(account_id, entry.seq, number, postings, sums.posted, sums.pending_debit, sums.pending_credit)
                )
    return passed
