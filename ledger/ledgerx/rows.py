"""Between rows of the journal's tables and the domain's types; the one place that knows both."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from ledgerx.commands import AnyCommand, CloseAccount, LimitAccount, Post
from ledgerx.database import Connection, Queries
from ledgerx.journal import AccountState, AccountStatus, AccountType, Entry, Kind, Layer, Posting
from ledgerx.metadata import searchable
from ledgerx.state import Account, Sums

_queries = Queries("ledgerx", "sql/reading.sql")
_decode_change = msgspec.json.Decoder(AccountState).decode
_encode = msgspec.json.Encoder().encode

Row = Sequence[Any]


def codes_of(commands: Iterable[AnyCommand]) -> list[str]:
    """The account codes that commands touch, sorted, each once."""
    codes: set[str] = set()
    for command in commands:
        if isinstance(command, Post):
            codes.update([line.account for line in command.lines])
        else:
            codes.add(command.code)
    return sorted(codes)


def weighed_codes_of(commands: Iterable[AnyCommand]) -> list[str]:
    """The codes of accounts whose sums a command needs although the engine may keep none of them."""
    return sorted({command.code for command in commands if isinstance(command, CloseAccount | LimitAccount)})


def account(row: Row) -> Account:
    """An account from a row that begins with the columns of `load_accounts`."""
    return Account(
        account_id=row[0],
        code=row[1],
        asset=row[2],
        scale=row[3],
        type=AccountType(row[4]),
        status=AccountStatus(row[5]),
        min_balance=None if row[6] is None else int(row[6]),
        max_balance=None if row[7] is None else int(row[7]),
        seq=row[8],
    )


def sums(posted: Any, pending_debit: Any, pending_credit: Any) -> Sums:
    """Sums from three numerics."""
    return Sums(int(posted), int(pending_debit), int(pending_credit))


async def read_entries(connection: Connection, tenant_id: UUID, seqs: Sequence[int]) -> list[Entry]:
    """The entries with these numbers, rising. `connection` stands in the tenant's scope."""
    parameters = {"tenant_id": tenant_id, "seqs": list(seqs)}
    entries_cursor = await connection.execute(_queries.entries, parameters, binary=True)
    postings_cursor = await connection.execute(_queries.postings, parameters, binary=True)
    postings: dict[int, list[Posting]] = {}
    for seq, code, account_id, asset, scale, amount, layer in await postings_cursor.fetchall():
        postings.setdefault(seq, []).append(Posting(code, account_id, asset, scale, int(amount), Layer(layer)))
    return [_entry(row, tuple(postings.get(row[0], ()))) for row in await entries_cursor.fetchall()]


def _entry(row: Row, postings: tuple[Posting, ...]) -> Entry:
    return Entry(
        seq=row[0],
        recorded_at=row[1],
        effective_at=row[2],
        kind=Kind(row[3]),
        actor=row[4],
        idempotency_key=row[5],
        fingerprint=row[6],
        reference=row[7],
        category=row[8],
        description=row[9],
        metadata=row[10],
        annotations_hash=row[11],
        change=None if row[12] is None else _decode_change(row[12]),
        hash=row[13],
        postings=postings,
    )


def entry_columns(entries: Sequence[Entry]) -> dict[str, list[Any]]:
    """The columns of `append` for entries."""
    return {
        "seq": [entry.seq for entry in entries],
        "recorded_at": [entry.recorded_at for entry in entries],
        "effective_at": [entry.effective_at for entry in entries],
        "kind": [entry.kind.value for entry in entries],
        "actor": [entry.actor for entry in entries],
        "idempotency_key": [entry.idempotency_key for entry in entries],
        "fingerprint": [entry.fingerprint for entry in entries],
        "reference": [entry.reference for entry in entries],
        "category": [entry.category for entry in entries],
        "description": [entry.description for entry in entries],
        "metadata": [entry.metadata for entry in entries],
        "annotations_hash": [entry.annotations_hash for entry in entries],
        "change": [None if entry.change is None else _encode(entry.change).decode() for entry in entries],
        "hash": [entry.hash for entry in entries],
    }


def posting_columns(entries: Sequence[Entry]) -> dict[str, list[Any]]:
    """The columns of `append` for postings."""
    lines = [(entry, number, line) for entry in entries for number, line in enumerate(entry.postings)]
    return {
        "posting_seq": [entry.seq for entry, _, _ in lines],
        "account_id": [line.account_id for _, _, line in lines],
        "line": [number for _, number, _ in lines],
        "layer": [line.layer.value for _, _, line in lines],
        "amount": [line.amount for _, _, line in lines],
        "posting_effective_at": [entry.effective_at for entry, _, _ in lines],
    }


def metadata_columns(entries: Iterable[Entry]) -> dict[str, list[Any]]:
    """The columns of `insert_metadata`."""
    members = [(entry, *member) for entry in entries for member in searchable(entry.metadata)]
    return {
        "is_account": [entry.change is not None for entry, _, _ in members],
        "key": [key for _, key, _ in members],
        "value": [value for _, _, value in members],
        "seq": [entry.seq for entry, _, _ in members],
    }


def account_columns(accounts: Iterable[Account], entries: Iterable[Entry]) -> dict[str, list[Any]]:
    """The columns of `upsert_accounts`; an account opened in the batch has its opening entry among `entries`."""
    by_seq = {entry.seq: entry for entry in entries}
    ordered = sorted(accounts, key=lambda account: account.account_id)
    # On a change of an older account the update leaves these two alone, so any entry will do.
    opening = [by_seq.get(account.account_id, by_seq[account.seq]) for account in ordered]
    return {
        "account_id": [account.account_id for account in ordered],
        "code": [account.code for account in ordered],
        "asset": [account.asset for account in ordered],
        "scale": [account.scale for account in ordered],
        "type": [account.type.value for account in ordered],
        "status": [account.status.value for account in ordered],
        "min_balance": [account.min_balance for account in ordered],
        "max_balance": [account.max_balance for account in ordered],
        "metadata": [entry.metadata for entry in opening],
        "opened_at": [entry.recorded_at for entry in opening],
        "seq": [account.seq for account in ordered],
    }


def sums_columns(kept: Mapping[int, tuple[Sums, int]]) -> dict[str, list[Any]]:
    """The columns of `upsert_guarded`."""
    ordered = sorted(kept.items())
    return {
        "account_id": [account_id for account_id, _ in ordered],
        "posted": [one.posted for _, (one, _) in ordered],
        "pending_debit": [one.pending_debit for _, (one, _) in ordered],
        "pending_credit": [one.pending_credit for _, (one, _) in ordered],
        "seq": [seq for _, (_, seq) in ordered],
    }
