"""What the end of a pipeline says of its errors."""

import pytest
from psycopg.errors import PipelineAborted, UniqueViolation

from ledgerx.database import first_of


def end_of_a_pipeline() -> None:
    """As psycopg ends one: the results that had not arrived are read whatever those that had say."""
    try:
        raise UniqueViolation("taken")
    finally:
        raise PipelineAborted("pipeline aborted")


def test_an_error_of_a_statement_is_not_hidden_by_those_that_it_skipped() -> None:
    with pytest.raises(PipelineAborted) as told:
        end_of_a_pipeline()
    assert isinstance(first_of(told.value), UniqueViolation)


@pytest.mark.parametrize("error", [PipelineAborted(), UniqueViolation(), ValueError()])
def test_an_error_that_hides_none_stays(error: Exception) -> None:
    assert first_of(error) is error
