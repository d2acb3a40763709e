"""Keyset files."""

import stat
from pathlib import Path

import pytest

from ledgerx.errors import ConfigurationError
from ledgerx.keys import read_keyset, write_new_keyset


def test_a_new_keyset_is_its_owners_alone_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    written = write_new_keyset(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_keyset(path) == written


def test_keys_in_use_are_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    written = write_new_keyset(path)
    with pytest.raises(FileExistsError):
        write_new_keyset(path)
    assert read_keyset(path) == written


def test_a_missing_keyset_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.json"):
        read_keyset(tmp_path / "absent.json")


@pytest.mark.parametrize("content", ["", "{}", '{"current": "s3cret"}', '{"current": {"kid": "1", "x": "s3cret"}}'])
def test_what_is_no_keyset_is_named_but_not_shown(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"keys\.json is not a keyset") as caught:
        read_keyset(path)
    assert "s3cret" not in str(caught.value)
