"""Signed notes (https://c2sp.org/signed-note): a text with the signatures of keys that have names. Pure.

Ed25519 only. Whoever verifies has to know the key beforehand, written as `<name>+<key id>+<key>`.
"""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_SIGNATURES = 16
_ED25519 = b"\x01"
_ID_BYTES = 4
_EM_DASH = "— "


class BadNoteError(ValueError):
    """Not a signed note, not a key, or not signed by a key that is known."""


class VerifierKey(msgspec.Struct, frozen=True):
    """A public key with the name that its signatures bear; `raw` are the 32 bytes of RFC 8032."""

    name: str
    raw: bytes

    @property
    def key_id(self) -> bytes:
        """The four bytes that begin its signatures."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.raw).digest()[:_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{b64encode(_ED25519 + self.raw).decode()}"


def verifier_key(name: str, key: Ed25519PublicKey) -> VerifierKey:
    """The key under a name. Raises `BadNoteError` for a name that cannot be one."""
    if not name or "+" in name or any(char.isspace() or ord(char) < ord(" ") for char in name):
        raise BadNoteError(f'"{name}" is not the name of a key: no spaces, no "+"')
    return VerifierKey(name, key.public_bytes_raw())


def parse_verifier_key(text: str) -> VerifierKey:
    """The key that `str` of one wrote. Raises `BadNoteError`."""
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        raw = b64decode(encoded, validate=True)
        key = verifier_key(name, Ed25519PublicKey.from_public_bytes(raw[1:]))
    except ValueError:
        raise BadNoteError(f'"{text.strip()}" is not the key of a verifier: <name>+<key id>+<key>') from None
    if raw[:1] != _ED25519 or key_id != key.key_id.hex():
        raise BadNoteError(f'"{text.strip()}" is damaged, or not an Ed25519 key')
    return key


def sign(text: str, name: str, keys: Iterable[Ed25519PrivateKey]) -> str:
    """`text`, which ends in a line feed, with a signature line of each of `keys` under `name`."""
    lines = []
    for key in keys:
        signature = verifier_key(name, key.public_key()).key_id + key.sign(text.encode())
        lines.append(f"{_EM_DASH}{name} {b64encode(signature).decode()}\n")
    return f"{text}\n{''.join(lines)}"


def open_note(note: str, keys: Sequence[VerifierKey]) -> str:
    """The text of a note that at least one of `keys` has signed.

    Raises `BadNoteError`, also where a signature in the name and with the id of one of them is not its.
    """
    text, separator, block = note.rpartition("\n\n")
    lines = block.removesuffix("\n").split("\n")
    if not separator or not block.endswith("\n") or len(lines) > MAX_SIGNATURES:
        raise BadNoteError("this is not a signed note")
    text += "\n"
    signed = False
    for line in lines:
        name, signature = _signature(line)
        for key in keys:
            if (key.name, key.key_id) == (name, signature[:_ID_BYTES]):
                try:
                    Ed25519PublicKey.from_public_bytes(key.raw).verify(signature[_ID_BYTES:], text.encode())
                except InvalidSignature:
                    raise BadNoteError(f"the signature of {name} is not good") from None
                signed = True
    if not signed:
        raise BadNoteError("no key that is known has signed it")
    return text


def _signature(line: str) -> tuple[str, bytes]:
    name, space, encoded = line.removeprefix(_EM_DASH).partition(" ")
    try:
        signature = b64decode(encoded, validate=True)
    except ValueError:
        signature = b""
    if not line.startswith(_EM_DASH) or not name or not space or len(signature) <= _ID_BYTES:
        raise BadNoteError("this is not a signed note")
    return name, signature
