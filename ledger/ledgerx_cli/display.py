"""Shows what happens to a platform: JSON lines for scripts, a live view for terminals, plain lines for logs."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn

from ledgerx_cli.progress import (
    DatabaseReady,
    Downloading,
    Event,
    LeftoversStopped,
    PartCrashed,
    PartKilled,
    PartReady,
    PartStarting,
    PartStopped,
    Ready,
    Report,
)

_MEGABYTE = 1_000_000


@contextmanager
def json_lines() -> Iterator[Report]:
    """One JSON object a line on standard output."""

    def report(event: Event) -> None:
        sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
        sys.stdout.buffer.flush()

    yield report


@contextmanager
def human() -> Iterator[Report]:
    """A live view on a terminal until the platform is up, and lines everywhere else."""
    console = Console(highlight=False)
    columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), TextColumn("{task.fields[note]}"))
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        view = _LiveView(progress)

        def report(event: Event) -> None:
            if isinstance(event, Ready | PartStopped):
                progress.stop()
            if not progress.live.is_started or not view.show(event):
                console.print(describe(event), soft_wrap=True, markup=False)

        yield report


class _LiveView:
    """A line for each thing that is being started."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lines: dict[str, TaskID] = {}

    def show(self, event: Event) -> bool:
        """Move the view on; false when `event` has no place in it."""
        match event:
            case PartStarting():
                self._update(event.part, "starting")
            case PartReady():
                self._update(event.part, f"ready after {event.after_s:.1f} s", done=1)
            case DatabaseReady():
                self._update("database", f"ready after {event.after_s:.1f} s", done=1)
            case Downloading():
                self._update("download", _megabytes(event), done=event.done_bytes, total=event.total_bytes)
            case _:
                return False
        return True

    def _update(self, name: str, note: str, *, done: int = 0, total: int = 1) -> None:
        if name not in self._lines:
            self._lines[name] = self._progress.add_task(name, note=note)
        self._progress.update(self._lines[name], note=note, completed=done, total=total)


def describe(event: Event) -> str:
    """What a person reads."""
    match event:
        case PartStarting():
            return f"{event.part}: starting"
        case PartReady():
            return f"{event.part}: ready after {event.after_s:.1f} s"
        case PartCrashed():
            return f"{event.part}: ended with code {event.exit_code}, starting again in {event.retry_in_s:g} s"
        case PartKilled():
            return f"{event.part}: killed, it did not stop within {event.after_s:g} s"
        case PartStopped():
            return f"{event.part}: stopped"
        case Downloading():
            return f"download: {_megabytes(event)}"
        case DatabaseReady():
            return f"database: ready after {event.after_s:.1f} s"
        case LeftoversStopped():
            return f"stopped what a killed platform had left: processes {', '.join(map(str, event.pids))}"
        case Ready():
            return _welcome(event)


def _megabytes(event: Downloading) -> str:
    return f"{event.done_bytes / _MEGABYTE:.1f} of {event.total_bytes / _MEGABYTE:.1f} MB"


def _welcome(event: Ready) -> str:
    links = {"API": event.base_url, "Docs": event.docs_url, "Logs": event.logs, "Demo": event.demo}
    lines = "\n".join(f"  {name:6} {link}" for name, link in links.items() if link is not None)
    return f"""
LedgerX is up after {event.after_s:.1f} s; Ctrl-C stops it.

{lines}
{_first_steps(event) if event.demo_netrc else ""}"""


def _first_steps(event: Ready) -> str:
    return f"""
Post a first transaction from another shell:

TOKEN=$(curl -s --netrc-file '{event.demo_netrc}' -d grant_type=client_credentials {event.base_url}/v1/auth/token \\
  | sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/')
post() {{ curl -s -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' "$@"; echo; }}
post {event.base_url}/v1/accounts -d '{{"code": "bank", "asset": "USD", "type": "asset"}}'
post {event.base_url}/v1/accounts -d '{{"code": "users:1", "asset": "USD", "type": "liability"}}'
post {event.base_url}/v1/transactions -H 'Idempotency-Key: "first"' \\
  -d '{{"debit": "bank", "credit": "users:1", "amount": "12.34"}}'
"""
