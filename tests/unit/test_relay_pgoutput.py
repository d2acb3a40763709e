import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerx_streams.relay.pgoutput import (
    Commit,
    Decoder,
    Event,
    Insert,
    Keepalive,
    ProtocolError,
    Row,
    standby_status,
)

RELATION_ID = 16_513

# Frames that a PostgreSQL 18 has sent.
KEEPALIVE = bytes.fromhex("6b 000000000187e910 00030407 9ea20ab6 00")
BEGIN = bytes.fromhex(
    "77 000000000187e910 000000000187e910 000304079ea20de6 42 000000000187ebc8 000304079e9d5a42 000002fc"
)
COMMIT = bytes.fromhex(
    "77 000000000187ebf8 000000000187ebf8 000304079ea20ed1 43 00 000000000187ebc8 000000000187ebf8 000304079e9d5a42"
)
MESSAGE = (
    bytes.fromhex("77 000000000187ec40 000000000187ec40 000304079ea4e812 4d 00 000000000187ec40")
    + b"ledgerx.heartbeat\0"
    + bytes.fromhex("00000001 78")
)

positions = st.integers(0, 2**64 - 1)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
values = st.none() | st.binary(max_size=200)
rows = st.dictionaries(names, values, max_size=12)


def xlog_data(message: bytes) -> bytes:
    return b"w" + bytes(24) + message


def relation(columns: list[str], relation_id: int = RELATION_ID) -> bytes:
    message = b"R" + struct.pack(">I", relation_id) + b"ledgerx\0outbox\0d" + struct.pack(">H", len(columns))
    for column in columns:
        message += b"\1" + column.encode() + b"\0" + struct.pack(">Ii", 2950, -1)
    return xlog_data(message)


def insert(values: list[bytes | None], relation_id: int = RELATION_ID) -> bytes:
    message = b"I" + struct.pack(">I", relation_id) + b"N" + struct.pack(">H", len(values))
    for value in values:
        message += b"n" if value is None else b"t" + struct.pack(">I", len(value)) + value
    return xlog_data(message)


def decode(*frames: bytes) -> list[Event | None]:
    decoder = Decoder()
    return [decoder.decode(frame) for frame in frames]


def test_recorded_frames() -> None:
    assert decode(KEEPALIVE, BEGIN, COMMIT, MESSAGE) == [
        Keepalive(0x187E910, reply_requested=False),
        None,
        Commit(0x187EBF8),
        None,
    ]


@given(rows)
def test_rows_come_back_as_they_were(row: Row) -> None:
    assert decode(relation(list(row)), insert(list(row.values()))) == [None, Insert(row)]


@given(row=rows, other=rows)
def test_each_row_has_the_columns_of_its_own_relation(row: Row, other: Row) -> None:
    frames = [
        relation(list(row), 1),
        relation(list(other), 2),
        insert(list(row.values()), 1),
        insert(list(other.values()), 2),
    ]
    assert decode(*frames)[2:] == [Insert(row), Insert(other)]


def test_a_relation_announced_anew_replaces_the_old_one() -> None:
    assert decode(relation(["a"]), relation(["a", "b"]), insert([b"1", None]))[2] == Insert({"a": b"1", "b": None})


@given(positions, st.booleans())
def test_keepalives(position: int, reply_requested: bool) -> None:
    frame = b"k" + struct.pack(">QQ?", position, 1, reply_requested)
    assert decode(frame) == [Keepalive(position, reply_requested)]


@given(positions)
def test_commits(end: int) -> None:
    assert decode(xlog_data(b"C\0" + struct.pack(">QQQ", 7, end, 9))) == [Commit(end)]


@pytest.mark.parametrize("kind", [b"O", b"Y", b"U", b"D", b"T"])
def test_what_is_no_new_row_is_passed_over(kind: bytes) -> None:
    assert decode(xlog_data(kind + bytes(20))) == [None]


@given(st.data())
def test_a_frame_cut_short_is_refused(data: st.DataObject) -> None:
    frame = data.draw(st.sampled_from([KEEPALIVE, COMMIT, relation(["a", "b"]), insert([b"one", None])]))
    decoder = Decoder()
    decoder.decode(relation(["a", "b"]))
    with pytest.raises(ProtocolError):
        decoder.decode(frame[: data.draw(st.integers(0, len(frame) - 1))])


@given(st.binary(max_size=100))
def test_noise_is_refused_or_passed_over_and_nothing_else(noise: bytes) -> None:
    for frame in (noise, xlog_data(noise)):
        try:
            decode(frame)
        except ProtocolError:
            continue


@pytest.mark.parametrize(
    "frame",
    [
        insert([b"x"], relation_id=1),
        insert([b"x", b"y"]),
        xlog_data(insert([b"x"])[25:] + b"rest"),
        xlog_data(b"I" + struct.pack(">I", RELATION_ID) + b"N" + struct.pack(">H", 1) + b"b" + struct.pack(">I", 0)),
        xlog_data(b"S" + bytes(5)),
        b"?",
    ],
    ids=["unknown relation", "too many columns", "bytes left over", "binary column", "streamed transaction", "frame"],
)
def test_what_does_not_belong_in_the_stream_is_refused(frame: bytes) -> None:
    decoder = Decoder()
    decoder.decode(relation(["a"]))
    with pytest.raises(ProtocolError):
        decoder.decode(frame)


def test_a_status_confirms_one_position_three_times() -> None:
    written, flushed, applied, clock_us, reply_requested = struct.unpack(
        ">QQQQ?", standby_status(0x187EBF8, 946_684_800_000_005)[1:]
    )
    assert (written, flushed, applied) == (0x187EBF8,) * 3
    assert (clock_us, reply_requested) == (5, False)
