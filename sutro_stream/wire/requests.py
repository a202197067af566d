"""JSON bodies of the smaller requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import StrictBool, StrictStr, TypeAdapter

from sutro_stream.wire.api_error import invalid
from sutro_stream.wire.json_body import checked, json_object


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultsRequest:
    """Body of `job-results`.

    Attributes:
        job_id: Whose results.
        include_inputs: Whether with the prompts.
        include_cumulative_logprobs: Whether with the log-probability of each answer.
    """

    job_id: StrictStr
    include_inputs: StrictBool = False
    include_cumulative_logprobs: StrictBool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRunRequest:
    """Body of a Function run.

    Attributes:
        input: Values by field, or the only text input itself.
        confidence_scoring: Whether confidence is asked for.
    """

    input: Mapping[str, Any] | str
    confidence_scoring: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetRequest:
    """Body of `list-dataset-files`."""

    dataset_id: StrictStr


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFileRequest:
    """Body of `download-from-dataset`."""

    dataset_id: StrictStr
    file_name: StrictStr


def parse_results_request(body: bytes) -> ResultsRequest:
    """Read the body of `job-results`.

    Raises:
        ApiError: 400 when it is not JSON, 422 naming the field that does not fit.
    """
    return checked(_results(), json_object(body))


def parse_function_run(body: bytes) -> FunctionRunRequest:
    """Read the body of a Function run.

    Raises:
        ApiError: As `parse_results_request`.
    """
    fields = json_object(body)
    given = fields.get("input")
    if given is None:
        raise invalid("input is required")
    if not isinstance(given, (dict, str)):
        raise invalid("input: give an object of the Function's fields, or a string")
    scoring = fields.get("confidence_scoring")
    if not isinstance(scoring, bool | None):
        raise invalid("confidence_scoring: input should be a valid boolean")
    return FunctionRunRequest(input=given, confidence_scoring=scoring is not False)


def parse_dataset_request(body: bytes) -> DatasetRequest:
    """Read the body of `list-dataset-files`.

    Raises:
        ApiError: As `parse_results_request`.
    """
    return checked(_dataset(), json_object(body))


def parse_dataset_file_request(body: bytes) -> DatasetFileRequest:
    """Read the body of `download-from-dataset`.

    Raises:
        ApiError: As `parse_results_request`.
    """
    return checked(_dataset_file(), json_object(body))


@cache
def _results() -> TypeAdapter[ResultsRequest]:
    return TypeAdapter(ResultsRequest)


@cache
def _dataset() -> TypeAdapter[DatasetRequest]:
    return TypeAdapter(DatasetRequest)


@cache
def _dataset_file() -> TypeAdapter[DatasetFileRequest]:
    return TypeAdapter(DatasetFileRequest)
