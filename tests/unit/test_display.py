import io
import sys

import msgspec
import pytest

from ledgerx_cli import display
from ledgerx_cli.progress import Downloading, Event, PartCrashed, PartReady, PartStarting, PartStopped

EVENTS: tuple[Event, ...] = (
    PartStarting("api"),
    Downloading(1_000_000, 27_000_000),
    PartReady("api", 1.25),
    PartCrashed("api", -9, 0.5),
    PartStopped("api"),
)


def test_scripts_get_one_json_object_a_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with display.json_lines() as report:
        for event in EVENTS:
            report(event)
    lines = capfdbinary.readouterr().out.splitlines()
    assert tuple(msgspec.json.decode(line, type=Event) for line in lines) == EVENTS
    assert msgspec.json.decode(lines[0]) == {"event": "part_starting", "part": "api"}


def test_logs_get_one_plain_line_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    with display.human() as report:
        for event in EVENTS:
            report(event)
    assert output.getvalue().splitlines() == [
        "api: starting",
        "download: 1.0 of 27.0 MB",
        "api: ready after 1.2 s",
        "api: ended with code -9, starting again in 0.5 s",
        "api: stopped",
    ]
