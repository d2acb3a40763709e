import json
from pathlib import Path

import msgspec
import pytest

from ledgerx_streams.relay.outbox_event import outbox_event

RECORDING = Path(__file__).parents[1] / "data" / "debezium_outbox.json"


class Recorded(msgspec.Struct, frozen=True):
    topic: str
    key: str
    value: str
    headers: tuple[tuple[str, str | None], ...]

    @property
    def own_headers(self) -> tuple[tuple[str, bytes | None], ...]:
        return tuple(
            (name, None if value is None else value.encode())
            for name, value in self.headers
            if not name.startswith("__debezium.context.")
        )


MESSAGES = msgspec.convert(json.loads(RECORDING.read_text())["messages"], list[Recorded])


def row_of(message: Recorded) -> dict[str, bytes | None]:
    """The outbox row from which the connector made `message`."""
    headers = dict(message.own_headers)
    return {
        "id": headers["id"],
        "tenant_id": headers["tenant"],
        "aggregatetype": message.topic.rpartition(".")[2].encode(),
        "aggregateid": message.key.encode(),
        "type": headers["eventType"],
        "payload": message.value.encode(),
        "traceparent": headers["traceparent"],
        "first_seq": headers["firstSeq"],
        "last_seq": headers["lastSeq"],
        "recorded_at": b"2026-11-24 12:00:00+00",
    }


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.key)
def test_a_row_becomes_the_record_that_debezium_wrote(message: Recorded) -> None:
    event = outbox_event(row_of(message))
    assert event.topic == message.topic
    assert event.key == message.key.encode()
    assert event.value == message.value.encode()
    assert event.headers == message.own_headers


def test_the_recording_has_all_four_messages() -> None:
    assert len(MESSAGES) == 4


def test_the_payload_is_not_read_at_all() -> None:
    payload = b'{"a": 1.10, "a": "\xff\x00'
    assert outbox_event(row_of(MESSAGES[0]) | {"payload": payload}).value == payload


@pytest.mark.parametrize("column", ["aggregatetype", "aggregateid", "payload"])
def test_a_row_without_route_or_payload_is_refused(column: str) -> None:
    with pytest.raises(ValueError, match=column):
        outbox_event(row_of(MESSAGES[0]) | {column: None})


def test_a_row_of_another_table_is_refused() -> None:
    with pytest.raises(KeyError):
        outbox_event({"id": b"1"})
