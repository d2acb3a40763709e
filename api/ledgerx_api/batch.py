"""Bodies of many transactions: one JSON document, or a line of JSON each (NDJSON)."""

from collections.abc import Iterator, Sequence
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


class NewBatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Transactions to record: each on its own, or with `atomic` all of them or none."""

    transactions: Annotated[list[BatchItem], Meta(min_length=1, max_length=MAX_TRANSACTIONS)]
    atomic: bool = False


class Batch(msgspec.Struct, frozen=True):
    """A batch as it came in: `contents` are the items as given, for their fingerprints.

    An item of `lines` that could not be read stands as the error that says so.
    """

    items: Sequence[BatchItem | LedgerError]
    contents: Sequence[Any]
    atomic: bool
    lines: bool


class BatchBody(JsonBody[NewBatch]):
    """Use as `dto=BatchBody` on a handler with the parameter `data: Batch`."""

    def decode_bytes(self, value: bytes) -> Batch:
        """Decode a body. Raises what `JsonBody` does, and `TooLarge` for too many postings or lines."""
        if media_type_of(self.asgi_connection) == NDJSON:
            batch = _lines(value)
        else:
            new: NewBatch = super().decode_bytes(value)
            batch = Batch(new.transactions, msgspec.json.decode(value)["transactions"], new.atomic, lines=False)
        if sum(_postings(item) for item in batch.items) > MAX_POSTINGS:
            raise TooLarge(f"a batch has at most {MAX_POSTINGS} postings")
        return batch

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
    items, contents = zip(*_read(lines), strict=True)
    return Batch(items, contents, atomic=False, lines=True)


def _read(lines: Sequence[bytes]) -> Iterator[tuple[BatchItem | LedgerError, Any]]:
    for line in lines:
        try:
            item: BatchItem = decode_json(BatchItem, line)
            yield item, msgspec.json.decode(line)
        except LedgerError as error:
            yield error, None


def _postings(item: BatchItem | LedgerError) -> int:
    if isinstance(item, LedgerError):
        return 0
    return 2 if item.postings is msgspec.UNSET else len(item.postings)
