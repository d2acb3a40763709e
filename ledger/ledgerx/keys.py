"""Signing keys: Ed25519, with a previous and a next key beside the current one.

A keyset is one JSON file of JWKs (RFC 8037). That of access tokens is readable by the API only: they are signed with
`current`, and all three are published and accepted, so that a rotation never meets a verifier that lacks the key. That
of checkpoints is another one, for who signs those must not be able to sign tokens.
"""

import os
import secrets
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.algorithms import OKPAlgorithm

from ledgerx.errors import ConfigurationError


class PrivateJwk(msgspec.Struct, frozen=True, kw_only=True):
    """An Ed25519 private key as RFC 8037 writes it; `d` and `x` are base64url."""

    kid: str
    x: str
    d: str
    kty: str = "OKP"
    crv: str = "Ed25519"

    def __repr__(self) -> str:
        return f"PrivateJwk(kid={self.kid!r})"


class Keyset(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """The keys of one platform."""

    current: PrivateJwk
    previous: PrivateJwk | None = None
    next: PrivateJwk | None = None

    @cached_property
    def signing_key(self) -> Ed25519PrivateKey:
        """The private half of `current`."""
        return _private(self.current)

    @cached_property
    def private_keys(self) -> list[Ed25519PrivateKey]:
        """The private half of `current`, and that of `previous` where there is one."""
        return [_private(key) for key in (self.current, self.previous) if key is not None]

    @cached_property
    def public_keys(self) -> dict[str, Ed25519PublicKey]:
        """The public halves by key id."""
        keys = {}
        for jwk in self.jwks()["keys"]:
            key = OKPAlgorithm.from_jwk(jwk)
            if isinstance(key, Ed25519PublicKey):
                keys[jwk["kid"]] = key
        return keys

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The public JWK set (RFC 7517)."""
        present = [key for key in (self.current, self.previous, self.next) if key is not None]
        return {
            "keys": [
                {"kty": key.kty, "crv": key.crv, "x": key.x, "kid": key.kid, "use": "sig", "alg": "EdDSA"}
                for key in present
            ]
        }


def new_keyset() -> Keyset:
    """A keyset with a current and a next key."""
    return Keyset(current=_generate(), next=_generate())


def write_new_keyset(path: Path) -> Keyset:
    """Make a keyset with a current and a next key and write it to `path`, readable by its owner only.

    Raises `FileExistsError` rather than replace keys that tokens were signed with.
    """
    keyset = new_keyset()
    write_new_file(path, keyset)
    return keyset


def write_new_file(path: Path, keys: msgspec.Struct) -> None:
    """Write keys to a file that is not there yet, readable by its owner only. Raises `FileExistsError`."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(keys)))


def rotated(keyset: Keyset) -> Keyset:
    """The keyset with its next key as the current one. Tokens of the current key are good as the previous one's."""
    return Keyset(current=keyset.next or _generate(), previous=keyset.current, next=_generate())


def read_keyset(path: Path) -> Keyset:
    """Read a keyset file. Raises `ConfigurationError`."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Keyset)
    except OSError as error:
        raise ConfigurationError(f"cannot read the keyset {path}: {error.strerror}") from None
    except msgspec.DecodeError:
        raise ConfigurationError(f"{path} is not a keyset") from None


def _private(jwk: PrivateJwk) -> Ed25519PrivateKey:
    key = OKPAlgorithm.from_jwk(msgspec.to_builtins(jwk))
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigurationError("the keyset has a key that is not an Ed25519 private key")
    return key


def _generate() -> PrivateJwk:
    jwk: dict[str, Any] = OKPAlgorithm.to_jwk(Ed25519PrivateKey.generate(), as_dict=True)
    return PrivateJwk(kid=secrets.token_hex(8), x=jwk["x"], d=jwk["d"])
