"""Exports of a tenant's data, and their files."""

from contextlib import suppress
from typing import Annotated
from uuid import UUID

from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, Parameter
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse
from msgspec import UNSET, UnsetType

from ledgerx.download_links import LINK_CHARACTERS, Download
from ledgerx.errors import ExportExpired
from ledgerx.exports import NEWEST, Status, end_export, read_export, read_exports, record_download, request_export
from ledgerx.tenancy import Scope
from ledgerx_api import paging, tracing
from ledgerx_api import schemas_exports as schemas
from ledgerx_api.access import OPEN_TO_ALL, requires
from ledgerx_api.body import JsonBody
from ledgerx_api.databases import Databases
from ledgerx_api.downloads import DOWNLOADS, Downloads
from ledgerx_api.origin import AddressOf, author
from ledgerx_api.paging import CursorParameter, Limit, Page
from ledgerx_api.problems import PROBLEMS
from ledgerx_api.requests import LedgerRequest

_EXPORTS = "/v1/exports"
_EXPORT = _EXPORTS + "/{export_id:uuid}"
ExportId = Annotated[UUID, Parameter(description="The export's id.")]
_QUEUED = {202: ResponseSpec(schemas.Export, generate_examples=False, description="Queued: look at it again.")}
_REDIRECT = {307: ResponseSpec(None, generate_examples=False, description="`Location` is a link to the file.")}
_FILE = {
    200: ResponseSpec(str, media_type="text/csv", generate_examples=False, description="The file, of its own type."),
    206: ResponseSpec(str, media_type="text/csv", generate_examples=False, description="A range of the file."),
}


def routes(
    downloads: Downloads, databases: Databases, *, max_bytes: int, address_of: AddressOf
) -> list[HTTPRouteHandler]:
    """The handlers of this module. `max_bytes` is what the files of a tenant may take."""

    @post(
        _EXPORTS,
        dto=JsonBody[schemas.NewExport],
        return_dto=None,
        status_code=202,
        tags=["exports"],
        operation_id="createExport",
        **requires(Scope.EXPORTS_WRITE, _QUEUED),
    )
    async def create_export(request: LedgerRequest, data: schemas.NewExport) -> Response[schemas.Export]:
        """Ask for a file of transactions, postings, balances or snapshots.

        It is true at one entry of the journal, the present head: everything recorded before this request is in it, and
        nothing later. It is written in the background.
        """
        wanted = schemas.wanted(data)
        downloads.files  # noqa: B018 - raises where there is no place for files
        async with request.pool.connection() as connection:
            made = await request_export(
                connection,
                request.user.tenant_id,
                wanted,
                author(request, address_of),
                traceparent=tracing.traceparent(request.headers),
                max_bytes=max_bytes,
            )
        return Response(schemas.export(made), headers={"Location": f"{_EXPORTS}/{made.id}"})

    @get(_EXPORTS, tags=["exports"], operation_id="listExports", **requires(Scope.EXPORTS_WRITE))
    async def list_exports(
        request: LedgerRequest, limit: Limit = None, cursor: CursorParameter = None
    ) -> Page[schemas.Export]:
        """List exports, newest first."""
        here = paging.start(_EXPORTS, cursor, limit, first=NEWEST, position=UUID)
        async with request.pool.connection() as connection:
            found = await read_exports(connection, request.user.tenant_id, before=here.position, limit=here.limit + 1)
        return paging.page(here, found, schemas.export, lambda last: last.id)

    @get(_EXPORT, tags=["exports"], operation_id="getExport", **requires(Scope.EXPORTS_WRITE))
    async def get_export(request: LedgerRequest, export_id: ExportId) -> Response[schemas.Export]:
        """Get an export with its progress, and a link to its file once it is done."""
        download = Download(request.user.tenant_id, export_id)
        async with request.pool.connection() as connection:
            found = await read_export(connection, download.tenant_id, export_id)
        link: schemas.ExportDownload | UnsetType = UNSET
        if found.status is Status.DONE:
            # It may be past its time already, though nobody has ended it yet.
            with suppress(ExportExpired):
                link = await downloads.link(download, found)
        return Response(schemas.export(found, link), headers={"Cache-Control": "no-store"})

    @delete(_EXPORT, tags=["exports"], operation_id="deleteExport", **requires(Scope.EXPORTS_WRITE))
    async def delete_export(request: LedgerRequest, export_id: ExportId) -> None:
        """Cancel an export that is not done, or give up the file of one that is: its links end at once."""
        async with request.pool.connection() as connection:
            await end_export(connection, request.user.tenant_id, export_id, author(request, address_of))

    @get(
        _EXPORT + "/download",
        tags=["exports"],
        operation_id="downloadExport",
        status_code=307,
        **requires(Scope.EXPORTS_WRITE, _REDIRECT),
    )
    async def download_export(request: LedgerRequest, export_id: ExportId) -> ASGIResponse:
        """Be sent to the file of an export, by a link that is good for a while and needs no token."""
        by = author(request, address_of)
        download = Download(request.user.tenant_id, export_id)
        async with request.pool.connection() as connection:
            link = await downloads.link(download, await read_export(connection, download.tenant_id, export_id))
            await record_download(connection, download.tenant_id, export_id, by)
        return ASGIResponse(status_code=307, headers={"Location": link.url, "Cache-Control": "no-store"})

    @get(
        DOWNLOADS + "/{link:str}",
        tags=["exports"],
        operation_id="getDownload",
        **OPEN_TO_ALL | {"responses": {**PROBLEMS, **_FILE}},
    )
    async def get_download(
        link: Annotated[str, Parameter(max_length=LINK_CHARACTERS, description="What an export's link ends with.")],
        range_: Annotated[str | None, HeaderParameter(name="Range", description="One range of bytes.")] = None,
        if_range: Annotated[
            str | None, HeaderParameter(name="If-Range", description="The `ETag` that the range is of.")
        ] = None,
    ) -> ASGIStreamingResponse:
        """Get the file that a link opens, whole or a range of it. The link is the permission."""
        download = downloads.open(link)
        database = await databases.find(download.tenant_id)
        database.tenants.check(download.tenant_id)
        async with database.pool.connection() as connection:
            found = await read_export(connection, download.tenant_id, download.export_id)
        return await downloads.answer(found, range_, if_range)

    return [create_export, list_exports, get_export, delete_export, download_export, get_download]
