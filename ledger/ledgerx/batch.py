"""One batch of commands as one database transaction: lock the head, load, decide, write, commit.

The first statement locks the tenant's head; the loads come after it as statements of their own, because a statement
that locks and loads at once would read a snapshot from before the lock was won. Two round trips in all.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import uuid_utils.compat as uuid_utils

from ledgerx import events, rows
from ledgerx.commands import AnyCommand
from ledgerx.database import Connection, Queries, tenant_scope
from ledgerx.decide import Decision, Outcome, decide
from ledgerx.errors import NotFound
from ledgerx.state import Account, Head, KnownKey, State, Sums

_queries = Queries("ledgerx", "sql/posting.sql")
_reading = Queries("ledgerx", "sql/reading.sql")


async def run_batch(
    connection: Connection, tenant_id: UUID, commands: Sequence[AnyCommand], *, clock: Callable[[], datetime]
) -> Sequence[Outcome]:
    """Decide and durably record `commands`; their outcomes are true once this returns.

    Raises `NotFound` for an unknown tenant and `psycopg.Error`; after an error of the connection nobody knows whether
    the batch was committed, and running the same commands again settles it.
    """
    async with tenant_scope(connection, tenant_id):
        state = await _load(connection, tenant_id, commands)
        decision = decide(state, commands, clock())
        if decision.entries:
            await _write(connection, tenant_id, state, decision, commands[0].traceparent)
    return decision.outcomes


async def _load(connection: Connection, tenant_id: UUID, commands: Sequence[AnyCommand]) -> State:
    async def run(query: Any, **parameters: Any) -> Any:
        return await connection.execute(query, {"tenant_id": tenant_id, **parameters}, binary=True)

    head_cursor = await run(_queries.lock_head)
    accounts_cursor = await run(_queries.load_accounts, codes=rows.codes_of(commands))
    keys_cursor = await run(_queries.load_keys, keys=sorted({command.idempotency_key for command in commands}))
    weighed = rows.weighed_codes_of(commands)
    weighed_cursor = await run(_reading.sums, codes=weighed) if weighed else None

    head_row = await head_cursor.fetchone()
    if head_row is None:
        raise NotFound("there is no such tenant")
    accounts: dict[str, Account] = {}
    sums: dict[int, Sums] = {}
    for row in await accounts_cursor.fetchall():
        account = rows.account(row)
        accounts[account.code] = account
        if row[9] is not None:
            sums[account.account_id] = rows.sums(row[9], row[10], row[11])
    if weighed_cursor is not None:
        for row in await weighed_cursor.fetchall():
            sums.setdefault(row[0], rows.sums(row[7], row[8], row[9]))
    seqs = [row[0] for row in await keys_cursor.fetchall()]
    known = await rows.read_entries(connection, tenant_id, seqs) if seqs else []
    return State(
        head=Head(*head_row),
        accounts=accounts,
        sums=sums,
        keys={str(entry.idempotency_key): KnownKey(entry.fingerprint or b"", entry) for entry in known},
    )


async def _write(
    connection: Connection, tenant_id: UUID, state: State, decision: Decision, traceparent: str | None
) -> None:
    async def run(query: Any, parameters: Mapping[str, Any]) -> None:
        await connection.execute(query, {"tenant_id": tenant_id, **parameters})

    entries = decision.entries
    head = decision.head
    columns = rows.entry_columns(entries) | rows.posting_columns(entries)
    await run(
        _queries.append,
        {**columns, "head_seq": head.seq, "head_hash": head.hash, "head_recorded_at": head.recorded_at},
    )
    if any(entry.metadata is not None for entry in entries):
        await run(_queries.insert_metadata, rows.metadata_columns(entries))
    if decision.accounts:
        await run(_queries.upsert_accounts, rows.account_columns(decision.accounts.values(), entries))
        unguarded = sorted(one.account_id for one in decision.accounts.values() if not one.guarded)
        await run(_queries.delete_guarded, {"account_ids": unguarded})
    if decision.sums:
        await run(_queries.upsert_guarded, rows.sums_columns(decision.sums))
    for chunk in events.chunks(tenant_id, state.head.hash, entries):
        await run(
            _queries.insert_outbox,
            {
                "id": uuid_utils.uuid7(),
                "aggregatetype": events.AGGREGATE_JOURNAL,
                "aggregateid": str(tenant_id),
                "type": events.ENTRIES_RECORDED,
                "payload": chunk.payload,
                "traceparent": traceparent,
                "first_seq": chunk.first,
                "last_seq": chunk.last,
            },
        )
