"""`infer` over every form of input, and what people see while it runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(180)

Value = Callable[[str], Any]
Said = Callable[[str], str]


def outputs(results: dict[str, list[Any]]) -> list[Any]:
    """The column that the SDK calls so by default."""
    return results["inference_result"]


def test_an_attached_list_is_answered_in_order(value: Value, said: Said) -> None:
    """The first program that a person writes."""
    answered = ["echo: first", "echo: second", "echo: third"]
    assert value("attached_list")["results"] == {
        "inputs": ["first", "second", "third"],
        "inference_result": answered,
    }
    assert str(answered) in said("attached_list")
    assert "Job results received" in said("attached_list")


def test_job_ids_are_random(value: Value) -> None:
    """The SDK keeps results by ID for ever."""
    kind, _, number = value("attached_list")["job_id"].partition("-")
    assert (kind, len(number), number[14]) == ("job", 36, "4")


def test_an_attached_job_shows_a_progress_bar(value: Value, said: Said) -> None:
    """With all its rows at the end."""
    rows = outputs(value("attached_rows_that_take_a_while"))
    assert rows == [f"echo: slow {number}" for number in range(40)]
    assert "40/40" in said("attached_rows_that_take_a_while")
    assert "Output tokens generated: " in said("attached_rows_that_take_a_while")


def test_values_become_text(value: Value) -> None:
    """Numbers as JSON writes them, and nothing as the empty text."""
    prompts = ["text", "", "7", "0.5", "true", "", "naïve ☃ 漢字"]
    results = value("attached_values_of_all_kinds")
    assert results["inputs"] == prompts
    assert outputs(results) == [f"echo: {prompt}" for prompt in prompts]


def test_a_pandas_frame_gets_a_column(value: Value) -> None:
    """While attached, and afterwards by joining."""
    answers = ["echo: a", "echo: b"]
    assert value("attached_pandas") == {
        "frame": {"text": ["a", "b"], "n": [1, 2], "answer": answers},
        "joined": {"text": ["a", "b"], "n": [1, 2], "inference_result": answers},
    }


def test_columns_of_a_polars_frame_are_joined(value: Value) -> None:
    """With texts between them."""
    results = value("attached_polars")
    assert outputs(results) == ["echo: x-1", "echo: y-2"]


def test_files_are_read_by_the_sdk(value: Value) -> None:
    """CSV, Parquet and plain lines."""
    answers = {"inference_result": ["echo: three", "echo: one"]}
    assert value("files") == [answers, answers, answers]


def test_urls_are_read_by_the_deployment(value: Value) -> None:
    """CSV and Parquet; the ID column comes back in its place."""
    for results in value("urls"):
        assert list(results) == ["inputs", "id", "inference_result"]
        assert results["inputs"] == ["three", "one"]
        assert [int(number) for number in results["id"]] == [30, 10]
        assert outputs(results) == ["echo: three", "echo: one"]


def test_the_column_of_a_url_is_the_first_one(value: Value) -> None:
    """Where none is named."""
    results = value("the_first_column_of_a_url")
    assert outputs(results) == ["echo: 30", "echo: 10"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a_url_without_the_column", ["'nope'", "id", "text"]),
        ("a_url_that_is_not_there", ["404"]),
        ("rows_that_all_fail", ["no row was answered", "HTTP 400"]),
    ],
)
def test_a_failed_job_says_why(
    value: Value, said: Said, name: str, words: list[str]
) -> None:
    """To the person who waits for it, without the address's secrets."""
    assert value(name) is None
    reason = said(name).partition("Failure reason: ")[2]
    assert reason
    assert [word for word in words if word not in reason] == []
    assert "secret" not in reason


def test_fields_of_a_schema_become_columns(value: Value) -> None:
    """The schema given as a dict."""
    results = value("a_schema_as_a_dict")
    assert results["label"] == ["good", "good"]
    assert all(isinstance(score, int) and score >= 3 for score in results["score"])
    assert "inference_result" not in results


def test_a_pydantic_class_is_a_schema(value: Value) -> None:
    """Enumerations, references and unions included."""
    results = value("a_schema_as_a_class")
    assert results["mood"] == ["happy", "happy"]
    assert results["hero"][0].keys() == {"name", "nick"}
    assert results["others"] == [[], []]


def test_a_detached_job_can_be_awaited(value: Value, said: Said) -> None:
    """And asked for its status."""
    assert value("detached") == {
        "status": "SUCCEEDED",
        "results": {"inference_result": ["echo: a", "echo: b"]},
    }
    assert "get_job_status" in said("detached")


def test_a_detached_job_that_fails_says_why(value: Value, said: Said) -> None:
    """When it is awaited, and in the list."""
    seen = value("detached_and_failed")
    assert seen["results"] is None
    assert "Job has failed" in said("detached_and_failed")
    assert seen["job"]["status"] == "FAILED"
    assert "no row was answered" in seen["job"]["failure_reason"]["message"]


def test_a_job_keeps_what_it_was_told(value: Value) -> None:
    """Names as long as they may be, parameters, and the system prompt."""
    job = value("details")
    told = {key: job[key] for key in ("name", "description", "system_prompt", "model")}
    assert told == {
        "name": "n" * 45,
        "description": "d" * 512,
        "system_prompt": "Be brief.",
        "model": "scripted",
    }
    assert job["sampling_params"] == {"temperature": 0.5, "max_tokens": 20}
    assert (job["job_priority"], job["run_type"]) == (0, "FULL")
    assert (job["status"], job["num_rows"]) == ("SUCCEEDED", 2)


def test_tokens_are_counted_and_priced(value: Value) -> None:
    """The scripted model counts words: 1 dollar a million in, 2 dollars out."""
    job = value("details")
    assert (job["input_tokens"], job["output_tokens"]) == (6, 4)
    assert job["job_cost"] == pytest.approx(14e-6)


def test_times_of_a_job_are_in_order(value: Value) -> None:
    """In the form that the SDK's list can read."""
    job = value("details")
    times = [
        datetime.strptime(job[f"datetime_{name}"], "%Y-%m-%dT%H:%M:%S.%f%z")
        for name in ("created", "started", "completed")
    ]
    assert times == sorted(times)


def test_a_dry_run_costs_nothing_and_says_what_it_would(
    value: Value, said: Said
) -> None:
    """Prompts at their tokens, answers at what they usually are."""
    job = value("dry_run")["job"]
    assert (job["status"], job["run_type"]) == ("SUCCEEDED", "ESTIMATE")
    assert job["num_rows"] == 2
    assert job["cost_estimate"] > 2 * 10 * 2e-6
    assert job["job_cost"] == 0.0
    assert f"${job['cost_estimate']}" in said("dry_run")


def test_a_dry_run_has_no_results(value: Value, said: Said) -> None:
    """And says so."""
    assert value("dry_run")["results"] is None
    assert "Bad status code: 409" in said("dry_run")


def test_a_row_that_fails_is_null(value: Value) -> None:
    """In its place."""
    assert outputs(value("a_row_that_fails")) == ["echo: a", None, "echo: b"]


def test_several_models_are_several_jobs(value: Value) -> None:
    """Each with its name."""
    assert value("several_models") == {
        "outputs": [["echo: a"], ["echo: a"]],
        "names": ["x", "y"],
        "models": ["gpt-oss-20b", "scripted"],
    }


def test_mistakes_are_refused_at_once(value: Value, said: Said) -> None:
    """With a status, a sentence that names the field, and no job."""
    assert value("mistakes") == {"refused": [None] * 6, "new_jobs": 0}
    told = said("mistakes")
    statuses = [line.split()[-1] for line in told.splitlines() if "Error: " in line]
    assert statuses == ["404", "422", "422", "422", "422", "403"]
    for word in ("no-such-model", "inputs", "job_priority", "temperatur", "1000"):
        assert word in told
