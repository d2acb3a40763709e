"""Secrets under seal."""

from pathlib import Path

import msgspec
import pytest

from ledgerx.errors import ConfigurationError
from ledgerx.sealing import SealBroken, SealingKeys, read_sealing_keys, rotated, write_new_sealing_keys
from ledgerx_cli.keys import rotate_sealing


@pytest.fixture
def keys(tmp_path: Path) -> SealingKeys:
    return write_new_sealing_keys(tmp_path / "sealing-keys.json")


def test_what_is_sealed_opens_where_it_belongs_only(keys: SealingKeys) -> None:
    sealed = keys.seal(b"secret", of=b"mine")
    assert keys.open(sealed, of=b"mine") == b"secret"
    assert b"secret" not in sealed
    with pytest.raises(SealBroken):
        keys.open(sealed, of=b"another's")
    assert keys.seal(b"secret", of=b"mine") != sealed


def test_whatever_is_changed_breaks_the_seal(keys: SealingKeys) -> None:
    sealed = keys.seal(b"secret", of=b"mine")
    for number in range(len(sealed)):
        changed = bytearray(sealed)
        changed[number] ^= 1
        with pytest.raises(SealBroken):
            keys.open(bytes(changed), of=b"mine")
    for end in range(len(sealed)):
        with pytest.raises(SealBroken):
            keys.open(sealed[:end], of=b"mine")


def test_keys_of_before_open_and_the_new_one_seals(keys: SealingKeys) -> None:
    sealed, later = keys.seal(b"secret", of=b""), rotated(rotated(keys))
    assert later.open(sealed, of=b"") == b"secret"
    fresh = later.seal(b"secret", of=b"")
    with pytest.raises(SealBroken, match="no sealing key"):
        keys.open(fresh, of=b"")


def test_a_file_is_private_read_as_written_and_never_replaced(tmp_path: Path, keys: SealingKeys) -> None:
    path = tmp_path / "sealing-keys.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_sealing_keys(path) == keys
    assert keys.current.k not in repr(keys)
    with pytest.raises(FileExistsError):
        write_new_sealing_keys(path)


def test_the_command_makes_the_file_and_puts_a_new_key_before_the_others(tmp_path: Path) -> None:
    rotate_sealing(data=tmp_path)
    path = tmp_path / "sealing-keys.json"
    first = read_sealing_keys(path)
    said = rotate_sealing(keys=path, data=tmp_path / "elsewhere")
    second = read_sealing_keys(path)
    assert second.older == (first.current,)
    assert second.current.kid in said
    assert second.current.k not in said
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b'{"current": {"kid": "00", "k": ""}}',
        b'{"current": {"kid": "xx", "k": ""}}',
        b'{"current": {"kid": "0011223344556677", "k": "c2hvcnQ"}}',
    ],
)
def test_what_holds_no_keys_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="does not hold sealing keys"):
        read_sealing_keys(path)
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_sealing_keys(tmp_path / "missing.json")


def test_the_file_is_a_set_of_jwks(keys: SealingKeys) -> None:
    assert msgspec.to_builtins(keys)["current"].keys() == {"kid", "k", "kty", "alg"}
