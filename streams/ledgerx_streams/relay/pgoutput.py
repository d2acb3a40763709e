"""PostgreSQL's logical replication stream: the frames in its COPY, and pgoutput's messages in the frames.

Protocol version 1 with text columns: the server sends a transaction only after its commit, in commit order, so nothing
is ever taken back, and each value comes in the text form that the outbox carries. (Versions 2 to 4 add the streaming
of open transactions and two-phase commit, for which an outbox has no use.) Source: PostgreSQL's documentation,
"Streaming Replication Protocol" and "Logical Replication Message Formats".
"""

import struct
from struct import Struct
from typing import TypeAlias

import msgspec

Lsn: TypeAlias = int
Row: TypeAlias = dict[str, bytes | None]

_XLOG_DATA = Struct(">cQQQ")  # w, start of the data, end of the server's log, server's clock
_KEEPALIVE = Struct(">cQQ?")  # k, end of the server's log, server's clock, reply requested
_STATUS = Struct(">cQQQQ?")  # r, written, flushed, applied, client's clock, reply requested
_COMMIT = Struct(">cBQQQ")  # C, flags, position of the commit, end of the transaction, commit time
_RELATION = Struct(">cI")  # R, relation
_INSERT = Struct(">cIcH")  # I, relation, N, number of columns
_LENGTH = Struct(">I")
_COUNT = Struct(">H")

_COLUMN_TYPE_BYTES = 8
_NULL, _TEXT = b"nt"
# Begin, origin, type and message say nothing that an outbox needs; of update, delete and truncate there are none in an
# insert-only publication, and were somebody to publish them, they would not be events either.
_UNNEEDED = frozenset(b"BOYMUDT")

# Microseconds from 1970 to 2000, where PostgreSQL's clock begins.
_POSTGRES_EPOCH_US = 946_684_800_000_000


class ProtocolError(Exception):
    """A frame is cut short, or holds what does not belong in a pgoutput stream of version 1."""


class Keepalive(msgspec.Struct, frozen=True):
    """Everything that was committed before `position` and concerns this stream has been sent."""

    position: Lsn
    reply_requested: bool


class Insert(msgspec.Struct, frozen=True):
    """A new row, column names with the text of the values."""

    row: Row


class Commit(msgspec.Struct, frozen=True):
    """The inserts since the last commit were one transaction, and `end` is the position just after it."""

    end: Lsn


Event: TypeAlias = Keepalive | Insert | Commit


class Decoder:
    """Decodes the frames of one stream; it remembers the columns of the relations announced there."""

    def __init__(self) -> None:
        self._columns: dict[int, tuple[str, ...]] = {}

    def decode(self, frame: bytes) -> Event | None:
        """Return what the frame says, or None where it says nothing about new rows. Raises `ProtocolError`."""
        try:
            if frame[0] == ord("w"):
                return self._message(frame, _XLOG_DATA.size)
            _expect(frame[0] == ord("k"))
            _, position, _, reply_requested = _KEEPALIVE.unpack(frame)
            return Keepalive(position, reply_requested)
        except (struct.error, IndexError, KeyError, ValueError) as error:
            raise ProtocolError(f"unreadable frame of {len(frame)} bytes: {frame[:40]!r}") from error

    def _message(self, frame: bytes, at: int) -> Event | None:
        kind = frame[at]
        if kind == ord("I"):
            return self._insert(frame, at)
        if kind == ord("C"):
            _, _, _, end, _ = _COMMIT.unpack_from(frame, at)
            return Commit(end)
        if kind == ord("R"):
            self._relation(frame, at)
            return None
        _expect(kind in _UNNEEDED)
        return None

    def _relation(self, frame: bytes, at: int) -> None:
        _, relation = _RELATION.unpack_from(frame, at)
        _namespace, at = _string(frame, at + _RELATION.size)
        _name, at = _string(frame, at)
        (count,) = _COUNT.unpack_from(frame, at + 1)
        at += 1 + _COUNT.size
        columns = []
        for _ in range(count):
            column, at = _string(frame, at + 1)
            columns.append(column)
            at += _COLUMN_TYPE_BYTES
        _expect(at == len(frame))
        self._columns[relation] = tuple(columns)

    def _insert(self, frame: bytes, at: int) -> Insert:
        _, relation, tuple_kind, count = _INSERT.unpack_from(frame, at)
        columns = self._columns[relation]
        _expect(tuple_kind == b"N" and count == len(columns))
        at += _INSERT.size
        row: Row = {}
        for column in columns:
            kind = frame[at]
            at += 1
            if kind == _NULL:
                row[column] = None
            else:
                _expect(kind == _TEXT)
                row[column], at = _counted(frame, at)
        _expect(at == len(frame))
        return Insert(row)


def standby_status(position: Lsn, now_us: int) -> bytes:
    """The frame that confirms all before `position`, nothing if that is 0; `now_us` is microseconds since 1970."""
    return _STATUS.pack(b"r", position, position, position, now_us - _POSTGRES_EPOCH_US, False)


def _string(frame: bytes, at: int) -> tuple[str, int]:
    end = frame.index(0, at)
    return frame[at:end].decode(), end + 1


def _counted(frame: bytes, at: int) -> tuple[bytes, int]:
    (length,) = _LENGTH.unpack_from(frame, at)
    start = at + _LENGTH.size
    return frame[start : start + length], start + length


def _expect(holds: bool) -> None:
    if not holds:
        raise ValueError("unexpected content")
