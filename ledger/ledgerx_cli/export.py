"""`ledgerx export`."""

import hashlib
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from uuid import UUID

import httpx2
import msgspec
import stamina
from cyclopts import Parameter
from stamina.instrumentation import set_on_retry_hooks

from ledgerx.exports import Dataset, Format, Status
from ledgerx_cli.api import Api, check, connect
from ledgerx_cli.bars import counted
from ledgerx_cli.failures import CommandFailed
from ledgerx_cli.files import finished
from ledgerx_cli.options import DEFAULT_DATA, AsJson, Data

_POLL_S = 0.5
# Of a download that broke off, each from where the one before ended.
_ATTEMPTS = 6
_PERCENT = 100
_AS_IT_IS = {"Accept-Encoding": "identity"}


class _Link(msgspec.Struct, frozen=True):
    url: str


class _Failure(msgspec.Struct, frozen=True):
    code: str
    detail: str


class _Export(msgspec.Struct, frozen=True, kw_only=True):
    """What the API says of an export, as far as this command looks at it."""

    id: UUID
    status: Status
    progress: float
    sequence: int
    recorded_at: datetime | None
    rows: int
    bytes: int
    sha256: str | None
    filename: str
    error: _Failure | None
    download: _Link | None = None


def export(
    dataset: Annotated[Dataset, Parameter(help="What to export.")],
    /,
    *,
    file_format: Annotated[Format, Parameter(name="--format", help="What the file is written in.")] = Format.CSV,
    output: Annotated[Path, Parameter(help="The file to write, or a folder for it.")] = Path(),
    only: Annotated[
        list[str] | None,
        Parameter(name="--filter", negative="", help="A filter of docs/exports.md, <name>=<value>; may be repeated."),
    ] = None,
    data: Data = DEFAULT_DATA,
    json: AsJson = False,
) -> str:
    """Have a tenant's data exported by a running platform, and download the file; it is compared with its hash.

    Which platform and tenant say LEDGERX_API_URL, LEDGERX_CLIENT_ID and LEDGERX_CLIENT_SECRET, or the file named by
    LEDGERX_CLIENT_SECRET_FILE; without them it is the demo tenant of the platform in --data. Ctrl-C cancels the export.
    """
    wanted = {"format": file_format, "dataset": dataset, "filters": dict(map(_filter, only or []))}
    with connect(data) as api:
        done = _written(api, api.ask("POST", "/v1/exports", _Export, wanted))
        path = output / Path(done.filename).name if output.is_dir() else output
        try:
            with finished(path) as file, counted("download") as progress:
                _download(api, done, file, progress)
        except OSError as error:
            raise CommandFailed(f"cannot write {path}: {error.strerror}") from None
    if json:
        shown = {name: getattr(done, name) for name in ("id", "sequence", "recorded_at", "rows", "bytes", "sha256")}
        return msgspec.json.encode({"file": str(path), **shown}).decode()
    return f"{path}: {done.rows} rows, true at entry {done.sequence}"


def _filter(given: str) -> tuple[str, Any]:
    name, equals, value = given.partition("=")
    if not equals:
        raise CommandFailed(f'the filter "{given}" is not <name>=<value>')
    try:
        # Of all filters this one alone is not a string.
        return name, msgspec.json.decode(value) if name == "metadata" else value
    except msgspec.DecodeError:
        raise CommandFailed("the filter metadata is not JSON") from None


def _written(api: Api, asked: _Export) -> _Export:
    """The export once it is done; it is cancelled where nobody waits for it any more. Raises `CommandFailed`."""
    path = f"/v1/exports/{asked.id}"
    found = asked
    with counted(f"export at entry {asked.sequence}") as progress:
        while found.status in (Status.QUEUED, Status.RUNNING):
            progress(int(found.progress * _PERCENT), _PERCENT)
            try:
                time.sleep(_POLL_S)
                found = api.ask("GET", path, _Export)
            except KeyboardInterrupt:
                api.ask("DELETE", path, Any)
                sys.exit(130)
    if found.status is not Status.DONE:
        raise CommandFailed(f"the export {found.id} {found.status}: {found.error.detail if found.error else ''}")
    return found


def _download(api: Api, export: _Export, file: BinaryIO, progress: Any) -> None:
    """Write the file of a done export, and compare it with its hash. Raises `CommandFailed`."""
    digest = hashlib.sha256()
    # Log lines would stand among what this command prints.
    set_on_retry_hooks([])
    try:
        for attempt in stamina.retry_context(on=httpx2.TransportError, attempts=_ATTEMPTS, timeout=None):
            with attempt:
                begin = file.tell()
                link = api.ask("GET", f"/v1/exports/{export.id}", _Export).download
                if link is None:
                    raise CommandFailed(f"the file of the export {export.id} is not kept any more")
                with api.stream(link.url, _AS_IT_IS | ({"Range": f"bytes={begin}-"} if begin else {})) as answer:
                    check(answer)
                    if begin and answer.status_code != httpx2.codes.PARTIAL_CONTENT:
                        raise CommandFailed("the download broke off, and cannot go on there")
                    for chunk in answer.iter_raw():
                        file.write(chunk)
                        digest.update(chunk)
                        progress(file.tell(), export.bytes)
    except httpx2.HTTPError as error:
        raise CommandFailed(f"the download broke off: {error}") from None
    if (file.tell(), digest.hexdigest()) != (export.bytes, export.sha256):
        raise CommandFailed("what was downloaded is not what was exported")
