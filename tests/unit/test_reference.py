"""The OpenAPI document has examples of everything, and the reference is made of it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledgerx.errors import ERRORS
from ledgerx_api.problems import MEDIA_TYPE
from ledgerx_api.reference.examples import examples
from ledgerx_cli.openapi import openapi
from tests.documented import documented

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
DOCUMENTED = documented()
OPERATIONS = DOCUMENTED.operations
HOW = "add a step to tests/integration/reference/scenario.py and run `make reference`"


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_an_operation_has_an_example_of_every_answer(operation_id: str) -> None:
    assert operation_id in examples().operations, f"{operation_id} has no example: {HOW}"
    for media_type, body in OPERATIONS[operation_id].get("requestBody", {}).get("content", {}).items():
        assert body.get("examples"), f"{operation_id} has no example of a body of {media_type}: {HOW}"
    for status, response in OPERATIONS[operation_id]["responses"].items():
        for media_type, content in response.get("content", {}).items():
            assert content.get("examples"), f"{operation_id} has no example of {status} {media_type}: {HOW}"


def shown_in(operation_id: str) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Where an operation shows an example, its schema and its value."""
    operation = OPERATIONS[operation_id]
    for parameter in operation.get("parameters", []):
        for example in parameter.get("examples", {}).values():
            yield parameter["name"], parameter["schema"], example["value"]
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        for name, example in content["examples"].items():
            yield f"{media_type} {name}", content["schema"], example["value"]
    for status, response in operation["responses"].items():
        for media_type, content in response.get("content", {}).items():
            for name, example in content["examples"].items():
                value = example.get("value", DOCUMENTED.document["components"]["examples"].get(name, {}).get("value"))
                yield f"{status} {media_type} {name}", content["schema"], value


@pytest.mark.parametrize("operation_id", OPERATIONS)
def test_the_examples_of_an_operation_fit_its_schemas(operation_id: str) -> None:
    wrong = {
        where: errors
        for where, schema, value in shown_in(operation_id)
        if (errors := DOCUMENTED.errors_of(schema, value))
    }
    assert wrong == {}


def test_what_was_recorded_is_documented() -> None:
    gone = examples().operations.keys() - OPERATIONS.keys()
    assert gone == set(), "these operations are in the record only: run `make reference`"
    for operation_id, recorded in examples().operations.items():
        expected = {(ERRORS[code].status, code) for code in recorded.problems}
        assert DOCUMENTED.problems(operation_id) == expected, operation_id


def test_an_example_of_an_error_says_what_its_code_says() -> None:
    for code, problem in examples().problems.items():
        kind = ERRORS[code]
        assert (problem["code"], problem["status"], problem["title"]) == (code, kind.status, kind.title)
        assert problem["type"] == f"urn:ledgerx:problem:{code}"


def test_only_answers_of_the_kind_of_a_problem_are_errors() -> None:
    for operation_id, operation in OPERATIONS.items():
        for status, response in operation["responses"].items():
            assert (int(status) >= 400) == (MEDIA_TYPE in response.get("content", {})), (operation_id, status)


def test_the_committed_reference_is_made_of_the_document(tmp_path: Path) -> None:
    openapi(pages=tmp_path)
    made, kept = (
        {path.name: path.read_text(encoding="utf-8") for path in directory.iterdir()}
        for directory in (tmp_path, REFERENCE)
    )
    stale = sorted(name for name in made.keys() | kept.keys() if made.get(name) != kept.get(name))
    assert stale == [], "these pages of docs/reference are stale: run `make reference`"


def test_the_command_prints_the_document() -> None:
    document = json.loads(openapi())
    assert document == DOCUMENTED.document
    assert document["openapi"].startswith("3.1.")
