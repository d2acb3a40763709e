"""Settings from the environment.

Each deployable declares a frozen struct; a field `kafka_bootstrap` is read from `LEDGERX_KAFKA_BOOTSTRAP`.
Secrets have the type `Secret`, whose `repr` and `str` hide the value, so that no log line can show one by accident. A
secret can come from a file instead, named by the variable with `_FILE` after it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from ledgerx.errors import ConfigurationError

PREFIX = "LEDGERX_"
FILE_SUFFIX = "_FILE"

S = TypeVar("S", bound=msgspec.Struct)


class Secret:
    """A string that does not show itself; `reveal()` is the only way to its value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


def _decode(kind: type, value: Any) -> Any:
    if kind in (Secret, Path) and isinstance(value, str):
        return kind(value)
    raise TypeError(f"a setting cannot be a {kind.__name__}")


def _is_secret(field: msgspec.structs.FieldInfo) -> bool:
    return field.type is Secret or Secret in get_args(field.type)


def _from_file(source: Mapping[str, str], variable: str) -> str:
    if variable in source:
        raise ConfigurationError(f"{variable} and {variable}{FILE_SUFFIX} are both set")
    try:
        return Path(source[variable + FILE_SUFFIX]).read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{variable}{FILE_SUFFIX}: the file cannot be read: {type(error).__name__}") from None


def load(settings: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Build `settings` from `environ` (default: the process environment).

    Raises `ConfigurationError` naming the variable when one is missing or does not fit its type.
    """
    source = os.environ if environ is None else environ
    values: dict[str, str] = {}
    for field in msgspec.structs.fields(settings):
        variable = PREFIX + field.name.upper()
        if _is_secret(field) and variable + FILE_SUFFIX in source:
            values[field.name] = _from_file(source, variable)
        elif variable in source:
            values[field.name] = source[variable]
        elif field.required:
            raise ConfigurationError(f"{variable} is not set")
    try:
        return msgspec.convert(values, settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$.")
        name = where.rstrip("`")
        raise ConfigurationError(f"{PREFIX}{name.upper()}: {message}" if name else message) from None
