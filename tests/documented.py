"""The OpenAPI document as tests ask it."""

import json
import re
from collections.abc import Iterable
from typing import Any

import jsonschema_rs
import msgspec

from ledgerx_api.reference.document import openapi_document

_METHODS = ("get", "post", "put", "patch", "delete")


class Documented:
    """An OpenAPI document; operations are found by their ids, or by a method and a path."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.operations: dict[str, dict[str, Any]] = {}
        self._routes: list[tuple[str, re.Pattern[str], str]] = []
        # What is literal goes before what is a parameter.
        for path, item in sorted(document["paths"].items(), key=lambda one: one[0].replace("{", "~")):
            pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))
            for method in _METHODS:
                if method in item:
                    operation_id = item[method]["operationId"]
                    self.operations[operation_id] = item[method]
                    self._routes.append((method.upper(), pattern, operation_id))

    def find(self, method: str, path: str) -> tuple[str, dict[str, str]] | None:
        """The id of the operation that a request is for, and the parameters in its path; None for no operation."""
        for known, pattern, operation_id in self._routes:
            if known == method and (match := pattern.fullmatch(path)):
                return operation_id, match.groupdict()
        return None

    def operation(self, method: str, path: str) -> tuple[str, dict[str, str]]:
        """What `find` finds."""
        found = self.find(method, path)
        assert found is not None, f"{method} {path} is not in the OpenAPI document"
        return found

    def parameters(self, operation_id: str, place: str) -> dict[str, dict[str, Any]]:
        """The parameters of an operation in its path, query or headers, by their names."""
        parameters = self.operations[operation_id].get("parameters", [])
        return {parameter["name"]: parameter for parameter in parameters if parameter["in"] == place}

    def typed(self, operation_id: str, given: dict[str, Any]) -> dict[str, Any]:
        """Parameters as their documented types, not as the text that is sent."""
        schemas = {one["name"]: one["schema"] for one in self.operations[operation_id].get("parameters", [])}
        return {
            name: value if name not in schemas or _is_text(schemas[name]) else json.loads(value)
            for name, value in given.items()
        }

    def problems(self, operation_id: str) -> set[tuple[int, str]]:
        """The errors that an operation is documented to answer, as status and code."""
        return {
            (int(status), code)
            for status, response in self.operations[operation_id]["responses"].items()
            for code in response.get("content", {}).get("application/problem+json", {}).get("examples", {})
        }

    def undocumented(self, answered: Iterable[tuple[str, str, int, str | None]]) -> list[str]:
        """Which of these answers, as method, path, status and code of a problem, are not in the document."""
        found = set()
        for method, path, status, code in answered:
            if operation := self.find(method, path):
                operation_id, _ = operation
                statuses = self.operations[operation_id]["responses"]
                is_known = f"{status}" in statuses if code is None else (status, code) in self.problems(operation_id)
                if not is_known:
                    found.add(f"{operation_id} {status} {code or ''}")
        return sorted(found)

    def errors_of(self, schema: dict[str, Any], value: Any) -> list[str]:
        """What of a value does not fit a schema of the document."""
        validator = jsonschema_rs.Draft202012Validator(
            schema | {"components": self.document["components"]}, validate_formats=True
        )
        return [
            f"{error.message} at /{'/'.join(map(str, error.instance_path))}" for error in validator.iter_errors(value)
        ]


def _is_text(schema: dict[str, Any]) -> bool:
    types = {one.get("type") for one in schema.get("oneOf", [schema])}
    return types.isdisjoint({"integer", "boolean"})


def documented() -> Documented:
    """The document of this version."""
    return Documented(msgspec.json.decode(openapi_document()))
