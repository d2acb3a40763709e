"""How an operation shows in the OpenAPI document: in its own words, with its examples, and with its errors only."""

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar.openapi.spec import Example as ShownExample
from litestar.openapi.spec import (
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
)

from ledgerx.errors import ERRORS
from ledgerx_api.problems import MEDIA_TYPE
from ledgerx_api.reference.examples import Example, Recorded, examples

# What a docstring begins with is short enough for a heading up to the first stop; after a full stop comes the rest.
_SUMMARY = re.compile(r"(.+?)([.:;])(?:\s+|$)", re.DOTALL)


@dataclass
class DocumentedOperation(Operation):
    """Use as `operation_class` of a handler.

    The handler's docstring begins with the summary. What is documented of errors is what was recorded: an
    operation that is not in the record yet shows all statuses that any operation may answer.
    """

    def __post_init__(self) -> None:
        docstring = self.description or ""
        if summary := _SUMMARY.match(docstring):
            self.summary = summary[1]
            self.description = (docstring[summary.end() :] or None) if summary[2] == "." else docstring
        recorded = examples().operations.get(self.operation_id or "")
        if recorded is not None:
            self._show_problems(recorded)
            for example in recorded.examples:
                self._show(example)

    def _show_problems(self, recorded: Recorded) -> None:
        by_status: dict[str, list[str]] = defaultdict(list)
        for code in recorded.problems:
            by_status[str(examples().problems[code]["status"])].append(code)
        responses = self.responses or {}
        for status, response in list(responses.items()):
            if not isinstance(response, OpenAPIResponse) or MEDIA_TYPE not in (content := response.content or {}):
                continue
            codes = by_status[status]
            if not codes:
                del responses[status]
                continue
            listed = "\n".join(f"- `{code}`: {ERRORS[code].meaning()}" for code in codes)
            response.description = f"{response.description}\n\n{listed}"
            content[MEDIA_TYPE].examples = {code: Reference(ref=f"#/components/examples/{code}") for code in codes}

    def _show(self, example: Example) -> None:
        for parameter in self.parameters or []:
            if isinstance(parameter, Parameter) and parameter.name in example.parameters:
                shown = _named(example, example.parameters[parameter.name])
                parameter.examples = {**(parameter.examples or {}), **shown}
        if isinstance(self.request_body, RequestBody):
            if example.request_type is None:
                self.request_body.required = False
            else:
                _add(self.request_body.content, example.request_type, _named(example, example.request))
        response = (self.responses or {}).get(str(example.status))
        if isinstance(response, OpenAPIResponse) and example.answer_type is not None:
            response.content = response.content or {}
            _add(response.content, example.answer_type, _named(example, example.answer))


def shown_problems() -> dict[str, ShownExample | Reference]:
    """An example of each error, by its code: the components that operations refer to."""
    return {
        code: ShownExample(summary=ERRORS[code].title, description=ERRORS[code].meaning(), value=_raw(problem))
        for code, problem in examples().problems.items()
    }


def _add(content: dict[str, OpenAPIMediaType], media_type: str, shown: dict[str, ShownExample]) -> None:
    """Show an example, also of a type that the handler's own types do not tell."""
    documented = content.setdefault(media_type, OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING)))
    documented.examples = {**(documented.examples or {}), **shown}


def _named(example: Example, value: Any) -> dict[str, ShownExample]:
    return {example.name: ShownExample(summary=example.title, value=_raw(value))}


def _raw(value: Any) -> msgspec.Raw:
    # Litestar leaves out members that are null, here they are part of the example.
    return msgspec.Raw(msgspec.json.encode(value))
