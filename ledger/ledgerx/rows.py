"""Between rows of the journal's tables and the domain's types; the one place that knows both."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from ledgerx.commands import (
    AccountCommand,
    Amend,
    AnyCommand,
    AssetCommand,
    CategoryCommand,
    ChangeSettings,
    CloseAccount,
    OpenAccount,
    TargetCommand,
    Transact,
    UpdateAccount,
)
from ledgerx.database import Connection, Queries, integer_arrays
from ledgerx.journal import AccountState, AccountStatus, AccountType, Entry, Kind, Layer, Posting, decode_change
from ledgerx.metadata import searchable
from ledgerx.state import Account, Asset, Category, Registry, Sums

_queries = Queries("ledgerx", "sql/reading.sql")
_encode = msgspec.json.Encoder().encode

Row = Sequence[Any]
# Comes after every entry.
LATEST = 2**63 - 1
# Subject, key, value, and the number of the transaction or the account.
Term = tuple[str, str, str, int]
ACCOUNT_TERM = "account"
# A look-up takes a tenth of the time of a call of the enumeration, and there are several to a row.
_KINDS = {one.value: one for one in Kind}
_LAYERS = {one.value: one for one in Layer}
_TYPES = {one.value: one for one in AccountType}
_STATUSES = {one.value: one for one in AccountStatus}


def codes_of(commands: Iterable[AnyCommand]) -> list[str]:
    """The account codes that commands touch, sorted, each once."""
    codes: set[str] = set()
    for command in commands:
        if isinstance(command, Transact):
            codes.update([line.account for line in getattr(command, "lines", None) or ()], command.if_versions)
        elif isinstance(command, AccountCommand):
            codes.add(command.code)
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


def asset_codes_of(commands: Sequence[AnyCommand]) -> list[str]:
    """The assets that commands are about, sorted, each once."""
    opened = {command.asset for command in commands if isinstance(command, OpenAccount)}
    return sorted(opened.union(command.code for command in commands if isinstance(command, AssetCommand)))


def category_codes_of(commands: Sequence[AnyCommand], *, strict: bool) -> list[str]:
    """The categories that commands change, and those that they use where categories are or become `strict`."""
    others = [command for command in commands if not isinstance(command, Transact)]
    codes = {command.code for command in others if isinstance(command, CategoryCommand)}
    if strict or any(isinstance(command, ChangeSettings) for command in others):
        given = (command.category for command in commands if isinstance(command, Transact | Amend))
        codes.update(category for category in given if isinstance(category, str))
    return sorted(codes)


def registry(row: Row) -> Registry:
    """What the head says of registries and settings."""
    return Registry(assets=row[0], categories=row[1], strict_categories=row[2], settings_seq=row[3])


def assets(found: Iterable[Row]) -> tuple[dict[str, Asset], dict[str, int]]:
    """From the rows of `load_assets` the registered assets, and the scales of those that accounts hold."""
    registered, scales = {}, {}
    for code, scale, name, seq, held_scale in found:
        if seq is not None:
            registered[code] = Asset(code=code, scale=scale, name=name, seq=seq)
        if held_scale is not None:
            scales[code] = held_scale
    return registered, scales


def category(row: Row) -> Category:
    """A category from a row of its columns."""
    return Category(code=row[0], name=row[1], description=row[2], seq=row[3])


def registered_columns(
    kind: type[Asset | Category], changed: Mapping[str, Asset | Category | None]
) -> dict[str, list[Any]]:
    """The columns of `upsert_assets` or `upsert_categories`."""
    kept = [one for one in changed.values() if one is not None]
    return {name: [getattr(one, name) for one in kept] for name in kind.__struct_fields__}


def deleted(changed: Mapping[str, Asset | Category | None]) -> list[str]:
    """The codes of what is not registered any more."""
    return [code for code, one in changed.items() if one is None]


def account(row: Row) -> Account:
    """An account from a row that begins with the columns of `load_accounts`."""
    return Account(
        account_id=row[0],
        code=row[1],
        asset=row[2],
        scale=row[3],
        type=_TYPES[row[4]],
        status=_STATUSES[row[5]],
        min_balance=None if row[6] is None else int(row[6]),
        max_balance=None if row[7] is None else int(row[7]),
        seq=row[8],
        owner=row[9],
    )


def sums(posted: Any, pending_debit: Any, pending_credit: Any) -> Sums:
    """Sums from three numerics."""
    return Sums(int(posted), int(pending_debit), int(pending_credit))


async def read_entries(
    connection: Connection, tenant_id: UUID, seqs: Sequence[int], *, owner: str | None = None
) -> list[Entry]:
    """The entries with these numbers, rising. `connection` stands in the tenant's scope.

    With an `owner` they have the postings of that owner's accounts only.
    """
    parameters = {"tenant_id": tenant_id, "seqs": list(seqs), "owner": owner}
    entries_cursor = await connection.execute(_queries.entries, parameters, binary=True)
    postings_cursor = await connection.execute(_queries.postings, parameters, binary=True)
    postings: dict[int, list[Posting]] = {}
    for seq, code, account_id, asset, scale, amount, layer in await postings_cursor.fetchall():
        postings.setdefault(seq, []).append(Posting(code, account_id, asset, scale, int(amount), _LAYERS[layer]))
    return [_entry(row, tuple(postings.get(row[0], ()))) for row in await entries_cursor.fetchall()]


async def read_amended(
    connection: Connection,
    tenant_id: UUID,
    seqs: Sequence[int],
    *,
    owner: str | None = None,
    known: int = LATEST,
) -> list[Entry]:
    """Like `read_entries`, with the annotations that the latest amendment of each left, up to the entry `known`."""
    amended_cursor = await connection.execute(
        _queries.amendments, {"tenant_id": tenant_id, "seqs": list(seqs), "known": known}, binary=True
    )
    entries = await read_entries(connection, tenant_id, seqs, owner=owner)
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
        kind=_KINDS[row[3]],
        actor=row[4],
        idempotency_key=row[5],
        fingerprint=row[6],
        reference=row[7],
        category=row[8],
        description=row[9],
        metadata=row[10],
        annotations_hash=row[11],
        change=None if row[12] is None else decode_change(_KINDS[row[3]], row[12]),
        hash=row[13],
        target_seq=row[14],
        expires_at=row[15],
        postings=postings,
    )


def entry_columns(entries: Sequence[Entry]) -> dict[str, list[Any] | None]:
    """The columns of `append` for entries; None for one that is null throughout, which `unnest` fills up likewise."""
    columns: dict[str, list[Any]] = {
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
    return {name: None if column.count(None) == len(column) else column for name, column in columns.items()}


def posting_columns(entries: Sequence[Entry]) -> dict[str, Any]:
    """The columns of `append` for postings."""
    lines = [
        (entry.seq, line.account_id, number, line.layer.value, line.amount)
        for entry in entries
        for number, line in enumerate(entry.postings)
    ]
    names = ("posting_seq", "account_id", "line", "layer", "amount")
    dated = [entry.effective_at for entry in entries for _ in entry.postings]
    return integer_arrays(names, lines) | {"posting_effective_at": dated if any(dated) else None}


def search_columns(entries: Iterable[Entry]) -> dict[str, list[Any]]:
    """The columns of `insert_search_terms`; none where the entries bring no terms."""
    terms: dict[Term, None] = {}
    for entry in entries:
        if entry.metadata is None and entry.target_seq is None:
            continue
        if entry.change is None:
            # An entry that is no amendment may have a target that its metadata says nothing about.
            target_seq = entry.target_seq if entry.kind is Kind.AMEND else None
            terms.update(dict.fromkeys(transaction_terms(entry.seq, target_seq, entry.category, entry.metadata)))
        elif isinstance(entry.change, AccountState):
            terms.update(dict.fromkeys(account_terms(entry.change.account_id, entry.metadata)))
    return term_columns(terms)


def term_columns(terms: Iterable[Term]) -> dict[str, list[Any]]:
    """The columns of `insert_search_terms` for terms."""
    listed = list(terms)
    names = ("subject", "key", "value", "seq")
    return {name: [term[number] for term in listed] for number, name in enumerate(names)}


def account_terms(account_id: int, metadata: str | None) -> list[Term]:
    """What an account with this metadata can be found by."""
    return [(ACCOUNT_TERM, *member, account_id) for member in searchable(metadata)]


def transaction_terms(seq: int, amended_seq: int | None, category: str | None, metadata: str | None) -> list[Term]:
    """What a transaction can be found by, or `amended_seq` by what the amendment `seq` of it says."""
    terms: list[Term] = [("transaction", *member, amended_seq or seq) for member in searchable(metadata)]
    if amended_seq is not None and category is not None:
        terms.append(("category", "", category, amended_seq))
    return terms


def account_columns(accounts: Iterable[Account], entries: Iterable[Entry]) -> dict[str, list[Any]]:
    """The columns of `upsert_accounts`, of which `metadata` is null where the batch does not set it.

    An account opened in the batch has its opening entry among `entries`; of an older one the update leaves `opened_at`
    alone, so the time of any entry will do.
    """
    changes = [(entry, entry.change) for entry in entries if isinstance(entry.change, AccountState)]
    metadata = {change.account_id: entry.metadata for entry, change in changes if entry.metadata is not None}
    by_seq = {entry.seq: entry for entry, _ in changes}
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
