"""Works off the exports: a few at once, each under a lease, and tidies up behind those that have ended.

The table of exports is the queue. An event from Kafka, and a clock, only say that it is time to look: a lost event, a
repeated one or a worker that was killed change nothing but the moment.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import psycopg
import structlog
from opentelemetry import trace
from prometheus_client import Counter, Gauge, Histogram

from ledgerx import telemetry
from ledgerx.database import Pool
from ledgerx.export_files import UNUSABLE, ExportFiles
from ledgerx.exports import LEASE_S, MEDIA_TYPES, Failure, Status
from ledgerx_streams.exports.leases import Claim, Due, Leases
from ledgerx_streams.exports.writing import FileTooLargeError, Measures, file_chunks

LOOK_S = 5.0
RENEW_S = 1.0
MAX_ATTEMPTS = 5
_FIRST_PAUSE_S = 2.0

_RUNNING = Gauge("ledgerx_exports_running", "Exports that this process writes.")
_SECONDS = Histogram(
    "ledgerx_export_seconds",
    "From the start of an attempt to its end.",
    ["format", "outcome"],
    buckets=(0.1, 0.5, 1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10800),
)
_BYTES = Counter("ledgerx_export_bytes", "Bytes of files that were finished.")

_log = structlog.get_logger()
_tracer = trace.get_tracer("ledgerx.exports")


class NoSuchDestinationError(Exception):
    """The platform has no destination of this name, or not any more."""


class _LostError(Exception):
    """The export is another worker's now, or was cancelled."""


@contextmanager
def _reported(event: str, **where: str) -> Iterator[None]:
    """Log what goes wrong, and go on: what one export needs must not end the worker for all."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - see above
        expected = isinstance(error, (psycopg.Error, *UNUSABLE))
        _log.warning(event, error=str(error).strip(), exc_info=None if expected else error, **where)


class ExportWorker:
    """Writes at most `at_once` exports at the same time; a done one is kept for `keep_days`.

    `files` are the storages of the destinations by name, and that of all other exports as None.
    """

    def __init__(
        self, pool: Pool, files: Mapping[str | None, ExportFiles], *, at_once: int, keep_days: int, max_bytes: int
    ) -> None:
        self._pool = pool
        self._leases = Leases(pool)
        self._files = files
        self._at_once = at_once
        self._keep_days = keep_days
        self._max_bytes = max_bytes
        self._awake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Have the worker look for exports now."""
        self._awake.set()

    async def run(self) -> None:
        """Work until cancelled; what is being written then is given back to be written anew."""
        try:
            while True:
                self._awake.clear()
                with _reported("exports not found"):
                    for due in await self._leases.due():
                        with _reported("export not looked at", tenant=str(due.tenant_id), export=str(due.export_id)):
                            await self._look_at(due)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._awake.wait(), LOOK_S)
        finally:
            for task in self._running:
                task.cancel()
            if self._running:
                await asyncio.wait(self._running)

    async def _look_at(self, due: Due) -> None:
        if due.status not in (Status.QUEUED, Status.RUNNING):
            await self._tidy(due)
        elif len(self._running) < self._at_once:
            claim = await self._leases.claim(due)
            if claim is not None:
                task = asyncio.create_task(self._attempt(claim))
                self._running.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        # There is room for another one.
        self._awake.set()

    async def _tidy(self, due: Due) -> None:
        await self._leases.expire(due)
        match await self._leases.leftover(due):
            case True, destination:
                if destination in self._files:
                    await self._files[destination].remove(due.folder)
                await self._leases.tidied(due)
            case False, _:
                await self._leases.forget(due)
            case None:
                pass

    async def _attempt(self, claim: Claim) -> None:
        began = time.monotonic()
        where: dict[str, str | int] = {
            "tenant": str(claim.due.tenant_id),
            "export": str(claim.due.export_id),
            "attempt": claim.attempt,
        }
        with (
            _RUNNING.track_inprogress(),
            _tracer.start_as_current_span("export", telemetry.trace_of(claim.traceparent), attributes=where),
        ):
            measures = Measures()
            try:
                outcome = await self._outcome(claim, measures)
            except psycopg.Error as error:
                # Its lease runs out, and somebody takes it again.
                outcome = "unknown"
                _log.warning("export left", error=str(error).strip(), **where)
            shown = {"rows": measures.rows, "bytes": measures.bytes, "seconds": round(time.monotonic() - began, 3)}
            _log.info("export", outcome=outcome, format=claim.format, dataset=claim.dataset, **shown, **where)
        _SECONDS.labels(claim.format, outcome).observe(time.monotonic() - began)

    async def _outcome(self, claim: Claim, measures: Measures) -> str:
        if claim.attempt > MAX_ATTEMPTS:
            detail = f"it was begun {MAX_ATTEMPTS} times, and never finished"
            await self._leases.fail(claim, Failure("export_failed", detail))
            return "failed"
        try:
            await self._write(claim, measures)
        except _LostError:
            return "lost"
        except asyncio.CancelledError:
            await asyncio.shield(self._leases.give_back(claim, pause_s=0, counts=False))
            raise
        except FileTooLargeError as error:
            await self._leases.fail(claim, Failure("export_too_large", str(error)))
            return "failed"
        except NoSuchDestinationError as error:
            await self._leases.fail(claim, Failure("no_such_destination", str(error)))
            return "failed"
        except Exception as error:  # noqa: BLE001 - whatever it is, the export must not stay as if it were written
            expected = isinstance(error, (psycopg.Error, *UNUSABLE))
            _log.warning("export broken off", error=str(error).strip(), exc_info=None if expected else error)
            if claim.attempt < MAX_ATTEMPTS:
                await self._leases.give_back(claim, pause_s=_FIRST_PAUSE_S * 2**claim.attempt)
                return "broken_off"
            what = "the database or the storage did not answer" if expected else "something unforeseen happened"
            await self._leases.fail(claim, Failure("export_failed", what))
            return "failed"
        _BYTES.inc(measures.bytes)
        return "done"

    async def _write(self, claim: Claim, measures: Measures) -> None:
        """Write the file and say so. Raises `_LostError`, and then there is none of this attempt."""
        files = self._files.get(claim.destination)
        if files is None:
            raise NoSuchDestinationError(f"this platform has no destination {claim.destination}")
        if claim.attempt > 1:
            await files.remove(claim.due.folder)
        chunks = file_chunks(self._pool, claim.cut, claim.dataset, claim.format, measures, max_bytes=self._max_bytes)
        media_type = MEDIA_TYPES[claim.format]
        writing = asyncio.create_task(files.write(claim.path, chunks, media_type=media_type, filename=claim.filename))
        try:
            await self._watch(claim, measures, writing)
        finally:
            if not writing.done():
                writing.cancel()
                await asyncio.wait({writing})
        if not await self._leases.finish(claim, measures, keep_days=self._keep_days):
            await files.remove(claim.path)
            raise _LostError

    async def _watch(self, claim: Claim, measures: Measures, writing: asyncio.Task[None]) -> None:
        """Renew the lease until the file is written. Raises `_LostError`, and what writing raises."""
        good_until = time.monotonic() + LEASE_S
        while not (await asyncio.wait({writing}, timeout=RENEW_S))[0]:
            began = time.monotonic()
            try:
                if not await self._leases.renew(claim, measures):
                    raise _LostError
                good_until = began + LEASE_S
            except psycopg.Error:
                if time.monotonic() > good_until:
                    raise _LostError from None
        await writing
