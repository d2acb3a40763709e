"""Bodies of many transactions: one JSON document, or a line of JSON each (NDJSON).

They are cut into their items at once; an item is read when its turn comes, for thousands take their time.
"""

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition
from msgspec import Meta

from ledgerx.errors import InvalidField, LedgerError, TooLarge
from ledgerx_api.body import JsonBody, decode_json, media_type_of
from ledgerx_api.movements import BatchItem

MAX_TRANSACTIONS = 10_000
MAX_POSTINGS = 50_000
MAX_BODY_BYTES = 16 * 1024 * 1024
NDJSON = "application/x-ndjson"
_COUNT = Meta(min_length=1, max_length=MAX_TRANSACTIONS)


class NewBatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Transactions to record: each on its own, or with `atomic` all of them or none."""

    transactions: Annotated[list[BatchItem], _COUNT]
    atomic: bool = False


class _Cut(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`NewBatch`, with the items as they were given."""

    transactions: Annotated[list[msgspec.Raw], _COUNT]
    atomic: bool = False


class Batch(msgspec.Struct, frozen=True):
    """A batch as it came in, a document or `lines`, and the JSON of its items."""

    body: bytes
    items: Sequence[bytes | msgspec.Raw]
    atomic: bool
    lines: bool

    def read(self, item: bytes | msgspec.Raw) -> BatchItem | LedgerError:
        """An item, or what is wrong with a line.

        A document is refused whole: raises `Malformed`, `InvalidField` and `InvalidAmount`.
        """
        try:
            return decode_json(BatchItem, item)
        except LedgerError as error:
            if self.lines:
                return error
            decode_json(NewBatch, self.body)  # says where
            raise


class BatchBody(JsonBody[_Cut]):
    """Use as `dto=BatchBody` on a handler with the parameter `data: Batch`."""

    def decode_bytes(self, value: bytes) -> Batch:
        """Cut a body into its items. Raises what `JsonBody` does, and `TooLarge` for too many lines."""
        if media_type_of(self.asgi_connection) == NDJSON:
            return _lines(value)
        cut: _Cut = super().decode_bytes(value)
        return Batch(value, cut.transactions, cut.atomic, lines=False)

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any
    ) -> Reference | Schema:
        """The schema of the JSON document."""
        return super().create_openapi_schema(FieldDefinition.from_annotation(NewBatch), handler_id, schema_creator)


def _lines(body: bytes) -> Batch:
    lines = [line for line in body.split(b"\n") if line.strip()]
    if not lines:
        raise InvalidField("a batch has at least one line")
    if len(lines) > MAX_TRANSACTIONS:
        raise TooLarge(f"a batch has at most {MAX_TRANSACTIONS} lines")
    return Batch(body, lines, atomic=False, lines=True)
