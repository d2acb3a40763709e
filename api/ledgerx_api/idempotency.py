"""The header `Idempotency-Key` (IETF draft-ietf-httpapi-idempotency-key-header) and the fingerprint of a request."""

import hashlib
from typing import Any

import msgspec

from ledgerx.errors import InvalidIdempotencyKey, Malformed, MissingIdempotencyKey

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"
MAX_KEY_CHARACTERS = 255
_VERSION = 1


def parse_key(header: str | None) -> str:
    """The key in a header value: a quoted string, or the bare characters.

    Raises `MissingIdempotencyKey`, and `InvalidIdempotencyKey` when it is empty, longer than `MAX_KEY_CHARACTERS`, or
    holds anything but printable ASCII.
    """
    if header is None:
        raise MissingIdempotencyKey(f"this operation needs the header {HEADER}")
    key = header.strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if not 1 <= len(key) <= MAX_KEY_CHARACTERS:
        raise InvalidIdempotencyKey(f"an idempotency key has 1 to {MAX_KEY_CHARACTERS} characters")
    if not (key.isascii() and key.isprintable()):
        raise InvalidIdempotencyKey("an idempotency key holds printable ASCII characters only")
    return key


def fingerprint(operation: str, target: str, actor: str, body: bytes) -> bytes:
    """16 bytes that tell requests apart: the body counts as given, but not its white space and order of members.

    Raises `Malformed` for a body that cannot be read back.
    """
    return fingerprint_of(operation, target, actor, content_of(body) if body else None)


def content_of(body: bytes | msgspec.Raw) -> Any:
    """What a body says, for `fingerprint_of`. Raises `Malformed` for one that cannot be read back."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError):
        # Metadata is not looked into before: there may be more to find than the body's own type told.
        raise Malformed("the body holds a number out of range, or is not UTF-8") from None


def fingerprint_of(operation: str, target: str, actor: str, content: Any) -> bytes:
    """`fingerprint` for a body that is decoded already."""
    canonical = msgspec.json.encode((_VERSION, operation, target, actor, content), order="deterministic")
    return hashlib.sha256(canonical).digest()[:16]
