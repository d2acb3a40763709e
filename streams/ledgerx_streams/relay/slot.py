"""The replication slot: how it stands, and how it comes to be, together with a snapshot of all that was before it.

The slot exists only once its snapshot has been carried to the end, so there is no other state to keep: a temporary
slot, which goes away with its connection, exports the snapshot, and the permanent slot is made last, as a copy of it.
The name of the temporary slot is the lock that keeps two relays from doing so at once.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Any

import structlog
from psycopg import IsolationLevel, errors, sql
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.rows import dict_row

from ledgerx.database import Connection, Queries, connection_options
from ledgerx_streams.relay.metrics import RelayMetrics
from ledgerx_streams.relay.pgoutput import Row
from ledgerx_streams.slots import Source

_sql = Queries("ledgerx_streams", "sql/relay.sql")
_log = structlog.get_logger(__name__)

# Rows can have 900 KiB, so few of them travel at once.
_ROWS_PER_FETCH = 16

# A snapshot takes as long as it takes. A relay that vanished without a word frees the slot for the standby soon, also
# the one of a snapshot, whose connection is idle meanwhile.
_OPTIONS = (
    "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0"
    " -c wal_sender_timeout=5s -c tcp_keepalives_idle=2 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3"
)


class SlotState(Enum):
    """What a relay finds; `HELD` means that another one streams from the slot, or is making it."""

    MISSING = auto()
    LOST = auto()
    HELD = auto()
    FREE = auto()


class SlotHeldError(Exception):
    """Another relay was faster."""


async def connect_patiently(url: str, **options: Any) -> Connection:
    """Open a connection for work without time limits, with text in UTF-8; `options` are further ones of libpq."""
    # A replication connection knows the simple protocol only, which prepares nothing.
    ours = {
        **connection_options("ledgerx-relay"),
        "options": _OPTIONS,
        "client_encoding": "utf8",
        "prepare_threshold": None,
    }
    return await Connection.connect(url, **ours, **options)


async def slot_state(connection: Connection, slot: str) -> SlotState:
    """How `slot` stands at this moment."""
    state = await _state(connection, slot)
    if state in {SlotState.MISSING, SlotState.LOST}:
        another_makes_it = await _state(connection, _snapshot_slot(slot)) is not SlotState.MISSING
        return SlotState.HELD if another_makes_it else state
    return state


@asynccontextmanager
async def new_slot(source: Source, connection: Connection, metrics: RelayMetrics, *, known: bool) -> AsyncIterator[str]:
    """Make the slot of `source`, instead of a lost one if there is one, once the block has ended well.

    Whether it is `known` to have been there before decides whether it is a loss that there is none.

    The block gets the name of the snapshot which the slot's changes follow, and carries its rows to safety. Raises
    `SlotHeldError` if another relay is making the slot, or has made it.
    """
    slot = source.slot
    temporary = _snapshot_slot(slot)
    create = sql.SQL("CREATE_REPLICATION_SLOT {} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')")
    holder = await connect_patiently(source.url.reveal(), replication="database")
    try:
        created = await holder.execute(create.format(sql.Identifier(temporary)))
        [(_, _, snapshot, _)] = await created.fetchall()
        # Whoever makes or drops the slot holds the temporary one, so this look at it is the one that counts.
        if await _make_way(connection, slot, known):
            metrics.lost_slots.inc()
            metrics.lost_slot_at.set_to_current_time()
        yield snapshot
        await connection.execute(_sql.keep_slot, {"slot": slot, "temporary": temporary})
    except errors.DuplicateObject as error:
        raise SlotHeldError from error
    finally:
        await holder.close()


async def _make_way(connection: Connection, slot: str, known: bool) -> bool:
    """Drop a slot that was lost; whether one was. Raises `SlotHeldError`."""
    state = await _state(connection, slot)
    if state in {SlotState.HELD, SlotState.FREE}:
        raise SlotHeldError
    is_loss = state is SlotState.LOST or known
    if is_loss:
        _log.error("slot lost, taking a new snapshot", slot=slot)
    if state is SlotState.LOST:
        await connection.execute(_sql.drop_slot, {"slot": slot})
    return is_loss


async def _state(connection: Connection, slot: str) -> SlotState:
    cursor = await connection.execute(_sql.slot, {"slot": slot})
    found = await cursor.fetchone()
    if found is None:
        return SlotState.MISSING
    lost, active = found
    if lost:
        return SlotState.LOST
    return SlotState.HELD if active else SlotState.FREE


def _snapshot_slot(slot: str) -> str:
    return f"{slot}_snapshot"


class _Text(Loader):
    """Values as the text that the server sends, which is what pgoutput sends too."""

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


async def snapshot_rows(url: str, snapshot: str) -> AsyncGenerator[Row, None]:
    """The rows of the outbox in an exported snapshot, in the order of recording within each tenant."""
    connection = await connect_patiently(url)
    try:
        for name in ("uuid", "text", "int8"):
            connection.adapters.register_loader(name, _Text)
        await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        async with connection.transaction():
            await connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
            async with connection.cursor("outbox", row_factory=dict_row) as cursor:
                cursor.itersize = _ROWS_PER_FETCH
                await cursor.execute(_sql.outbox_rows)
                async for row in cursor:
                    yield row
    finally:
        await connection.close()
