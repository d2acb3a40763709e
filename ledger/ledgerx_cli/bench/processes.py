"""What the processes of a platform use, read from the operating system.

A part is a process and all that descend from it. On Linux those that ended in between count as well: their CPU time
moves to the parent that waited for them.
"""

from collections.abc import Mapping

import msgspec
import psutil

from ledgerx_cli.bench.target import BenchFailed


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """CPU time since the start of a part, and its resident memory now.

    `memory_bytes` counts a page that several processes share once where the system tells (Linux: proportional set
    size), else once for each of them.
    """

    cpu_s: float
    memory_bytes: int


def usage(pids: Mapping[str, int]) -> dict[str, Usage]:
    """The usage of each part, by the process id it was started with. Raises `BenchFailed` when one is gone."""
    try:
        return {part: _of_tree(psutil.Process(pid)) for part, pid in pids.items()}
    except psutil.Error as error:
        raise BenchFailed(f"a part of the platform cannot be observed: {error}") from error


def _of_tree(root: psutil.Process) -> Usage:
    used_s, memory_bytes = 0.0, 0
    for process in [root, *root.children(recursive=True)]:
        try:
            with process.oneshot():
                times = process.cpu_times()
                memory = process.memory_full_info()
        except psutil.NoSuchProcess:
            if process is root:
                raise
            continue
        used_s += times.user + times.system + times.children_user + times.children_system
        memory_bytes += getattr(memory, "pss", memory.rss)
    return Usage(cpu_s=used_s, memory_bytes=memory_bytes)
