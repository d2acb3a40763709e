"""Metadata: a small JSON object of the client's, kept as canonical text (RFC 8785): its hash is the same everywhere."""

import json
from typing import Any, NoReturn

import rfc8785

from ledgerx.errors import InvalidField

MAX_BYTES = 16 * 1024


def canonical_metadata(raw: bytes) -> str:
    """The canonical text of a JSON object.

    Raises `InvalidField` when it is not an object, is larger than `MAX_BYTES`, nests too deep, repeats a key, or holds
    a number that is not an integer of at most 53 bits, a NUL or half of a surrogate pair: each would read back
    differently somewhere.
    """
    if len(raw) > MAX_BYTES:
        raise InvalidField(f"metadata has at most {MAX_BYTES} bytes")
    try:
        value = json.loads(raw, object_pairs_hook=_object, parse_float=_refuse_number, parse_constant=_refuse_number)
        if not isinstance(value, dict):
            raise InvalidField("metadata is a JSON object")
        text = rfc8785.dumps(value).decode()
    except (rfc8785.CanonicalizationError, UnicodeError):
        raise InvalidField("metadata holds an integer beyond 53 bits or a broken character") from None
    except RecursionError:
        raise InvalidField("metadata nests too deep") from None
    return text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise InvalidField("metadata repeats a key")
    if any("\0" in text for pair in pairs for text in pair if isinstance(text, str)):
        raise InvalidField("metadata holds a NUL character")
    return result


def _refuse_number(text: str) -> NoReturn:
    raise InvalidField(f"metadata holds the number {text[:32]}; only integers are kept exactly, use a string")
