"""Keyset files."""

import stat
from pathlib import Path

import pytest

from ledgerx.errors import ConfigurationError
from ledgerx.keys import Keyset, read_keyset, rotated, write_new_keyset
from ledgerx_cli.keys import rotate


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


def test_a_rotation_signs_with_the_key_that_was_published_before(tmp_path: Path) -> None:
    first = write_new_keyset(tmp_path / "keys.json")
    second = rotated(first)
    assert (second.current, second.previous) == (first.next, first.current)
    third = rotated(second)
    assert (third.current, third.previous) == (second.next, second.current)
    keys = [second.next, third.next, first.current, first.next]
    assert len({key.kid for key in keys if key}) == 4


def test_a_keyset_without_a_next_key_rotates_to_a_fresh_one(tmp_path: Path) -> None:
    first = Keyset(current=write_new_keyset(tmp_path / "keys.json").current)
    second = rotated(first)
    assert second.previous == first.current
    assert second.current.kid != first.current.kid


def test_the_command_rotates_the_file_and_keeps_it_private(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    before = write_new_keyset(path)
    assert before.next is not None
    said = rotate(data=tmp_path)
    after = read_keyset(path)
    assert (after.current, after.previous) == (before.next, before.current)
    assert after.current.kid in said
    assert after.current.d not in said
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    rotate(keys=path, data=tmp_path / "elsewhere")
    assert read_keyset(path).previous == after.current


def test_the_command_makes_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    said = rotate(keys=path)
    assert read_keyset(path).current.kid in said
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
