"""From an outbox row to a Kafka record, as Debezium's outbox event router lays it out.

The contract is a recording of the real connector, `tests/data/debezium_outbox.json`.
"""

from collections.abc import Mapping
from typing import TypeAlias

import msgspec

TOPIC_PREFIX = "ledgerx.events."

Headers: TypeAlias = tuple[tuple[str, bytes | None], ...]

# Header and the column it carries, in the order in which the connector writes them.
_HEADERS = (
    ("id", "id"),
    ("eventType", "type"),
    ("traceparent", "traceparent"),
    ("tenant", "tenant_id"),
    ("firstSeq", "first_seq"),
    ("lastSeq", "last_seq"),
)


class OutboxEvent(msgspec.Struct, frozen=True):
    """What goes to Kafka for one row; a column that is null stays a header without value."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers

    @property
    def size_bytes(self) -> int:
        """Bytes of key and value, which are nearly all of a record."""
        return len(self.key) + len(self.value)


def outbox_event(row: Mapping[str, bytes | None]) -> OutboxEvent:
    """Route a row, given as the text of its columns in UTF-8. Raises `KeyError` or `ValueError` on another table's."""
    return OutboxEvent(
        topic=TOPIC_PREFIX + _required(row, "aggregatetype").decode(),
        key=_required(row, "aggregateid"),
        value=_required(row, "payload"),
        headers=tuple((header, row[column]) for header, column in _HEADERS),
    )


def _required(row: Mapping[str, bytes | None], column: str) -> bytes:
    value = row[column]
    if value is None:
        raise ValueError(f"outbox row without {column}")
    return value
