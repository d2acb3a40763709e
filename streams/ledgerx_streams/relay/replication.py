"""The reader of a replication stream: COPY in both directions, through psycopg's libpq and asyncio's event loop.

psycopg has no client for replication, but its `pq` has all that one needs.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import OperationalError, errors, pq, sql

from ledgerx_streams.relay.pgoutput import Lsn, standby_status
from ledgerx_streams.relay.slot import SlotHeldError, connect_patiently

# Failover slots, which follow a promoted standby, are of this version.
_FAILOVER_VERSION = 170000


class ReplicationStream:
    """An open stream. Nothing is read ahead of `receive`, so that a slow reader slows the server down."""

    def __init__(self, pgconn: pq.abc.PGconn) -> None:
        self._pgconn = pgconn

    async def receive(self) -> bytes:
        """Return the next frame. Raises `psycopg.OperationalError` when the stream or the connection has ended."""
        while (frame := self._next()) is None:
            await self._readable()
            self._pgconn.consume_input()
        return frame

    def confirm(self, position: Lsn) -> None:
        """Tell the server that nothing before `position` will be needed again; 0 only says that we are alive."""
        self._pgconn.put_copy_data(standby_status(position, time.time_ns() // 1000))
        self._pgconn.flush()

    async def finish(self) -> None:
        """End the stream from this side; returns when the server has read the last confirmation."""
        self._pgconn.put_copy_end(None)
        self._pgconn.flush()
        try:
            while True:
                await self.receive()
        except _StreamEndedError:
            return

    def _next(self) -> bytes | None:
        size, frame = self._pgconn.get_copy_data(1)
        if size < 0:
            result = self._pgconn.get_result()
            if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
                raise errors.error_from_result(result)
            raise _StreamEndedError("the server has ended the replication stream")
        return bytes(frame) if size else None

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._pgconn.socket, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._pgconn.socket)


class _StreamEndedError(OperationalError):
    """The server has sent all that it will send."""


@asynccontextmanager
async def replication_stream(url: str, *, slot: str, publication: str) -> AsyncIterator[ReplicationStream]:
    """Stream what `publication` publishes, from where `slot` was last confirmed.

    Raises `SlotHeldError` if another relay streams from it.
    """
    name = sql.Identifier(slot)
    start = sql.SQL("START_REPLICATION SLOT {} LOGICAL 0/0 (proto_version '1', publication_names {})")
    connection = await connect_patiently(url, replication="database")
    try:
        if connection.info.server_version >= _FAILOVER_VERSION:
            await connection.execute(sql.SQL("ALTER_REPLICATION_SLOT {} (FAILOVER true)").format(name))
        await connection.execute(start.format(name, sql.Literal(publication)))
        yield ReplicationStream(connection.pgconn)
    except errors.ObjectInUse as error:
        raise SlotHeldError from error
    finally:
        await connection.close()
