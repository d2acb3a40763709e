"""One batch of commands as one database transaction: lock the head, load, decide, write, commit.

The first statement locks the tenant's head; the loads come after it as statements of their own, because a statement
that locks and loads at once would read a snapshot from before the lock was won. Two round trips in all.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import msgspec
import uuid_utils.compat as uuid_utils

from ledgerx import events, rows
from ledgerx.commands import AnyCommand, Post
from ledgerx.database import Connection, Queries, tenant_scope
from ledgerx.decide import Decision, decide
from ledgerx.errors import NotFound, TenantSuspended
from ledgerx.journal import Entry, Kind
from ledgerx.outcomes import Outcome
from ledgerx.state import Account, Asset, Category, Head, KnownKey, State, Sums, Target

T = TypeVar("T")
LARGE = 1_000

_queries = Queries("ledgerx", "sql/posting.sql")
_reading = Queries("ledgerx", "sql/reading.sql")
_registries = Queries("ledgerx", "sql/registries.sql")


async def run_batch(
    connection: Connection,
    tenant_id: UUID,
    commands: Sequence[AnyCommand],
    *,
    clock: Callable[[], datetime],
    atomic: bool = False,
    max_accounts: int | None = None,
) -> Sequence[Outcome]:
    """Decide and durably record `commands`, of an `atomic` batch all or none; their outcomes are true on return.

    No more accounts are opened than `max_accounts` of the tenant, or than its own limit; None is no limit.

    Raises `NotFound` for an unknown tenant, `TenantSuspended`, and `psycopg.Error`; after an error of the connection
    nobody knows whether the batch was committed, and running the same commands again settles it.
    """
    async with tenant_scope(connection, tenant_id):
        state = await _load(connection, tenant_id, commands, _queries.lock_head, max_accounts)
        decision = await _computed(len(commands), partial(decide, state, commands, clock(), atomic=atomic))
        if decision.entries:
            await _write(connection, tenant_id, state, decision, commands[0].traceparent)
    return decision.outcomes


async def try_batch(
    connection: Connection,
    tenant_id: UUID,
    commands: Sequence[AnyCommand],
    *,
    clock: Callable[[], datetime],
    atomic: bool = False,
    max_accounts: int | None = None,
) -> Sequence[Outcome]:
    """What `run_batch` would come to if nobody else wrote; nothing is locked or written, and no key is looked up."""
    async with tenant_scope(connection, tenant_id, snapshot=True):
        state = await _load(connection, tenant_id, commands, _queries.look_at_head, max_accounts, keys=False)
    decision = await _computed(len(commands), partial(decide, state, commands, clock(), atomic=atomic))
    return decision.outcomes


def append_parameters(
    tenant_id: UUID, previous_hash: bytes, entries: Sequence[Entry], traceparent: str | None
) -> dict[str, Any]:
    """The parameters of `append`, but the tenant's id, for entries that follow one with `previous_hash`."""
    chunks = list(events.chunks(tenant_id, previous_hash, entries))
    return {
        **rows.entry_columns(entries),
        **rows.posting_columns(entries),
        "aggregatetype": events.AGGREGATE_JOURNAL,
        "type": events.ENTRIES_RECORDED,
        "traceparent": traceparent,
        "outbox_id": [uuid_utils.uuid7() for _ in chunks],
        "payload": [chunk.payload for chunk in chunks],
        "first_seq": [chunk.first for chunk in chunks],
        "last_seq": [chunk.last for chunk in chunks],
        "head_seq": entries[-1].seq,
        "head_hash": entries[-1].hash,
        "head_recorded_at": entries[-1].recorded_at,
    }


async def _computed(size: int, function: Callable[[], T]) -> T:
    """What a pure function comes to; in a thread where it is about more than `LARGE`: the loop has others to serve."""
    return function() if size <= LARGE else await asyncio.to_thread(function)


async def _load(
    connection: Connection,
    tenant_id: UUID,
    commands: Sequence[AnyCommand],
    head_query: Any,
    max_accounts: int | None,
    *,
    keys: bool = True,
) -> State:
    async def run(query: Any, **parameters: Any) -> Any:
        return await connection.execute(query, {"tenant_id": tenant_id, **parameters}, binary=True)

    async def run_for(query: Any, name: str, wanted: Sequence[Any]) -> Any:
        return await run(query, **{name: wanted}) if wanted else None

    # Most commands are posts, and those are about accounts alone.
    others = [command for command in commands if not isinstance(command, Post)]
    targets = rows.targets_of(others)
    asset_codes = rows.asset_codes_of(others)
    wanted_keys = sorted({command.idempotency_key for command in commands}) if keys else []
    head_cursor = await run(head_query)
    accounts_cursor = await run(_queries.load_accounts, codes=rows.codes_of(commands))
    keys_cursor = await run_for(_queries.load_keys, "keys", wanted_keys)
    weighed_codes = rows.weighed_codes_of(others)
    weighed_cursor = await run(_reading.sums, codes=weighed_codes, owner=None) if weighed_codes else None
    versions_cursor = await run_for(_queries.load_versions, "codes", rows.versioned_codes_of(commands))
    target_accounts_cursor = await run_for(_queries.load_target_accounts, "targets", targets)
    resolutions_cursor = await run_for(_queries.load_resolutions, "targets", targets)
    reversed_cursor = await run_for(_queries.load_reversed, "targets", targets)
    assets_cursor = await run_for(_registries.load_assets, "codes", asset_codes)
    of_members = any(command.confined_to is not None for command in commands)
    members_cursor = await run(_queries.members_may_post) if of_members else None
    target_entries = await rows.read_amended(connection, tenant_id, targets) if targets else []

    head_row = await head_cursor.fetchone()
    if head_row is None:
        raise NotFound("there is no such tenant")
    seq, last_hash, recorded_at, suspended, opened, own_max_accounts, *registry_columns = head_row
    if suspended:
        raise TenantSuspended
    registry = rows.registry(registry_columns)
    # Only now does anybody know whether they are strict: it costs those a round trip that are.
    category_codes = rows.category_codes_of(commands, strict=registry.strict_categories)
    categories_cursor = await run_for(_registries.load_categories, "codes", category_codes)
    accounts: dict[str, Account] = {}
    sums: dict[int, Sums] = {}
    for row in [*await _rows(accounts_cursor), *await _rows(target_accounts_cursor)]:
        account = rows.account(row)
        accounts[account.code] = account
        if row[10] is not None:
            sums[account.account_id] = rows.sums(row[10], row[11], row[12])
    for row in await _rows(weighed_cursor):
        sums.setdefault(row[0], rows.sums(row[7], row[8], row[9]))
    seqs = [row[0] for row in await _rows(keys_cursor)]
    assets, scales = rows.assets(await _rows(assets_cursor))
    known = await rows.read_entries(connection, tenant_id, seqs) if seqs else []
    return State(
        head=Head(seq, last_hash, recorded_at),
        accounts=accounts,
        sums=sums,
        keys={str(entry.idempotency_key): KnownKey(entry.fingerprint or b"", entry) for entry in known},
        targets=_targets(target_entries, await _rows(resolutions_cursor), await _rows(reversed_cursor)),
        versions={row[0]: row[1] for row in await _rows(versions_cursor)},
        accounts_left=min((one - opened for one in (max_accounts, own_max_accounts) if one is not None), default=None),
        registry=registry,
        assets=assets,
        scales=scales,
        categories={row[0]: rows.category(row) for row in await _rows(categories_cursor)},
        members_may_post=any(row[0] for row in await _rows(members_cursor)),
    )


async def _rows(cursor: Any) -> Sequence[rows.Row]:
    found: Sequence[rows.Row] = [] if cursor is None else await cursor.fetchall()
    return found


def _targets(
    entries: Sequence[Entry], resolutions: Sequence[rows.Row], reversals: Sequence[rows.Row]
) -> dict[int, Target]:
    resolved_by = {row[0]: row[1] for row in resolutions}
    taken_back: dict[int, dict[tuple[int, int], int]] = {}
    for seq, account_id, sign, amount in reversals:
        taken_back.setdefault(seq, {})[account_id, int(sign)] = int(amount)
    return {
        entry.seq: Target(entry, resolved_by.get(entry.seq), taken_back.get(entry.seq, {}))
        for entry in entries
        if entry.postings
    }


async def _write(
    connection: Connection, tenant_id: UUID, state: State, decision: Decision, traceparent: str | None
) -> None:
    async def run(query: Any, parameters: Mapping[str, Any]) -> None:
        await connection.execute(query, {"tenant_id": tenant_id, **parameters})

    entries = decision.entries
    parameters = partial(append_parameters, tenant_id, state.head.hash, entries, traceparent)
    await run(_queries.append, await _computed(len(entries), parameters))
    terms = rows.search_columns(entries)
    if terms["seq"]:
        await run(_queries.insert_search_terms, terms)
    if decision.accounts:
        await run(_queries.upsert_accounts, rows.account_columns(decision.accounts.values(), entries))
        unguarded = sorted(one.account_id for one in decision.accounts.values() if not one.guarded)
        await run(_queries.delete_guarded, {"account_ids": unguarded})
        await run(_queries.count_opened, {"opened": sum(entry.kind is Kind.OPEN_ACCOUNT for entry in entries)})
    if decision.sums:
        await run(_queries.upsert_guarded, rows.sums_columns(decision.sums))
    if decision.opened_holds:
        opened = decision.opened_holds
        await run(_queries.insert_holds, {"seq": list(opened), "expires_at": list(opened.values())})
    if decision.resolved_holds:
        await run(_queries.delete_holds, {"seq": list(decision.resolved_holds)})
    if decision.assets:
        await run(_registries.upsert_assets, rows.registered_columns(Asset, decision.assets))
        await run(_registries.delete_assets, {"codes": rows.deleted(decision.assets)})
    if decision.categories:
        await run(_registries.upsert_categories, rows.registered_columns(Category, decision.categories))
        await run(_registries.delete_categories, {"codes": rows.deleted(decision.categories)})
    if decision.registry != state.registry:
        await run(_registries.update_registry, msgspec.structs.asdict(decision.registry))
