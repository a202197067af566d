"""Bodies of responses, as JSON-able dictionaries.

Pure. What the SDK reads decides the details: keys, types, and where a null may stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias

from sutro_stream.values.catalogue import Model
from sutro_stream.values.function import Function
from sutro_stream.values.job import InputKind, Job, JobState
from sutro_stream.values.outcomes import Usage
from sutro_stream.wire.api_error import ApiError
from sutro_stream.wire.query import ResultsFormat, ResultsUrlQuery

Reply: TypeAlias = dict[str, Any]

BUCKET = "sutro-stream"

# The SDK's command line makes a table of the listed jobs and takes each column's type
# from so many rows.
_TYPED_ROWS = 100
_NULLABLE = (
    "datetime_started",
    "name",
    "description",
    "system_prompt",
    "json_schema",
    "sampling_params",
    "dataset_id",
    "num_rows",
    "failure_reason",
    "cost_estimate",
)


class Limits(Protocol):
    """What one job may be."""

    @property
    def rows(self) -> int:
        """Most rows."""

    @property
    def tokens(self) -> int:
        """Most tokens."""


def submitted(job_id: str) -> Reply:
    """A job was accepted."""
    return {
        "metadata": {"job_id": job_id, "message": "Job created successfully"},
        "results": job_id,
    }


def job_status(found: Job) -> Reply:
    """Where a job stands."""
    failure = _failure_reason(found)
    return {
        "message": f"Job status with job_id {found.job_id} retrieved.",
        "job_status": {found.job_id: found.state.value},
        "metadata": None if failure is None else {"failure_reason": failure},
    }


def job(found: Job) -> Reply:
    """All about a job.

    Beside the fields of the contract it tells which model answered, which revision
    of a Function was used, and how numbers were found.
    """
    fields = _job_fields(found)
    fields["answered_by"] = found.answered_by
    fields["function_revision"] = found.spec.revision
    fields["failed_rows"] = found.failed_rows
    fields["note"] = found.note
    return {"job": fields}


def job_row(found: Job) -> Reply:
    """One job of a list: numbers that are added up are never null."""
    fields = _job_fields(found)
    fields["input_tokens"] = found.input_tokens or 0
    fields["output_tokens"] = found.output_tokens or 0
    fields["job_cost"] = float(found.cost_usd or 0.0)
    return fields


def jobs_listed(jobs: Iterable[Job]) -> Reply:
    """All jobs of an account, newest first."""
    rows = _for_tables([job_row(found) for found in jobs])
    return {"message": "Jobs retrieved successfully.", "jobs": rows}


def jobs_page(jobs: Iterable[Job], *, next_cursor: str | None) -> Reply:
    """Some jobs of an account; `next_cursor` leads to older ones, if there are."""
    return {**jobs_listed(jobs), "next_cursor": next_cursor}


def cancelled(found: Job, *, accepted: bool) -> Reply:
    """Whether a job is being cancelled; one that has ended is not."""
    if accepted:
        message = f"Cancelling job with job_id: {found.job_id}"
    else:
        message = f"Job is already {found.state.value}"
    return {"cancelled": accepted, "message": message}


def auth_checked(account: str) -> Reply:
    """The key is good, and whose it is."""
    return {"authenticated": True, "principal": account}


def authenticated() -> Reply:
    """The key is good; for older SDKs."""
    return {"authenticated": True}


def quotas(limits: Mapping[int, Limits]) -> Reply:
    """What jobs may be; clients take the place in the list for the priority."""
    return {
        "quotas": [
            {
                "priority": priority,
                "row_quota": limits[priority].rows,
                "token_quota": limits[priority].tokens,
            }
            for priority in sorted(limits)
        ]
    }


def results_url(
    job_id: str,
    query: ResultsUrlQuery,
    *,
    key: str,
    filename: str,
    size_bytes: int,
    get_url: str,
    head_url: str,
) -> Reply:
    """Links to a job's results."""
    return {
        "job_id": job_id,
        "format": ResultsFormat.PARQUET.value,
        "include_inputs": query.include_inputs,
        "include_cumulative_logprobs": query.include_cumulative_logprobs,
        "expires_in_seconds": query.expires_in_s,
        "artifact": {
            "bucket": BUCKET,
            "key": key,
            "filename": filename,
            "size_bytes": size_bytes,
        },
        "urls": {"get": get_url, "head": head_url},
    }


def function_run(
    function: Function,
    *,
    request_id: str,
    model: str,
    answered_by: str | None,
    output: Any,
    confidence: float | None,
    usage: Usage,
    cost_usd: float = 0.0,
) -> Reply:
    """The answer of a Function.

    Args:
        function: What was run.
        request_id: ID of the request.
        model: Name of the model in the catalogue.
        answered_by: The endpoint's name for it, `None` when not known.
        output: The parsed answer, or its text.
        confidence: 0 to 1, `None` when it was not scored.
        usage: Tokens.
        cost_usd: Their price.
    """
    return {
        "request_id": request_id,
        "function": {
            "name": function.name,
            "revision": function.revision,
            "model": model,
            "model_source": answered_by or model,
        },
        "output": output,
        "confidence": confidence,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "estimated_cost_usd": cost_usd,
        },
    }


def submission_status(
    idempotency_key: str,
    *,
    status: str,
    retryable: bool,
    job_id: str | None = None,
    detail: str | None = None,
) -> Reply:
    """What became of a submission with a key of its own."""
    return {
        "idempotency_key": idempotency_key,
        "status": status,
        "retryable": retryable,
        "job_id": job_id,
        "detail": detail,
    }


def models(
    offered: Iterable[Model], *, aliases: Mapping[str, str] | None = None
) -> Reply:
    """The models that can be asked for, in the form of OpenAI's list.

    Endpoints, their names and keys are the operator's own and not told.
    """
    entries = [_model(entry.name, entry) for entry in offered]
    known = {entry["id"]: entry for entry in entries}
    for alias, name in (aliases or {}).items():
        if name in known and alias not in known:
            entries.append({**known[name], "id": alias, "alias_of": name})
    return {"object": "list", "data": entries}


def error(refusal: ApiError, request_id: str) -> Reply:
    """Why a request was refused."""
    return {
        "detail": refusal.detail,
        "code": refusal.code,
        "request_id": request_id,
    }


def healthy() -> Reply:
    """The server answers."""
    return {"status": "ok"}


def iso_time(when: datetime) -> str:
    """A moment in the one form that every client reads."""
    text = when.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    return f"{text}Z"


def _job_fields(found: Job) -> Reply:
    spec = found.spec
    dataset = spec.input.kind is InputKind.DATASET
    params = spec.sampling_params
    return {
        "job_id": found.job_id,
        "status": found.state.value,
        "model": spec.model,
        "system_prompt": spec.system_prompt,
        "job_priority": spec.priority,
        "datetime_created": iso_time(found.created_at),
        "datetime_started": _time(found.started_at),
        "datetime_completed": _time(found.completed_at),
        "json_schema": None if spec.json_schema is None else dict(spec.json_schema),
        "sampling_params": None if params is None else dict(params),
        "name": spec.name,
        "description": spec.description,
        "dataset_id": spec.input.reference if dataset else None,
        "input_tokens": found.input_tokens,
        "output_tokens": found.output_tokens,
        "job_cost": found.cost_usd,
        "num_rows": found.rows,
        "failure_reason": _failure_reason(found),
        "cost_estimate": found.estimate_usd,
        "run_type": spec.run_type.value,
    }


def _failure_reason(found: Job) -> Reply | None:
    if found.state is not JobState.FAILED:
        return None
    return {"message": found.failure or "The job failed"}


def _for_tables(rows: list[Reply]) -> list[Reply]:
    """Leave out keys whose nulls would end the SDK's table of jobs.

    A column that is null in all rows its type is taken from cannot take a value
    further down, and one of moments cannot be null throughout. Such a column is
    left out of these rows, which the SDK takes well.
    """
    head = rows[:_TYPED_ROWS]
    for column in _NULLABLE:
        if all(row[column] is None for row in head) and (
            column == "datetime_started"
            or any(row[column] is not None for row in rows[_TYPED_ROWS:])
        ):
            for row in head:
                del row[column]
    return rows


def _model(name: str, entry: Model) -> Reply:
    return {
        "id": name,
        "object": "model",
        "owned_by": BUCKET,
        "kind": entry.kind.value,
        "context_window": entry.context_window,
        "reasoning": entry.reasoning,
        "input_price_per_million_tokens": entry.input_price,
        "output_price_per_million_tokens": entry.output_price,
    }


def _time(when: datetime | None) -> str | None:
    return None if when is None else iso_time(when)
