import os
from pathlib import Path

import msgspec
import pytest

from ledgerx.errors import ConfigurationError
from ledgerx.logins import Database
from ledgerx_cli import platform
from ledgerx_cli.data_directory import DataDirectory, read_json, write_private_json
from ledgerx_cli.platform import Demo, Platform

DEMO = Demo(base_url="http://127.0.0.1:1", tenant="demo", client_id="id", client_secret="swordfish")
PLATFORM = Platform(
    base_url="http://127.0.0.1:1",
    database=Database(admin_url="a", owner_url="postgresql://o", api_url="c", streams_url="d", relay_url="e"),
    kafka="127.0.0.1:2",
    management={},
    pids={},
)


def test_a_private_file_is_its_owners_only_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    path.write_text("{}")
    path.chmod(0o644)
    write_private_json(path, DEMO)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_json(path, Demo) == DEMO
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_file_is_a_configuration_error(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    path.write_text('{"base_url": 1}')
    with pytest.raises(ConfigurationError, match=r"demo\.json is damaged"):
        read_json(path, Demo)


def test_secrets_do_not_show_themselves() -> None:
    assert "swordfish" not in repr(DEMO)
    assert "postgresql://o" not in repr(PLATFORM)


def test_one_platform_at_a_time_holds_the_directory(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "data")
    with directory.locked():
        assert directory.is_locked()
        with pytest.raises(ConfigurationError, match=rf"in use by another platform \(process {os.getpid()}\)"):
            DataDirectory(tmp_path / "data").locked().__enter__()
    assert not directory.is_locked()
    with directory.locked():
        assert directory.is_locked()


def test_a_directory_that_cannot_be_made_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot use"), DataDirectory(tmp_path / "file" / "data").locked():
        pass


def test_a_platform_is_found_while_it_runs_and_ready_only(tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path)
    with pytest.raises(ConfigurationError, match="no platform is running"):
        platform.find(tmp_path)
    with directory.locked():
        with pytest.raises(ConfigurationError, match="not ready yet"):
            platform.find(tmp_path)
        write_private_json(directory.platform, PLATFORM)
        assert platform.find(tmp_path) == PLATFORM
    with pytest.raises(ConfigurationError, match="no platform is running"):
        platform.find(tmp_path)


def test_the_owners_url_comes_from_the_environment_or_the_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = DataDirectory(tmp_path)
    with directory.locked():
        write_private_json(directory.platform, PLATFORM)
        assert platform.owner_url(tmp_path) == "postgresql://o"
        monkeypatch.setenv("LEDGERX_DATABASE_URL", "postgresql://elsewhere")
        assert platform.owner_url(tmp_path) == "postgresql://elsewhere"


def test_there_is_no_demo_before_the_first_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no demo tenant"):
        platform.demo(tmp_path)
    write_private_json(tmp_path / "demo.json", DEMO)
    assert msgspec.structs.astuple(platform.demo(tmp_path)) == (
        "http://127.0.0.1:1",
        "demo",
        "id",
        "swordfish",
        None,
        None,
    )
