import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import psutil
import pytest

from ledgerx_cli.progress import Event, PartCrashed, PartKilled, PartReady, PartStarting, PartStopped
from ledgerx_cli.supervisor import Part, PartFailed, Supervisor, stop_leftovers

# Says that it is ready by making the file that its last argument names, then waits for its end.
SERVE = "import pathlib, sys, time; pathlib.Path(sys.argv[-1]).touch(); time.sleep(600)"
SERVE_STUBBORNLY = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SERVE}"
SERVE_WITH_A_WORKER = (
    f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{SERVE}', sys.argv[1]]); {SERVE}"
)
SUPERVISE = """
import asyncio, sys
from pathlib import Path
from ledgerx_cli.supervisor import Part, Supervisor

async def main():
    here = Path(sys.argv[1])
    async def ready():
        return (here / "ready").exists()
    supervisor = Supervisor(run=here, logs=here, report=lambda event: None)
    command = (sys.executable, "-c", sys.argv[2], str(here / "ready"))
    await supervisor.start(Part(name="orphan", command=command, ready=ready))
    print("started", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


class Platform:
    """A supervisor with what it reported."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.events: list[Event] = []
        self.supervisor = Supervisor(run=directory, logs=directory, report=self.events.append)

    def part(self, name: str, script: str = SERVE, **changes: object) -> Part:
        """A part that is ready when its script has made its file."""
        ready = self.directory / f"{name}.ready"

        async def is_ready() -> bool:
            return ready.exists()

        part = Part(name=name, command=(sys.executable, "-c", script, str(ready)), ready=is_ready)
        return msgspec.structs.replace(part, **changes)


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    platform = Platform(tmp_path)
    yield platform
    await platform.supervisor.stop()


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(0.02)


async def test_a_crashed_part_is_started_again_and_said_so(platform: Platform) -> None:
    await platform.supervisor.start(platform.part("one"))
    first = platform.supervisor.pids["one"]
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: len(platform.events) == 4)
    started, ready, crashed, ready_again = platform.events
    assert isinstance(started, PartStarting)
    assert isinstance(ready, PartReady)
    assert isinstance(crashed, PartCrashed)
    assert crashed.exit_code == -signal.SIGKILL
    assert isinstance(ready_again, PartReady)
    assert platform.supervisor.pids["one"] != first


async def test_a_part_that_keeps_crashing_is_retried_later_each_time(platform: Platform) -> None:
    await platform.supervisor.start(platform.part("one", "import pathlib, sys; pathlib.Path(sys.argv[-1]).touch()"))

    def crashes() -> list[float]:
        return [event.retry_in_s for event in platform.events if isinstance(event, PartCrashed)]

    await eventually(lambda: len(crashes()) == 3)
    assert crashes() == [0.5, 1, 2]


async def test_the_workers_of_a_crashed_part_go_with_it(platform: Platform) -> None:
    await platform.supervisor.start(platform.part("one", SERVE_WITH_A_WORKER))
    leader = psutil.Process(platform.supervisor.pids["one"])
    (worker,) = leader.children()
    leader.kill()
    await eventually(lambda: not worker.is_running())


async def test_parts_stop_in_the_reverse_order_of_their_start(platform: Platform) -> None:
    for name in ("database", "broker", "api"):
        await platform.supervisor.start(platform.part(name))
    pids = platform.supervisor.pids.values()
    await platform.supervisor.stop()
    assert [event.part for event in platform.events if isinstance(event, PartStopped)] == ["api", "broker", "database"]
    assert not any(map(psutil.pid_exists, pids))
    assert list(platform.directory.glob("*.pid")) == []


async def test_a_part_that_does_not_stop_is_killed(platform: Platform) -> None:
    await platform.supervisor.start(platform.part("one", SERVE_STUBBORNLY, stop_timeout_s=0.1))
    pid = platform.supervisor.pids["one"]
    await platform.supervisor.stop()
    assert platform.events[-2:] == [PartKilled(part="one", after_s=0.1), PartStopped(part="one")]
    assert not psutil.pid_exists(pid)


async def test_a_part_that_ends_before_it_is_ready_fails_and_names_its_log(platform: Platform) -> None:
    log = platform.directory / "one.log"
    with pytest.raises(PartFailed, match=f"one ended with code 3: see {log}"):
        await platform.supervisor.start(platform.part("one", "print('no room'); raise SystemExit(3)"))
    assert log.read_text() == "no room\n"


async def test_a_part_that_never_gets_ready_fails_and_is_killed(platform: Platform) -> None:
    sleeper = platform.part("one", "import time; time.sleep(600)", start_timeout_s=0.3)
    with pytest.raises(PartFailed, match=r"one was not ready within 0\.3 s"):
        await platform.supervisor.start(sleeper)
    pid = platform.supervisor.pids["one"]
    await platform.supervisor.stop()
    assert not psutil.pid_exists(pid)


def test_what_a_killed_supervisor_left_is_found_and_stopped(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SUPERVISE, str(tmp_path), SERVE]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == b"started\n"
        supervisor.kill()
    (pid_file,) = tmp_path.glob("*.pid")
    orphan = psutil.Process(msgspec.json.decode(pid_file.read_bytes())["pid"])
    assert stop_leftovers(tmp_path) == [orphan.pid]
    assert not orphan.is_running()
    assert list(tmp_path.glob("*.pid")) == []


def test_a_process_that_got_the_pid_of_a_leftover_is_spared(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVE, str(tmp_path / "ready")]) as other:
        note = {"pid": other.pid, "command": ["postgres", "-D", str(tmp_path)], "stop_signal": signal.SIGINT}
        (tmp_path / "postgres.pid").write_bytes(msgspec.json.encode(note))
        assert stop_leftovers(tmp_path) == []
        assert other.poll() is None
        other.kill()
    assert list(tmp_path.glob("*.pid")) == []
