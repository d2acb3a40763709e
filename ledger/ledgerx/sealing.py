"""Secrets that the platform has to know again, sealed (AES-256-GCM) by a key that no database holds.

The keys are one JSON file of JWKs (RFC 7517, `oct`), readable by those who seal and open. The current key seals; older
ones open what they sealed, and are kept until nothing of theirs is left.
"""

import secrets
from functools import cached_property
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from jwt.utils import base64url_decode, base64url_encode

from ledgerx.errors import ConfigurationError
from ledgerx.keys import write_new_file

_KEY_BYTES = 32
_ID_BYTES = 8
_NONCE_BYTES = 12


class SealBroken(Exception):
    """What was sealed was changed, belongs elsewhere, or was sealed by a key that is not there any more."""


class SymmetricJwk(msgspec.Struct, frozen=True, kw_only=True):
    """A symmetric key as RFC 7518, 6.4 writes it; `k` is base64url, `kid` 16 hexadecimal digits."""

    kid: str
    k: str
    kty: str = "oct"
    alg: str = "A256GCM"

    def __repr__(self) -> str:
        return f"SymmetricJwk(kid={self.kid!r})"


class SealingKeys(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The keys of one platform."""

    current: SymmetricJwk
    older: tuple[SymmetricJwk, ...] = ()

    def seal(self, secret: bytes, *, of: bytes) -> bytes:
        """Seal a secret so that it opens for the same `of` only, such as the id of what it belongs to."""
        key_id = bytes.fromhex(self.current.kid)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return key_id + nonce + self.ciphers[key_id].encrypt(nonce, secret, of)

    def open(self, sealed: bytes, *, of: bytes) -> bytes:
        """What `seal` sealed. Raises `SealBroken`."""
        key_id, nonce = sealed[:_ID_BYTES], sealed[_ID_BYTES : _ID_BYTES + _NONCE_BYTES]
        cipher = self.ciphers.get(key_id)
        if cipher is None:
            raise SealBroken(f"there is no sealing key {key_id.hex()}")
        try:
            return cipher.decrypt(nonce, sealed[_ID_BYTES + _NONCE_BYTES :], of)
        except (InvalidTag, ValueError):
            raise SealBroken("the seal is broken") from None

    @cached_property
    def ciphers(self) -> dict[bytes, AESGCM]:
        """By key id. Raises `ValueError` for what is no key."""
        return {bytes.fromhex(key.kid): AESGCM(base64url_decode(key.k)) for key in (*self.older, self.current)}


def new_sealing_keys() -> SealingKeys:
    """A key that nothing is sealed with yet."""
    return SealingKeys(current=_generate())


def write_new_sealing_keys(path: Path) -> SealingKeys:
    """Make a key and write it to `path`, readable by its owner only.

    Raises `FileExistsError` rather than replace keys that secrets were sealed with.
    """
    keys = new_sealing_keys()
    write_new_file(path, keys)
    return keys


def rotated(keys: SealingKeys) -> SealingKeys:
    """The keys with a new current one."""
    return SealingKeys(current=_generate(), older=(keys.current, *keys.older))


def read_sealing_keys(path: Path) -> SealingKeys:
    """Read a file of sealing keys. Raises `ConfigurationError`."""
    try:
        return decode_sealing_keys(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"cannot read the sealing keys {path}: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(f"{path} does not hold sealing keys") from None


def decode_sealing_keys(text: bytes) -> SealingKeys:
    """The keys in what such a file holds. Raises `ValueError`."""
    keys = msgspec.json.decode(text, type=SealingKeys)
    if any(len(key_id) != _ID_BYTES for key_id in keys.ciphers):
        raise ValueError("the id of a key is not as long as it has to be")
    return keys


def _generate() -> SymmetricJwk:
    return SymmetricJwk(kid=secrets.token_hex(_ID_BYTES), k=base64url_encode(secrets.token_bytes(_KEY_BYTES)).decode())
