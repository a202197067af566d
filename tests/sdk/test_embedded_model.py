"""The first program that a person writes, on the deployment of the examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(240)

Value = Callable[[str], Any]
Said = Callable[[str], str]


def test_the_first_program_gets_answers(value: Value, said: Said) -> None:
    """From a model that is really there."""
    program = value("first_program")
    answers = program["results"]["inference_result"]
    assert len(answers) == 3
    assert all(answers)
    assert "Job results received" in said("first_program")


def test_a_job_counts_the_models_tokens(value: Value) -> None:
    """At most as many as were allowed."""
    job = value("first_program")["job"]
    assert (job["status"], job["num_rows"]) == ("SUCCEEDED", 3)
    assert job["input_tokens"] > 3
    assert 3 <= job["output_tokens"] <= 36


def test_a_schema_holds(value: Value) -> None:
    """For every row."""
    moods = value("structured")["mood"]
    assert len(moods) == 2
    assert set(moods) <= {"positive", "negative"}


def test_rows_that_are_too_long_are_cut(value: Value) -> None:
    """Where that is wanted; else they are null."""
    cut, left = value("too_long")
    assert [bool(answer) for answer in cut] == [True, True]
    assert [bool(answer) for answer in left] == [False, True]
    assert left[0] is None


def test_a_dry_run_counts_the_models_tokens(value: Value) -> None:
    """System prompt and template included."""
    job = value("dry_run")
    assert (job["status"], job["run_type"]) == ("SUCCEEDED", "ESTIMATE")
    assert job["num_rows"] == 3
    assert job["input_tokens"] >= 9


def test_a_custom_model_takes_rows(value: Value) -> None:
    """Rendered as it says, answered as it says, with how sure the model was."""
    results = value("custom_model")
    assert ["I love it." in text for text in results["inputs"]] == [True, False]
    assert set(results["sentiment"]) <= {"positive", "negative"}


def test_texts_become_vectors(value: Value) -> None:
    """The same for the same text."""
    embedded = value("embed")
    one, other, again = embedded["vectors"]
    assert embedded["type"] == "List(Float64)"
    assert len(one) == len(other) > 100
    assert one == again != other


def test_the_program_in_the_readme_shows_answers(value: Value, said: Said) -> None:
    """As it stands, but for address and key."""
    value("readme")
    table = said("readme")
    assert "It broke after a day." in table
    assert table.count("positive") + table.count("negative") >= 2
