"""The OpenAPI document as pages of Markdown: one for each tag, one of all objects, and one of all errors."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from ledgerx_api.problems import MEDIA_TYPE

_NOTICE = "<!-- Made of the OpenAPI document by `ledgerx openapi --pages`: `make reference` writes it anew. -->"
_PREFACE = """\
Every request shown here was sent to a server, and every answer is what it answered; only ids, times and secrets are
made up. A running API has the same as an interactive page at `/docs`, and as OpenAPI 3.1 at `/docs/openapi.json`;
`ledgerx openapi` prints that.

Besides there are the [objects](objects.md) that requests and answers are made of, and the [errors](problems.md) with an
example of each. [Model your product](../guides/model-your-product.md) shows how it all goes together."""
# A line of JSON that is shorter is not broken up.
_LINE_CHARACTERS = 110
# Operations that are named, not counted.
_FEW = 12
_FORMATS = {"date-time": "time", "date": "date", "uuid": "UUID"}
_FORM = "application/x-www-form-urlencoded"
_SCHEMAS = "#/components/schemas/"
Members = Mapping[str, Any]


class Pages:
    """The pages of a document; `all` has them by the names of their files, which refer to each other."""

    def __init__(self, document: Members) -> None:
        self._document = document
        self._schemas: Members = document["components"]["schemas"]
        self._problems: Members = document["components"]["examples"]
        self._tags: dict[str, list[tuple[str, str, Members]]] = defaultdict(list)
        for path, item in document["paths"].items():
            for method, operation in item.items():
                self._tags[operation["tags"][0]].append((method.upper(), path, operation))

    def all(self) -> dict[str, str]:
        """Every page."""
        pages = {f"{tag}.md": self._tag(tag) for tag in self._tags}
        shared = {"index.md": self._index(), "objects.md": self._objects(), "problems.md": self._errors()}
        return {name: f"{_NOTICE}\n\n{text.rstrip()}\n" for name, text in {**pages, **shared}.items()}

    def _index(self) -> str:
        described = {tag["name"]: tag["description"] for tag in self._document["tags"]}
        parts = [
            "# Reference",
            self._document["info"]["description"],
            _PREFACE,
        ]
        for tag in sorted(self._tags):
            parts += [f"## [{tag.capitalize()}]({tag}.md)", described.get(tag, "")]
            rows = [
                (f"`{method} {path}`", f"[{operation['summary']}]({tag}.md#{_anchor(operation['summary'])})")
                for method, path, operation in self._tags[tag]
            ]
            parts.append(_table(("operation", "what it does"), rows))
        return _joined(parts)

    def _tag(self, tag: str) -> str:
        parts = [f"# {tag.capitalize()}", "[Reference](index.md) · [objects](objects.md) · [errors](problems.md)"]
        for method, path, operation in self._tags[tag]:
            parts += self._operation(method, path, operation)
        return _joined(parts)

    def _operation(self, method: str, path: str, operation: Members) -> Iterator[str]:
        yield f"## {operation['summary']}"
        yield f"`{method} {path}`, {_access(operation)}"
        yield operation.get("description", "")
        parameters: Sequence[Members] = operation.get("parameters", ())
        yield _table(
            ("parameter", "in", "type", ""),
            [
                (f"`{one['name']}`", one["in"], self._type(_given(one["schema"])), one.get("description", ""))
                for one in parameters
            ],
        )
        if body := operation.get("requestBody"):
            types = " or ".join(self._content(body["content"]))
            yield f"Body: {types}{'' if body.get('required') else ', which may be left out'}."
        for status, response in operation["responses"].items():
            if MEDIA_TYPE not in response.get("content", {}):
                types = " or ".join(self._content(response.get("content", {})))
                yield f"**{status}** {response['description']}{f' {types}' if types else ''}"
        for name, title, status in _examples(operation):
            yield f"### {title}"
            yield _request(name, method, path, operation)
            yield _answer(name, status, operation["responses"][status])
        yield self._refusals(operation)

    def _refusals(self, operation: Members) -> str:
        codes = [
            (status, ", ".join(f"[`{code}`](problems.md#{code})" for code in content["examples"]))
            for status, response in operation["responses"].items()
            if "examples" in (content := response.get("content", {}).get(MEDIA_TYPE, {}))
        ]
        return _joined(["### Errors", _table(("status", "codes"), sorted(codes))]) if codes else ""

    def _objects(self) -> str:
        parts = ["# Objects", "[Reference](index.md) · [errors](problems.md)"]
        for _, schema in sorted(self._schemas.items(), key=lambda one: _title(one[1])):
            parts += [f"## {_title(schema)}", schema.get("description", "")]
            if "enum" in schema:
                parts.append(f"One of {', '.join(f'`{value}`' for value in schema['enum'])}.")
            required = schema.get("required", ())
            rows = [
                (
                    f"`{name}`",
                    self._type(member) + ("" if name in required else ", optional"),
                    member.get("description", ""),
                )
                for name, member in schema.get("properties", {}).items()
            ]
            parts.append(_table(("member", "type", ""), rows))
        return _joined(parts)

    def _errors(self) -> str:
        answered: dict[str, list[str]] = defaultdict(list)
        for tag, operations in sorted(self._tags.items()):
            for _, _, operation in operations:
                link = f"[{operation['summary']}]({tag}.md#{_anchor(operation['summary'])})"
                for response in operation["responses"].values():
                    for code in response.get("content", {}).get(MEDIA_TYPE, {}).get("examples", {}):
                        answered[code].append(link)
        parts = [
            "# Errors",
            "[Reference](index.md) · [what to do about errors](../errors.md)",
            "Each with an example, and the operations that may answer it.",
        ]
        for code, problem in sorted(self._problems.items(), key=lambda one: (one[1]["value"]["status"], one[0])):
            meaning = problem["description"]
            parts += [
                f"## {code}",
                f"**{problem['value']['status']} {problem['summary']}**: {meaning}",
                _fenced("json", _json(problem["value"])),
                f"At {', '.join(links) if len(links := answered[code]) <= _FEW else f'{len(links)} operations'}.",
            ]
        return _joined(parts)

    def _content(self, content: Members) -> Iterator[str]:
        for media_type, one in content.items():
            yield f"{self._type(one['schema'])} as `{media_type}`"

    def _type(self, schema: Members) -> str:
        """A type in words, with its bounds."""
        if "$ref" in schema:
            title = _title(self._schemas[schema["$ref"].removeprefix(_SCHEMAS)])
            return f"[{title}](objects.md#{_anchor(title)})"
        if "oneOf" in schema:
            return " or ".join(self._type(one) for one in schema["oneOf"]) + _bounds(schema)
        if "enum" in schema:
            return " or ".join(f"`{value}`" for value in schema["enum"])
        if schema.get("type") == "array":
            return f"list of {self._type(schema.get('items', {}))}{_bounds(schema)}"
        if isinstance(schema.get("additionalProperties"), dict):
            return f"object of {self._type(schema['additionalProperties'])} by name"
        name: str = _FORMATS.get(schema.get("format", "")) or schema.get("type", "anything")
        return name + _bounds(schema)


def _given(schema: Members) -> Members:
    """The schema of what is sent if anything is: no parameter is ever null."""
    if "oneOf" not in schema:
        return schema
    return {**schema, "oneOf": [one for one in schema["oneOf"] if one.get("type") != "null"]}


def _bounds(schema: Members) -> str:
    for least, most, unit in (
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
        ("minimum", "maximum", ""),
    ):
        low, high = schema.get(least), schema.get(most)
        if high is not None and high < 2**53:
            return f", {f'{low:.0f} to' if low is not None else 'at most'} {high:.0f}{unit}"
    return ""


def _access(operation: Members) -> str:
    if not operation.get("security"):
        return "open to all"
    scopes = dict.fromkeys(scope for one in operation["security"] for needed in one.values() for scope in needed)
    if not scopes:
        return "for [people](../access.md#routes) who are logged in"
    return f"with the [scope](../access.md#routes) {', '.join(f'`{scope}`' for scope in scopes)}"


def _examples(operation: Members) -> Iterator[tuple[str, str, str]]:
    """Name, title and status of each example: those of one name belong together, in parameters, body and answer."""
    titles: dict[str, str] = {}
    body = operation.get("requestBody", {}).get("content", {}).values()
    answers = [
        (status, content)
        for status, response in operation["responses"].items()
        for media_type, content in response.get("content", {}).items()
        if media_type != MEDIA_TYPE
    ]
    for place in (*operation.get("parameters", ()), *body, *[content for _, content in answers]):
        titles |= {name: shown["summary"] for name, shown in place.get("examples", {}).items()}
    without_content = next((s for s, response in operation["responses"].items() if "content" not in response), "200")
    for name, title in titles.items():
        status = next((status for status, content in answers if name in content.get("examples", {})), without_content)
        yield name, title, status


def _request(name: str, method: str, path: str, operation: Members) -> str:
    parameters = {
        place: {
            one["name"]: _text(one["examples"][name]["value"])
            for one in operation.get("parameters", ())
            if one["in"] == place and name in one.get("examples", {})
        }
        for place in ("path", "query", "header")
    }
    target = path.format_map({key: quote(value, safe=":") for key, value in parameters["path"].items()})
    query = urlencode(parameters["query"], safe=':,{}"')
    headers = dict(parameters["header"])
    body = ""
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        if name in content.get("examples", {}):
            headers["Content-Type"] = media_type
            body = _body(media_type, content["examples"][name]["value"])
    for media_type in operation["responses"].get("200", {}).get("content", {}):
        if media_type == "text/csv" and name in operation["responses"]["200"]["content"][media_type]["examples"]:
            headers["Accept"] = media_type
    lines = [f"{method} {target}{f'?{query}' if query else ''}", *(f"{key}: {value}" for key, value in headers.items())]
    return _fenced("http", "\n".join([*lines, *(["", body] if body else [])]))


def _answer(name: str, status: str, response: Members) -> str:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(int(status)).phrase}"]
    for media_type, content in response.get("content", {}).items():
        if name in content.get("examples", {}):
            lines += [f"Content-Type: {media_type}", "", _body(media_type, content["examples"][name]["value"])]
    return _fenced("http", "\n".join(lines))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _body(media_type: str, value: Any) -> str:
    if media_type == _FORM:
        return urlencode(value)
    return str(value).replace("\r\n", "\n").rstrip() if isinstance(value, str) else _json(value)


def _json(value: Any, indent: int = 0) -> str:
    """JSON with a line for each member, but for what fits into one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or indent + len(flat) <= _LINE_CHARACTERS:
        return flat
    inner = indent + 2
    if isinstance(value, dict):
        lines = [f"{json.dumps(name, ensure_ascii=False)}: {_json(member, inner)}" for name, member in value.items()]
    else:
        lines = [_json(item, inner) for item in value]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    body = ",\n".join(f"{' ' * inner}{line}" for line in lines)
    return f"{opening}\n{body}\n{' ' * indent}{closing}"


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _title(schema: Members) -> str:
    return re.sub(r"Page\[(\w+)\]", r"Page of \1", str(schema["title"]))


def _anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(part for part in parts if part)
