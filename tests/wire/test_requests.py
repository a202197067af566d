"""Bodies of the smaller requests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sutro_stream.wire.api_error import ApiError
from sutro_stream.wire.requests import (
    DatasetFileRequest,
    DatasetRequest,
    FunctionRunRequest,
    ResultsRequest,
    parse_dataset_file_request,
    parse_dataset_request,
    parse_function_run,
    parse_results_request,
)

PARSERS = (
    parse_results_request,
    parse_function_run,
    parse_dataset_request,
    parse_dataset_file_request,
)


def refusal(parse: Callable[[bytes], object], body: bytes) -> tuple[int, str]:
    """Status and text of a refusal."""
    with pytest.raises(ApiError) as caught:
        parse(body)
    return caught.value.status, caught.value.detail


def test_results_need_a_job_only() -> None:
    """The attached SDK sends nothing else."""
    expected = ResultsRequest(job_id="job-1")
    assert parse_results_request(b'{"job_id": "job-1"}') == expected


def test_results_can_have_more_columns() -> None:
    """Each by its own flag."""
    body = (
        b'{"job_id": "job-1", "include_inputs": true,'
        b' "include_cumulative_logprobs": true, "other": 1}'
    )
    assert parse_results_request(body) == ResultsRequest(
        job_id="job-1", include_inputs=True, include_cumulative_logprobs=True
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "job_id is required"),
        (b'{"job_id": null}', "job_id is required"),
        (b'{"job_id": 1}', "job_id: "),
        (b'{"job_id": "a", "include_inputs": "True"}', "include_inputs: "),
    ],
)
def test_a_bad_results_request_is_refused(body: bytes, field: str) -> None:
    """The message names the field."""
    status, detail = refusal(parse_results_request, body)
    assert status == 422
    assert detail.startswith(field)


def test_a_function_takes_fields_or_a_text() -> None:
    """The fields are checked by the Function."""
    assert parse_function_run(b'{"input": {"a": null}}') == FunctionRunRequest(
        input={"a": None}
    )
    assert parse_function_run(b'{"input": ""}') == FunctionRunRequest(input="")


@pytest.mark.parametrize(
    ("scoring", "expected"), [("true", True), ("false", False), ("null", True)]
)
def test_confidence_is_scored_unless_refused(*, scoring: str, expected: bool) -> None:
    """The SDK says so only when it does not want it."""
    body = f'{{"input": "a", "confidence_scoring": {scoring}}}'.encode()
    assert parse_function_run(body).confidence_scoring is expected


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{}", "input is required"),
        (b'{"input": null}', "input is required"),
        (b'{"input": [1]}', "input: "),
        (b'{"input": 1}', "input: "),
        (b'{"input": "a", "confidence_scoring": 0}', "confidence_scoring: "),
    ],
)
def test_a_bad_function_run_is_refused(body: bytes, field: str) -> None:
    """The message names the field."""
    status, detail = refusal(parse_function_run, body)
    assert status == 422
    assert detail.startswith(field)


def test_dataset_requests_name_dataset_and_file() -> None:
    """Both are required."""
    assert parse_dataset_request(b'{"dataset_id": "d"}') == DatasetRequest(
        dataset_id="d"
    )
    body = b'{"dataset_id": "d", "file_name": "f"}'
    assert parse_dataset_file_request(body) == DatasetFileRequest(
        dataset_id="d", file_name="f"
    )
    _, detail = refusal(parse_dataset_file_request, b'{"dataset_id": "d"}')
    assert detail == "file_name is required"


@pytest.mark.parametrize("parse", PARSERS)
def test_what_is_not_json_is_refused(parse: Callable[[bytes], object]) -> None:
    """With the status for it; so is what is no object."""
    assert refusal(parse, b"{")[0] == 400
    assert refusal(parse, b"[]")[0] == 422
