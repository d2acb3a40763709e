"""Keeps the parts of a platform running: starts them, restarts what crashes, stops them in order.

Each part is a child process in a session of its own, so that Ctrl-C reaches the supervisor alone and the parts stop in
their order. Pid files tell a later supervisor what one that was killed has left behind.
"""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic

import msgspec

from ledgerx.errors import ConfigurationError
from ledgerx_cli.failures import CommandFailed
from ledgerx_cli.progress import PartCrashed, PartKilled, PartReady, PartStarting, PartStopped, Report

try:
    import psutil
except ModuleNotFoundError:
    # Such as in the image of the parts.
    raise ConfigurationError("the embedded servers are not installed: pip install 'ledgerx[embedded]'") from None

_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 30.0
# A part that ran this long was healthy: its next crash is retried as quickly as the first.
_STEADY_AFTER_S = 60.0
_POLL_S = 0.05
_LEFTOVER_STOP_S = 15.0


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A child process.

    `environment` comes on top of the supervisor's own, `directory` is where it runs if not where the supervisor does,
    and `ready` is asked until it says yes.
    """

    name: str
    command: tuple[str, ...]
    ready: Callable[[], Awaitable[bool]]
    environment: Mapping[str, str] = {}
    directory: Path | None = None
    stop_signal: int = signal.SIGTERM
    start_timeout_s: float = 60
    stop_timeout_s: float = 20


class PartFailed(CommandFailed):
    """A part ended, or took too long, before it was ready."""


class _PidFile(msgspec.Struct, frozen=True):
    pid: int
    command: tuple[str, ...]
    stop_signal: int


class _Child:
    def __init__(self, part: Part) -> None:
        self.part = part
        self.process: Process | None = None
        self.watch: asyncio.Task[None] | None = None


class Supervisor:
    """Runs parts with pid files in `run` and their output in `logs/<part>.log`; says what happens to `report`."""

    def __init__(self, *, run: Path, logs: Path, report: Report) -> None:
        self._run = run
        self._logs = logs
        self._report = report
        self._children: dict[str, _Child] = {}

    @property
    def pids(self) -> dict[str, int]:
        """The process id of each part."""
        return {name: child.process.pid for name, child in self._children.items() if child.process}

    async def start(self, part: Part) -> None:
        """Start `part`, wait until it is ready, and keep it running from then on. Raises `PartFailed`."""
        child = self._children[part.name] = _Child(part)
        self._report(PartStarting(part=part.name))
        await self._launch(child)
        child.watch = asyncio.create_task(self._keep(child), name=f"keep {part.name}")

    async def stop(self) -> None:
        """Stop all parts, the last started first; what outlives its time to stop is killed."""
        watches = [child.watch for child in self._children.values() if child.watch]
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        while self._children:
            _, child = self._children.popitem()
            if child.process is not None:
                await self._end(child.part, child.process)

    async def _launch(self, child: _Child) -> None:
        began = monotonic()
        part = child.part
        log = self._logs / f"{part.name}.log"
        with log.open("ab") as output:
            child.process = await asyncio.create_subprocess_exec(
                *part.command,
                stdin=DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **part.environment},
                cwd=part.directory,
                start_new_session=True,
            )
        self._pid_file(part).write_bytes(
            msgspec.json.encode(_PidFile(child.process.pid, part.command, part.stop_signal))
        )
        try:
            async with asyncio.timeout(part.start_timeout_s):
                while not await part.ready():
                    if child.process.returncode is not None:
                        raise PartFailed(f"{part.name} ended with code {child.process.returncode}: see {log}")
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            _kill_group(child.process.pid)
            raise PartFailed(f"{part.name} was not ready within {part.start_timeout_s:g} s: see {log}") from None
        self._report(PartReady(part=part.name, after_s=round(monotonic() - began, 2)))

    async def _keep(self, child: _Child) -> None:
        retry_in_s = _FIRST_RETRY_S
        while child.process is not None:
            since = monotonic()
            exit_code = await child.process.wait()
            _kill_group(child.process.pid)
            if monotonic() - since > _STEADY_AFTER_S:
                retry_in_s = _FIRST_RETRY_S
            self._report(PartCrashed(part=child.part.name, exit_code=exit_code, retry_in_s=retry_in_s))
            await asyncio.sleep(retry_in_s)
            retry_in_s = min(2 * retry_in_s, _LAST_RETRY_S)
            with suppress(PartFailed, OSError):
                await self._launch(child)

    async def _end(self, part: Part, process: Process) -> None:
        if process.returncode is None:
            process.send_signal(part.stop_signal)
            try:
                async with asyncio.timeout(part.stop_timeout_s):
                    await process.wait()
            except TimeoutError:
                self._report(PartKilled(part=part.name, after_s=part.stop_timeout_s))
        _kill_group(process.pid)
        await process.wait()
        self._pid_file(part).unlink()
        self._report(PartStopped(part=part.name))

    def _pid_file(self, part: Part) -> Path:
        return self._run / f"{part.name}.pid"


def stop_leftovers(run: Path) -> list[int]:
    """End the parts that a killed supervisor has left running with pid files in `run`; returns their process ids.

    A process counts as left over only while it still runs the command line that was started: a pid may have gone to
    somebody else since.
    """
    leftovers: list[psutil.Process] = []
    for path in run.glob("*.pid"):
        # A supervisor that was killed while it wrote the file leaves it half: then the part has just been started.
        with suppress(psutil.NoSuchProcess, msgspec.DecodeError):
            noted = msgspec.json.decode(path.read_bytes(), type=_PidFile)
            process = psutil.Process(noted.pid)
            # What was started through setpriv shows the rest of the command only.
            if (shown := tuple(process.cmdline())) and noted.command[-len(shown) :] == shown:
                process.send_signal(noted.stop_signal)
                leftovers.append(process)
        path.unlink()
    _, alive = psutil.wait_procs(leftovers, timeout=_LEFTOVER_STOP_S)
    for process in alive:
        _kill_group(process.pid)
    psutil.wait_procs(alive, timeout=_LEFTOVER_STOP_S)
    return [process.pid for process in leftovers]


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
