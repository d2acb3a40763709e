"""`ledgerx openapi`."""

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from ledgerx_api.reference.document import openapi_document
from ledgerx_api.reference.pages import Pages
from ledgerx_cli.failures import CommandFailed


def openapi(
    *,
    pages: Annotated[
        Path | None, Parameter(help="A directory to write the reference to, as Markdown, in place of printing.")
    ] = None,
) -> str:
    """Print the OpenAPI document of the HTTP API as JSON, or write the reference that is made of it.

    It needs no running platform: the document is that of this version.
    """
    document = openapi_document()
    if pages is None:
        return msgspec.json.format(document).decode()
    written = Pages(msgspec.json.decode(document)).all()
    try:
        pages.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            (pages / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandFailed(f"cannot write {pages}: {error.strerror}") from None
    return f"{pages}: {len(written)} pages"
