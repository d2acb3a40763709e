"""The comments of values.yaml: what each value is, in the format of helm-docs (`# -- …` above the key).

`python -m tests.chart.documented_values` prints the table of the chart's README.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

import yaml

from tests.chart.rendering import CHART, dig

_LINE = re.compile(r"(?P<indent> *)(?P<comment># -- )?(?P<rest>.*)")


class DocumentedValue(NamedTuple):
    """A value by the path of its keys, its default as JSON, and what it is."""

    path: str
    default: str
    meaning: str

    def row(self) -> str:
        """The value in a table of Markdown."""
        return f"| `{self.path}` | `{self.default}` | {self.meaning} |"


def documented_values() -> Iterator[DocumentedValue]:
    """The values that values.yaml documents, in its order."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    keys: list[str] = []
    meaning: str | None = None
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None or not match["rest"] or match["rest"].startswith("#"):
            continue
        if match["comment"]:
            meaning = match["rest"]
            continue
        depth = len(match["indent"]) // 2
        keys = [*keys[:depth], match["rest"].partition(":")[0]]
        if meaning is not None:
            yield DocumentedValue(".".join(keys), json.dumps(dig(values, *keys), ensure_ascii=False), meaning)
            meaning = None


if __name__ == "__main__":
    sys.stdout.writelines(f"{value.row()}\n" for value in documented_values())
