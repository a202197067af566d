"""Published Functions, one row at a time and many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(180)

Value = Callable[[str], Any]
Said = Callable[[str], str]
LABELS = {"label": ["qualified", "not_qualified"]}


def test_a_run_answers_with_parsed_output(value: Value) -> None:
    """And everything the SDK shows of it."""
    run = value("run")
    assert run["output"] == {"label": "qualified"}
    assert run["request_id"]
    assert run["usage"]["input_tokens"] > 0
    assert run["usage"]["output_tokens"] == 4
    assert run["function"]["name"] == "lead-qualifier"
    assert run["function"]["revision"] == 1
    assert run["function"]["model"]


def test_confidence_is_a_probability_of_tokens(value: Value) -> None:
    """Of those that decided between the labels."""
    assert value("run")["confidence"] == pytest.approx(0.75)


def test_confidence_can_be_left_out(value: Value) -> None:
    """It is null then."""
    run = value("run_without_confidence")
    assert (run["output"], run["confidence"]) == ({"label": "qualified"}, None)


def test_inputs_may_be_objects_and_texts(value: Value) -> None:
    """Text alone for a Function with one input."""
    assert value("run_with_an_object") == {"label": "not_qualified"}
    assert value("run_with_a_string") == {"loud": "HELLO"}


@pytest.mark.parametrize(
    ("mistake", "kind", "words"),
    [
        ("missing", "SutroValidationError", ["query"]),
        ("unknown", "SutroValidationError", ["extra"]),
        ("string", "SutroValidationError", ["input"]),
        ("image", "SutroValidationError", ["text"]),
        ("no_function", "HTTPError", ["nobody"]),
    ],
)
def test_a_refused_run_says_what_is_wrong(
    value: Value, mistake: str, kind: str, words: list[str]
) -> None:
    """With the SDK's own class for it."""
    refusal = value("refused_runs")[mistake]
    assert refusal["class"] == kind
    assert [word for word in words if word not in refusal["detail"]] == []
    assert refusal["has_request_id"]


def test_refused_runs_have_codes(value: Value) -> None:
    """Words for programs."""
    codes = {name: refusal["code"] for name, refusal in value("refused_runs").items()}
    assert codes == {
        "missing": "invalid_input",
        "unknown": "invalid_input",
        "string": "invalid_input",
        "image": "unsupported_input",
        "no_function": "function_not_found",
    }


def test_too_many_runs_are_told_when_to_come_back(value: Value) -> None:
    """In seconds."""
    refusal = value("too_many_runs")
    assert refusal["class"] == "SutroRateLimitError"
    assert 0 < refusal["retry_after"] <= 60


def test_a_batch_may_be_any_table(value: Value) -> None:
    """List, frames, files and addresses."""
    answers = [
        {name: results[name] for name in ("label", "confidence_score")}
        for results in value("batch")
    ]
    assert answers == [{**LABELS, "confidence_score": [pytest.approx(0.75)] * 2}] * 7


def test_a_batch_carries_its_ids(value: Value) -> None:
    """Beside the prompts as they were rendered."""
    results = value("batch_with_an_id_column")
    assert results["id"] == ["L1", "L2"]
    assert results["label"] == LABELS["label"]
    assert results["inputs"][0] == "Query: a quote for 60 seats\nRegion: EMEA"


def test_a_batch_can_be_attached(value: Value, said: Said) -> None:
    """As any other job."""
    assert value("batch_attached")["label"] == LABELS["label"]
    assert "Job results received" in said("batch_attached")


def test_texts_of_a_batch_are_prompts_already(value: Value) -> None:
    """Beside rows that are rendered."""
    results = value("batch_of_rendered_prompts")
    assert results["inputs"] == [
        "I am a student",
        "Query: a quote for 60 seats\nRegion: EMEA",
    ]
    assert results["label"] == ["not_qualified", "qualified"]


def test_a_batch_needs_no_priority(value: Value) -> None:
    """Null is none."""
    assert value("batch_without_a_priority")["label"] == LABELS["label"]


def test_a_batch_may_have_gaps_and_extras(value: Value) -> None:
    """In what is optional, and beside what is declared."""
    results = value("batch_with_gaps_and_extras")
    assert results["inputs"] == ["Query: a quote\nRegion: ", "Query: a demo\nRegion: "]


def test_a_batch_can_be_estimated(value: Value) -> None:
    """The model of this Function is free of charge."""
    job = value("batch_dry_run")
    assert (job["status"], job["run_type"]) == ("SUCCEEDED", "ESTIMATE")
    assert (job["model"], job["cost_estimate"]) == ("lead-qualifier", 0.0)


def test_mistakes_in_a_batch_are_refused_at_once(value: Value, said: Said) -> None:
    """With a sentence that names the field."""
    assert value("refused_batches") == [None] * 4
    told = said("refused_batches")
    statuses = [line.split()[-1] for line in told.splitlines() if "Error: " in line]
    assert statuses == ["422", "404", "422", "422"]
    for word in ("query", "nobody", "system_prompt", "json_schema"):
        assert word in told
