"""JSON Schemas of bodies, by the names they have in the description of the API.

Those of requests are made from what reads them. Responses are dictionaries; what is
said of them here is held against them by tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from pydantic import TypeAdapter

from sutro_stream.values.catalogue import ModelKind
from sutro_stream.values.job import JobState, RunType
from sutro_stream.wire.query import ResultsFormat
from sutro_stream.wire.requests import (
    DatasetFileRequest,
    DatasetRequest,
    FunctionRunRequest,
    ResultsRequest,
)
from sutro_stream.wire.submission import SubmissionFields

Schema: TypeAlias = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_COUNT_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
_USD: Schema = {"type": "number", "minimum": 0}
_USD_OR_NULL: Schema = {"type": ["number", "null"], "minimum": 0}
_TRUTH: Schema = {"type": "boolean"}
_MOMENT: Schema = {"type": "string", "format": "date-time"}
_MOMENT_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
_OBJECT_OR_NULL: Schema = {"type": ["object", "null"]}


def reference(name: str) -> Schema:
    """A schema of `schemas`, from elsewhere in the description."""
    return {"$ref": f"#/components/schemas/{name}"}


def schemas() -> dict[str, Schema]:
    """All of them, by name."""
    return {**_requests(), **_jobs(), **_results(), **_datasets(), **_others()}


def _requests() -> dict[str, Schema]:
    submission = _read_by(SubmissionFields)
    submission["properties"] = {"inputs": _inputs(), **submission["properties"]}
    submission["required"] = ["inputs"]
    upload = _object(dataset_id=_TEXT)
    upload["properties"]["file"] = {"type": "string", "format": "binary"}
    upload["required"].append("file")
    return {
        "Submission": submission,
        "ResultsRequest": _read_by(ResultsRequest),
        "FunctionRunRequest": _read_by(FunctionRunRequest),
        "DatasetRequest": _read_by(DatasetRequest),
        "DatasetFileRequest": _read_by(DatasetFileRequest),
        "Upload": upload,
    }


def _read_by(reader: type[Any]) -> Schema:
    """What a class takes; a field that may be left out may be null as well."""
    schema = TypeAdapter(reader).json_schema()
    required = schema.get("required", [])
    properties = {
        name: field if name in required else _nullable(field)
        for name, field in schema["properties"].items()
    }
    for field in properties.values():
        field.pop("title", None)
    return {"type": "object", "properties": properties, "required": list(required)}


def _nullable(field: Schema) -> Schema:
    kept: Schema = {
        key: field[key] for key in ("title", "default", "description") if key in field
    }
    value = {key: item for key, item in field.items() if key not in kept}
    options = value["anyOf"] if list(value) == ["anyOf"] else [value]
    if {"type": "null"} not in options:
        options = [*options, {"type": "null"}]
    return {"anyOf": options, **kept}


def _inputs() -> Schema:
    kinds = ["string", "number", "boolean", "null", "object"]
    rows: Schema = {
        "type": "array",
        "minItems": 1,
        "items": {"type": kinds},
        "description": (
            "Prompts; for a Function objects with its fields, or rendered prompts."
        ),
    }
    text: Schema = {
        "type": "string",
        "minLength": 1,
        "description": (
            "Address of a CSV or Parquet file, http or https, or a dataset's ID."
        ),
    }
    return {"oneOf": [rows, text]}


def _jobs() -> dict[str, Schema]:
    fields = {
        "job_id": _TEXT,
        "status": {"enum": [state.value for state in JobState]},
        "model": _TEXT,
        "job_priority": _COUNT,
        "datetime_created": _MOMENT,
        "datetime_completed": _MOMENT_OR_NULL,
        "run_type": {"enum": [kind.value for kind in RunType]},
    }
    # A list leaves out those of them that are null in all its jobs.
    nullable = {
        "datetime_started": _MOMENT_OR_NULL,
        "system_prompt": _TEXT_OR_NULL,
        "json_schema": _OBJECT_OR_NULL,
        "sampling_params": _OBJECT_OR_NULL,
        "name": _TEXT_OR_NULL,
        "description": _TEXT_OR_NULL,
        "dataset_id": _TEXT_OR_NULL,
        "num_rows": _COUNT_OR_NULL,
        "failure_reason": {"anyOf": [reference("FailureReason"), {"type": "null"}]},
        "cost_estimate": _USD_OR_NULL,
    }
    job = _object(
        **fields,
        **nullable,
        input_tokens=_COUNT_OR_NULL,
        output_tokens=_COUNT_OR_NULL,
        job_cost=_USD_OR_NULL,
        answered_by=_TEXT_OR_NULL,
        function_revision=_COUNT_OR_NULL,
        failed_rows=_COUNT_OR_NULL,
        note=_TEXT_OR_NULL,
    )
    row = _object(**fields, input_tokens=_COUNT, output_tokens=_COUNT, job_cost=_USD)
    row["properties"] |= nullable
    listed = _object(message=_TEXT, jobs={"type": "array", "items": reference("Row")})
    listed["properties"]["next_cursor"] = _TEXT_OR_NULL
    failure = _object(failure_reason=reference("FailureReason"))
    return {
        "FailureReason": _object(message=_TEXT),
        "Job": job,
        "Row": row,
        "Submitted": _object(
            metadata=_object(job_id=_TEXT, message=_TEXT), results=_TEXT
        ),
        "JobStatus": _object(
            message=_TEXT,
            job_status={
                "type": "object",
                "additionalProperties": {"enum": [state.value for state in JobState]},
            },
            metadata={"anyOf": [failure, {"type": "null"}]},
        ),
        "JobReply": _object(job=reference("Job")),
        "Jobs": listed,
        "Cancelled": _object(cancelled=_TRUTH, message=_TEXT),
        "SubmissionStatus": _object(
            idempotency_key=_TEXT,
            status=_TEXT,
            retryable=_TRUTH,
            job_id=_TEXT_OR_NULL,
            detail=_TEXT_OR_NULL,
        ),
    }


def _results() -> dict[str, Schema]:
    columns: Schema = {
        "type": "object",
        "required": ["outputs"],
        "additionalProperties": {"type": "array"},
        "description": "Columns of equal length, in the order of the rows.",
    }
    return {
        "Columns": columns,
        "EnvelopedColumns": _object(results=reference("Columns")),
        "ResultsUrl": _object(
            job_id=_TEXT,
            format={"const": ResultsFormat.PARQUET.value},
            include_inputs=_TRUTH,
            include_cumulative_logprobs=_TRUTH,
            expires_in_seconds=_COUNT,
            artifact=_object(
                bucket=_TEXT, key=_TEXT, filename=_TEXT, size_bytes=_COUNT
            ),
            urls=_object(get=_TEXT, head=_TEXT),
        ),
    }


def _datasets() -> dict[str, Schema]:
    columns = _object(
        fields={"type": "array", "items": _object(name=_TEXT, type=_TEXT)}
    )
    dataset = _object(
        dataset_id=_TEXT,
        name=_TEXT,
        datetime_added=_MOMENT,
        created_at=_MOMENT,
        updated_at=_MOMENT,
        file_count=_COUNT,
        row_count=_COUNT,
        total_size_bytes=_COUNT,
        schema=columns,
    )
    file = _object(
        file_name=_TEXT,
        file_id=_TEXT,
        uploaded_at=_MOMENT,
        size_bytes=_COUNT,
        row_count=_COUNT,
        schema=columns,
    )
    return {
        "DatasetCreated": _object(dataset_id=_TEXT),
        "FileUploaded": _object(
            message=_TEXT, dataset_id=_TEXT, file_id=_TEXT, file_name=_TEXT
        ),
        "Datasets": _object(datasets={"type": "array", "items": dataset}),
        "DatasetFiles": _object(
            files={"type": "array", "items": {"anyOf": [_TEXT, file]}}
        ),
    }


def _others() -> dict[str, Schema]:
    quota = _object(priority=_COUNT, row_quota=_COUNT, token_quota=_COUNT)
    model = _object(
        id=_TEXT,
        object={"const": "model"},
        owned_by=_TEXT,
        kind={"enum": [kind.value for kind in ModelKind]},
        context_window=_COUNT_OR_NULL,
        reasoning=_TRUTH,
        input_price_per_million_tokens=_USD,
        output_price_per_million_tokens=_USD,
    )
    model["properties"]["alias_of"] = _TEXT
    ran = _object(name=_TEXT, revision=_COUNT_OR_NULL, model=_TEXT, model_source=_TEXT)
    usage = _object(input_tokens=_COUNT, output_tokens=_COUNT, estimated_cost_usd=_USD)
    return {
        "Refusal": _object(detail=_TEXT, code=_TEXT, request_id=_TEXT),
        "AuthChecked": _object(authenticated={"const": True}, principal=_TEXT),
        "Authenticated": _object(authenticated={"const": True}),
        "Quotas": _object(quotas={"type": "array", "items": quota}),
        "Models": _object(
            object={"const": "list"}, data={"type": "array", "items": model}
        ),
        "FunctionRun": _object(
            request_id=_TEXT,
            function=ran,
            output={},
            confidence={"type": ["number", "null"], "minimum": 0, "maximum": 1},
            usage=usage,
        ),
        "Health": _object(status=_TEXT),
    }


def _object(**properties: Mapping[str, Any]) -> Schema:
    """An object that has these, and may come to have others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
    }
