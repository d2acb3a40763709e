"""Settings from the environment.

Each deployable declares a frozen struct; a field `kafka_bootstrap` is read from `LEDGERX_KAFKA_BOOTSTRAP`.
Secrets have the type `Secret`, whose `repr` and `str` hide the value, so that no log line can show one by accident.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ledgerx.errors import ConfigurationError

PREFIX = "LEDGERX_"

S = TypeVar("S", bound=msgspec.Struct)


class Secret:
    """A string that does not show itself; `reveal()` is the only way to its value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__


def _decode(kind: type, value: Any) -> Any:
    if kind in (Secret, Path) and isinstance(value, str):
        return kind(value)
    raise TypeError(f"a setting cannot be a {kind.__name__}")


def load(settings: type[S], environ: Mapping[str, str] | None = None) -> S:
    """Build `settings` from `environ` (default: the process environment).

    Raises `ConfigurationError` naming the variable when one is missing or does not fit its type.
    """
    source = os.environ if environ is None else environ
    values: dict[str, str] = {}
    for field in msgspec.structs.fields(settings):
        variable = PREFIX + field.name.upper()
        if variable in source:
            values[field.name] = source[variable]
        elif field.required:
            raise ConfigurationError(f"{variable} is not set")
    try:
        return msgspec.convert(values, settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$.")
        name = where.rstrip("`")
        raise ConfigurationError(f"{PREFIX}{name.upper()}: {message}" if name else message) from None
