"""Metadata: a small JSON object of the client's, kept as canonical text (RFC 8785): its hash is the same everywhere."""

import itertools
import json
from typing import Any, NoReturn

import rfc8785

from ledgerx.errors import InvalidField

MAX_BYTES = 16 * 1024
MAX_LEVELS = 32
# What can be searched for: this fits an index row of Postgres in any script.
MAX_SEARCHABLE_MEMBERS = 64
MAX_SEARCHABLE_CHARACTERS = 255


def canonical_metadata(raw: bytes) -> str:
    """The canonical text of a JSON object.

    Raises `InvalidField` when it is not an object, is larger than `MAX_BYTES`, nests deeper than `MAX_LEVELS`, repeats
    a key, or holds a number that is not an integer of at most 53 bits, a NUL or half of a surrogate pair: each would
    read back differently somewhere.
    """
    if len(raw) > MAX_BYTES:
        raise InvalidField(f"metadata has at most {MAX_BYTES} bytes")
    try:
        value = json.loads(raw, object_pairs_hook=_object, parse_float=_refuse_number, parse_constant=_refuse_number)
        if not isinstance(value, dict):
            raise InvalidField("metadata is a JSON object")
        _check(value, MAX_LEVELS)
        return rfc8785.dumps(value).decode()
    except ValueError:
        raise InvalidField("metadata is not JSON, or holds an integer beyond 53 bits or a broken character") from None
    except RecursionError:
        raise _too_deep() from None


def searchable(text: str | None) -> list[tuple[str, str]]:
    """The members of a canonical object that it can be found by, as names and JSON values.

    They are the first 64 at the top level, in the order of the text, that are strings, integers or booleans and whose
    name and value have at most 255 characters each.
    """
    # What is no such text is Postgres's to refuse: one bad command must not fail the batch that it came with.
    value = None if text is None else json.loads(text, strict=False)
    members = (
        (name, json.dumps(member, ensure_ascii=False))
        for name, member in (value.items() if isinstance(value, dict) else ())
        if isinstance(member, str | int)
    )
    fitting = (member for member in members if max(map(len, member)) <= MAX_SEARCHABLE_CHARACTERS)
    return list(itertools.islice(fitting, MAX_SEARCHABLE_MEMBERS))


def wanted_members(raw: str) -> list[tuple[str, str]]:
    """The members that a JSON object asks for, as names and JSON values. Raises `InvalidField` for the unsearchable."""
    text = canonical_metadata(raw.encode())
    members = searchable(text)
    if not members or len(members) < len(json.loads(text)):
        raise InvalidField(
            f"metadata is found by strings, integers and booleans of at most {MAX_SEARCHABLE_CHARACTERS} characters"
        )
    return members


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise InvalidField("metadata repeats a key")
    return result


def _check(value: Any, levels: int) -> None:
    if isinstance(value, str) and "\0" in value:
        raise InvalidField("metadata holds a NUL character")
    if isinstance(value, dict | list):
        if not levels:
            raise _too_deep()
        for inner in (*value, *value.values()) if isinstance(value, dict) else value:
            _check(inner, levels - 1)


def _too_deep() -> InvalidField:
    return InvalidField(f"metadata nests at most {MAX_LEVELS} levels deep")


def _refuse_number(text: str) -> NoReturn:
    raise InvalidField(f"metadata holds the number {text[:32]}; only integers are kept exactly, use a string")
