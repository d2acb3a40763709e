"""The README, followed by the letter."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import ANY

from tests.integration.up_process import Up

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8080"
STEP = re.compile(r"^```sh\n(.*?)^```\n(?:\n```(?:json|text)\n(.*?)^```)?", re.MULTILINE | re.DOTALL)
_POLL_S = 0.1


def read(text: str) -> Any:
    """What a block or an answer says; the README writes … where runs differ."""
    try:
        return json.loads(text, object_hook=lambda members: {k: ANY if v == "…" else v for k, v in members.items()})
    except json.JSONDecodeError:
        return text.strip()


def test_five_minutes_with_curl(tmp_path: Path) -> None:
    section = README.partition("## Five minutes with curl\n")[2].partition("\n## ")[0]
    (preparation, _), *steps = STEP.findall(section)
    assert preparation.count(ADDRESS) == 1
    assert len(steps) == 7

    with Up(tmp_path / ".ledgerx") as up:

        def run(command: str) -> Any:
            script = f"{preparation}{command}".replace(ADDRESS, up.base_url)
            script = script.replace(".venv/bin/", f"{Path(sys.executable).parent}/")
            answer = subprocess.run(["/bin/sh", "-eu", "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, check=True)
            return read(answer.stdout.decode())

        for command, shown in steps[:-1]:
            answer = run(command)
            assert not shown or answer == read(shown)

        # A person types more slowly than the streams follow.
        verification, verified = steps[-1]
        while (report := run(verification))["projections"] != read(verified)["projections"]:
            time.sleep(_POLL_S)
        assert report == read(verified)
