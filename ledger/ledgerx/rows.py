"""Between rows of the journal's tables and the domain's types; the one place that knows both."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from ledgerx.commands import AccountCommand, AnyCommand, CloseAccount, TargetCommand, Transact, UpdateAccount
from ledgerx.database import Connection, Queries
from ledgerx.journal import AccountState, AccountStatus, AccountType, Entry, Kind, Layer, Posting
from ledgerx.metadata import searchable
from ledgerx.state import Account, Sums

_queries = Queries("ledgerx", "sql/reading.sql")
_decode_change = msgspec.json.Decoder(AccountState).decode
_encode = msgspec.json.Encoder().encode

Row = Sequence[Any]
# Comes after every entry.
LATEST = 2**63 - 1


def codes_of(commands: Iterable[AnyCommand]) -> list[str]:
    """The account codes that commands touch, sorted, each once."""
    codes: set[str] = set()
    for command in commands:
        if isinstance(command, AccountCommand):
            codes.add(command.code)
        elif isinstance(command, Transact):
            codes.update([line.account for line in getattr(command, "lines", None) or ()], command.if_versions)
    return sorted(codes)


def targets_of(commands: Iterable[AnyCommand]) -> list[int]:
    """The numbers of the transactions that commands are about, rising, each once."""
    return sorted({command.target for command in commands if isinstance(command, TargetCommand)})


def versioned_codes_of(commands: Iterable[AnyCommand]) -> list[str]:
    """The codes of the accounts that commands want at a version, sorted, each once."""
    return sorted({code for command in commands if isinstance(command, Transact) for code in command.if_versions})


def weighed_codes_of(commands: Iterable[AnyCommand]) -> list[str]:
    """The codes of accounts whose sums a command needs although the engine may keep none of them."""
    return sorted({command.code for command in commands if isinstance(command, CloseAccount | UpdateAccount)})


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
        owner=row[9],
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


async def read_amended(
    connection: Connection, tenant_id: UUID, seqs: Sequence[int], *, known: int = LATEST
) -> list[Entry]:
    """Like `read_entries`, with the annotations that the latest amendment of each left, up to the entry `known`."""
    amended_cursor = await connection.execute(
        _queries.amendments, {"tenant_id": tenant_id, "seqs": list(seqs), "known": known}, binary=True
    )
    entries = await read_entries(connection, tenant_id, seqs)
    amended = {row[0]: row[1:] for row in await amended_cursor.fetchall()}
    return [_amended(entry, amended.get(entry.seq)) for entry in entries]


def _amended(entry: Entry, annotations: Row | None) -> Entry:
    if annotations is None:
        return entry
    category, description, metadata = annotations
    return msgspec.structs.replace(entry, category=category, description=description, metadata=metadata)


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
        target_seq=row[14],
        expires_at=row[15],
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
        "target_seq": [entry.target_seq for entry in entries],
        "expires_at": [entry.expires_at for entry in entries],
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


def search_columns(entries: Iterable[Entry]) -> dict[str, list[Any]]:
    """The columns of `insert_search_terms`; none where the entries bring no terms."""
    terms: dict[tuple[str, str, str, int], None] = {}
    for entry in entries:
        if entry.metadata is None and entry.kind is not Kind.AMEND:
            continue
        subject, seq = "transaction", entry.target_seq if entry.kind is Kind.AMEND else entry.seq
        if entry.change is not None:
            subject, seq = "account", entry.change.account_id
        terms.update({(subject, *member, seq or 0): None for member in searchable(entry.metadata)})
        if entry.kind is Kind.AMEND and entry.category is not None:
            terms["category", "", entry.category, seq or 0] = None
    names = ("subject", "key", "value", "seq")
    return {name: [term[number] for term in terms] for number, name in enumerate(names)}


def account_columns(accounts: Iterable[Account], entries: Iterable[Entry]) -> dict[str, list[Any]]:
    """The columns of `upsert_accounts`, of which `metadata` is null where the batch does not set it.

    An account opened in the batch has its opening entry among `entries`; of an older one the update leaves `opened_at`
    alone, so the time of any entry will do.
    """
    changes = [entry for entry in entries if entry.change is not None]
    metadata = {
        entry.change.account_id: entry.metadata for entry in changes if entry.change and entry.metadata is not None
    }
    by_seq = {entry.seq: entry for entry in changes}
    ordered = sorted(accounts, key=lambda account: account.account_id)
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
        "owner": [account.owner for account in ordered],
        "metadata": [metadata.get(account.account_id) for account in ordered],
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
