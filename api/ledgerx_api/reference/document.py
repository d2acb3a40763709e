"""The OpenAPI document without a server."""

import warnings
from pathlib import Path

from litestar.serialization import encode_json

from ledgerx.keys import new_keyset
from ledgerx.settings import Secret
from ledgerx_api.app import create_app
from ledgerx_api.settings import ApiSettings


def openapi_document() -> bytes:
    """The OpenAPI document of this version as JSON, as `/docs/openapi.json` of a server answers it."""
    # Neither is used before a server starts.
    settings = ApiSettings(database_url=Secret("postgresql://"), keys=Path("keys"))
    # Litestar 2 announces what its version 3, which is not asked for, will want otherwise.
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        return encode_json(create_app(settings, new_keyset()).openapi_schema.to_schema())
