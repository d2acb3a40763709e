"""How JSON that is passed through as it stands shows in the OpenAPI document."""

from typing import Any

import msgspec
from litestar._openapi.schema_generation import SchemaCreator
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition


class RawJsonPlugin(OpenAPISchemaPlugin):
    """Documents `msgspec.Raw`, which can be anything to Litestar, as the JSON object that ours always is."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        """Whether this is the type of raw JSON."""
        return value is msgspec.Raw

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: SchemaCreator) -> Schema:
        """The schema of an object of any members."""
        del field_definition, schema_creator
        return Schema(type=OpenAPIType.OBJECT)
