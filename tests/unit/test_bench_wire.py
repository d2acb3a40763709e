from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgerx_cli.bench.wire import ProtocolError, Response, ResponseReader, encode_request

STATUS = st.integers(100, 599)
BODY = st.binary(max_size=200)


def answer(status: int, body: bytes, *, length_header: str = "content-length") -> bytes:
    return f"HTTP/1.1 {status} Some Reason\r\nserver: test\r\n{length_header}: {len(body)}\r\n\r\n".encode() + body


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    bounds = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(bounds)]


@given(
    answers=st.lists(st.tuples(STATUS, BODY), min_size=1, max_size=3), cuts=st.lists(st.integers(0, 500), max_size=8)
)
def test_answers_are_read_however_the_bytes_are_cut(answers: list[tuple[int, bytes]], cuts: list[int]) -> None:
    reader = ResponseReader()
    for status, body in answers:
        seen = [reader.feed(piece) for piece in pieces(answer(status, body), cuts) if piece]
        assert seen[:-1] == [None] * (len(seen) - 1)
        assert seen[-1] == Response(status, body)


@given(status=STATUS, body=BODY)
def test_answers_are_read_byte_by_byte(status: int, body: bytes) -> None:
    reader = ResponseReader()
    seen = [reader.feed(bytes([byte])) for byte in answer(status, body, length_header="Content-LENGTH")]
    assert seen == [*[None] * (len(seen) - 1), Response(status, body)]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx-content-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\ncontent-length: 0\r\n\r\n",
        b"SSH-2.0-x\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nserver: x\r\n\r\ncontent-length: 0\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab",
        b"x" * 100_000,
    ],
)
def test_what_is_no_answer_of_known_length_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        ResponseReader().feed(data)


def test_a_request_carries_its_headers_and_the_length_of_its_body() -> None:
    encoded = encode_request("POST", "/x", host="h:1", headers={"A": "b"}, body=b"{}")
    assert encoded == (
        b"POST /x HTTP/1.1\r\nHost: h:1\r\nA: b\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
