"""Examples of every operation and every error: what a real server was asked, and what it answered.

`examples.json` is never edited by hand. `make reference` records it by running `tests/integration/reference` against a
server, and a test fails when the server answers otherwise than recorded. So whatever the OpenAPI document shows has
happened, and no error is documented that cannot be met.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

FILE = "examples.json"


class Example(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request that succeeded, with its answer; ids, times and secrets are made up.

    `parameters` are those of the path, the query and the headers, by their documented names. A body of JSON stands as
    its value, any other as text.
    """

    title: str
    parameters: dict[str, Any] = {}
    request_type: str | None = None
    request: Any = None
    status: int
    answer_type: str | None = None
    answer: Any = None

    @property
    def name(self) -> str:
        """The title as a key."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What was recorded of one operation; `problems` are the codes of the errors that it answered."""

    examples: list[Example]
    problems: list[str]


class Examples(msgspec.Struct, frozen=True, kw_only=True):
    """The whole record: operations by their ids, and an answer for the code of each error."""

    operations: Mapping[str, Recorded]
    problems: Mapping[str, dict[str, Any]]


@cache
def examples() -> Examples:
    """The record that belongs to this version."""
    return msgspec.json.decode((files(__package__) / FILE).read_bytes(), type=Examples)


def encode(recorded: Examples) -> bytes:
    """The record as the file has it, for people to read the differences."""
    return msgspec.json.format(msgspec.json.encode(recorded), indent=1) + b"\n"
