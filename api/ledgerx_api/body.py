"""JSON bodies, decoded straight into their msgspec type: in one pass, strictly, metadata kept as it was given."""

from functools import cache
from typing import Any, TypeVar

import msgspec
from litestar.connection import ASGIConnection
from litestar.dto import AbstractDTO
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from ledgerx.errors import InvalidAmount, InvalidField, Malformed, UnsupportedMediaType
from ledgerx_api.problems import FieldError

T = TypeVar("T", bound=msgspec.Struct)


class JsonBody(AbstractDTO[T]):
    """Use as `dto=JsonBody[SomeStruct], return_dto=None` on a handler with the parameter `data: SomeStruct`."""

    def decode_bytes(self, value: bytes) -> Any:
        """Decode a body. Raises `UnsupportedMediaType`, `Malformed`, `InvalidField` and `InvalidAmount`."""
        if media_type_of(self.asgi_connection) != "application/json":
            raise UnsupportedMediaType("send the body as application/json")
        return decode_json(self.model_type, value)

    @classmethod
    def create_for_field_definition(cls, *_args: Any, **_kwargs: Any) -> None:
        """Nothing to prepare: there is no model between the body and the type."""

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any
    ) -> Reference | Schema:
        """The schema of the type itself."""
        del handler_id
        schema: Reference | Schema = schema_creator.for_field_definition(field_definition)
        return schema


def media_type_of(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The media type of a request's body, without parameters."""
    return connection.headers.get("content-type", "").partition(";")[0].strip().lower()


def decode_json(model_type: type[T], value: bytes | msgspec.Raw) -> T:
    """Decode JSON. Raises `Malformed`, `InvalidField` and `InvalidAmount`."""
    try:
        decoded: T = _decoder(model_type).decode(value)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeError):
        raise Malformed("the body is not JSON in UTF-8") from None
    except RecursionError:
        raise Malformed("the body nests too deep") from None
    return decoded


@cache
def _decoder(model_type: type[T]) -> msgspec.json.Decoder[T]:
    return msgspec.json.Decoder(model_type)


def _invalid(text: str) -> InvalidField | InvalidAmount:
    """Msgspec says "Expected `str`, got `int` - at `$.postings[0].amount`"."""
    message, _, path = text.partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    errors = msgspec.to_builtins([FieldError(field, message)])
    kind = InvalidAmount if field.rpartition(".")[2] == "amount" else InvalidField
    return kind(f"{field}: {message}" if field else message, errors=errors)
