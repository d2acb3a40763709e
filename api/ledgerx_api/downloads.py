"""Files of exports as answers: links to them, and their bytes, whole or in ranges."""

import time
from base64 import b64encode
from datetime import UTC, datetime

import structlog
from litestar.response.streaming import ASGIStreamingResponse

from ledgerx.download_links import Download, DownloadLinks
from ledgerx.errors import ExportExpired, ExportNotDone, ExportsOff, Unavailable
from ledgerx.export_files import UNUSABLE, ExportFiles, disposition
from ledgerx.exports import MEDIA_TYPES, Export
from ledgerx_api.ranges import wanted_range
from ledgerx_api.schemas_exports import ExportDownload

DOWNLOADS = "/v1/downloads"
_log = structlog.get_logger()


class Downloads:
    """Opens the files of `files`; None is a platform without exports. Links are good for `ttl_s` seconds."""

    def __init__(self, files: ExportFiles | None, links: DownloadLinks, *, ttl_s: int) -> None:
        self._files = files
        self._links = links
        self._ttl_s = ttl_s

    @property
    def files(self) -> ExportFiles:
        """The storage. Raises `ExportsOff`."""
        if self._files is None:
            raise ExportsOff("the platform has no LEDGERX_EXPORTS_URL")
        return self._files

    async def link(self, download: Download, export: Export) -> ExportDownload:
        """A link to the file of a done export: a presigned one of a bucket, or one of this API.

        It is good no longer than the file. Raises `ExportNotDone`, `ExportExpired`, `ExportsOff` and `Unavailable`.
        """
        path, files = export.file, self.files
        now = int(time.time())
        expires_at = min(now + self._ttl_s, int((export.expires_at or datetime.now(UTC)).timestamp()))
        if expires_at <= now:
            raise ExportExpired("the file of this export is not kept any more")
        try:
            url = await files.link(path, ttl_s=expires_at - now)
        except UNUSABLE as error:
            raise _unavailable(error) from None
        url = url or f"{DOWNLOADS}/{self._links.make(download, expires_at=expires_at)}"
        return ExportDownload(url, datetime.fromtimestamp(expires_at, UTC))

    def open(self, link: str) -> Download:
        """What a link of this API opens. Raises `NotFound`."""
        return self._links.open(link)

    async def answer(self, export: Export, range_: str | None, if_range: str | None) -> ASGIStreamingResponse:
        """The file of a done export, or the range of it that is asked for, as fast as it is taken.

        Raises `ExportNotDone`, `ExportExpired`, `ExportsOff`, `RangeNotSatisfiable` and `Unavailable`.
        """
        path, files = export.file, self.files
        if export.sha256 is None:
            raise ExportNotDone("the export has no file")
        etag = f'"{export.sha256.hex()}"'
        wanted = wanted_range(range_, if_range, etag=etag, size_bytes=export.size_bytes)
        begin, end = wanted or (0, export.size_bytes)
        try:
            found = await files.read(path, wanted)
        except FileNotFoundError:
            raise ExportExpired("the file of this export is gone") from None
        except UNUSABLE as error:
            raise _unavailable(error) from None
        if found.size_bytes != export.size_bytes:
            raise ExportExpired("the file of this export is not what was written")
        headers = {
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, no-store",
            "Content-Disposition": disposition(export.filename),
            "Content-Length": str(end - begin),
            "ETag": etag,
            # RFC 9530: of the whole file, also where this is a part of it.
            "Repr-Digest": f"sha-256=:{b64encode(export.sha256).decode()}:",
            "X-Content-Type-Options": "nosniff",
        }
        if wanted is not None:
            headers["Content-Range"] = f"bytes {begin}-{end - 1}/{export.size_bytes}"
        return ASGIStreamingResponse(
            iterator=found.chunks,
            media_type=MEDIA_TYPES[export.format],
            headers=headers,
            status_code=200 if wanted is None else 206,
        )


def _unavailable(error: Exception) -> Unavailable:
    _log.warning("the storage of exports cannot be used", error=str(error).partition("\n")[0])
    return Unavailable("the storage of exports did not answer")
