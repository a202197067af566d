"""Responses of a deployment, read leniently: words differ between its generations.

What is missing or unknown is `None`; only what nothing can be done without is asked
for, and its absence is a `ProtocolError`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from sutro_stream.errors import ProtocolError
from sutro_stream.values.job import JobState
from sutro_stream.wire.refusal import one_line

_STATES = {state.value: state for state in JobState}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInfo:
    """A job as its deployment tells of it.

    Attributes:
        job_id: Its ID.
        status: Where it stands, in upper case, as the deployment calls it.
        model: Model or Function, as it was asked for.
        name: As it was submitted.
        description: As it was submitted.
        priority: 0 or 1.
        rows: Number of its rows.
        input_tokens: As counted by the deployment.
        output_tokens: As counted by the deployment.
        cost_usd: What it cost.
        estimate_usd: What it would cost, for an estimate.
        created_at: ISO 8601.
        started_at: ISO 8601.
        completed_at: ISO 8601.
        failure: Why it failed, on one line.
    """

    job_id: str
    status: str
    model: str | None = None
    name: str | None = None
    description: str | None = None
    priority: int | None = None
    rows: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    estimate_usd: float | None = None
    created_at: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    failure: str | None = None

    @property
    def state(self) -> JobState | None:
        """Where it stands; `None` for a word not known here: it has not ended."""
        return _STATES.get(self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionInfo:
    """What became of a submission.

    Attributes:
        job_id: The job it became, `None` as long as it is none.
        status: In upper case, as the deployment calls it.
        is_retryable: Whether the same is to be sent again.
        detail: Why it failed, on one line.
    """

    job_id: str | None
    status: str
    is_retryable: bool
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What one job of a priority may be.

    Attributes:
        priority: 0 or 1.
        rows: Most rows, `None` where the deployment does not say.
        tokens: Most tokens, `None` where it does not say.
    """

    priority: int
    rows: int | None
    tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressUpdate:
    """A line of the progress stream.

    Attributes:
        rows: Rows done so far, `None` where the line is about something else.
        input_tokens: So far, `None` likewise.
        output_tokens: So far, `None` likewise.
    """

    rows: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


def parse_submitted(body: bytes) -> str:
    """The ID of the job that a submission became."""
    fields = json_fields(body, what="submission")
    metadata = fields.get("metadata")
    inner = metadata if isinstance(metadata, Mapping) else {}
    for value in (fields.get("results"), inner.get("job_id"), fields.get("job_id")):
        if isinstance(value, str) and value:
            return value
    raise ProtocolError("the deployment accepted a submission and named no job")


def parse_status(body: bytes, job_id: str) -> JobInfo:
    """Where a job stands; only its status and the reason of a failure are known."""
    fields = json_fields(body, what="job's status")
    status = fields.get("job_status", fields.get("status"))
    if isinstance(status, Mapping):
        status = status.get(job_id)
    if not isinstance(status, str):
        raise ProtocolError("the deployment did not say where the job stands")
    metadata = fields.get("metadata")
    reason = metadata.get("failure_reason") if isinstance(metadata, Mapping) else None
    return JobInfo(job_id=job_id, status=status.upper(), failure=_reason(reason))


def parse_job(body: bytes) -> JobInfo:
    """All about a job."""
    fields = json_fields(body, what="job")
    inner = fields.get("job", fields)
    found = _job(inner) if isinstance(inner, Mapping) else None
    if found is None:
        raise ProtocolError("the deployment's answer does not describe a job")
    return found


def parse_jobs(body: bytes) -> tuple[Sequence[JobInfo], str | None]:
    """A page of jobs, and where the next one begins; `None` at the end."""
    fields = json_fields(body, what="list of jobs")
    rows = fields.get("jobs")
    if not isinstance(rows, list):
        raise ProtocolError("the deployment's answer holds no list of jobs")
    jobs = [_job(row) for row in rows if isinstance(row, Mapping)]
    return [job for job in jobs if job is not None], _text(fields, "next_cursor")


def parse_cancelled(body: bytes) -> bool:
    """Whether a job is being cancelled; `False` for one that had ended."""
    return json_fields(body, what="cancellation").get("cancelled") is not False


def parse_submission(body: bytes) -> SubmissionInfo:
    """What became of a submission."""
    fields = json_fields(body, what="submission")
    job_id = _text(fields, "job_id")
    job = fields.get("job")
    if job_id is None and isinstance(job, Mapping):
        job_id = _text(job, "job_id")
    return SubmissionInfo(
        job_id=job_id,
        status=(_text(fields, "status") or "").upper(),
        is_retryable=fields.get("retryable") is True,
        detail=_reason(fields.get("detail")),
    )


def parse_quotas(body: bytes) -> Sequence[Quota]:
    """What jobs may be, by priority."""
    rows = json_fields(body, what="list of quotas").get("quotas")
    if not isinstance(rows, list):
        raise ProtocolError("the deployment's answer holds no quotas")
    return [
        Quota(
            priority=at if (given := _integer(row, "priority")) is None else given,
            rows=_integer(row, "row_quota"),
            tokens=_integer(row, "token_quota"),
        )
        for at, row in enumerate(rows)
        if isinstance(row, Mapping)
    ]


def parse_progress(line: bytes) -> ProgressUpdate | None:
    """A line of the progress stream, `None` for one that says nothing of use."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(fields, dict):
        return None
    kind, result = fields.get("update_type"), fields.get("result")
    if kind == "progress":
        return ProgressUpdate(rows=_integer(fields, "result"))
    if kind == "tokens" and isinstance(result, Mapping):
        return ProgressUpdate(
            input_tokens=_integer(result, "input_tokens"),
            output_tokens=_integer(result, "output_tokens"),
        )
    return ProgressUpdate()


def json_fields(body: bytes, *, what: str) -> dict[str, Any]:
    """The JSON object in a body.

    Raises:
        ProtocolError: It holds none; says what it should have been.
    """
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        fields = None
    if not isinstance(fields, dict):
        raise ProtocolError(f"the deployment's answer is not the JSON of a {what}")
    return fields


def _job(fields: Mapping[str, Any]) -> JobInfo | None:
    job_id, status = _text(fields, "job_id"), _text(fields, "status")
    if job_id is None or status is None:
        return None
    return JobInfo(
        job_id=job_id,
        status=status.upper(),
        model=_text(fields, "model"),
        name=_text(fields, "name"),
        description=_text(fields, "description"),
        priority=_integer(fields, "job_priority"),
        rows=_integer(fields, "num_rows"),
        input_tokens=_integer(fields, "input_tokens"),
        output_tokens=_integer(fields, "output_tokens"),
        cost_usd=_number(fields, "job_cost"),
        estimate_usd=_number(fields, "cost_estimate"),
        created_at=_text(fields, "datetime_created"),
        started_at=_text(fields, "datetime_started"),
        completed_at=_text(fields, "datetime_completed"),
        failure=_reason(fields.get("failure_reason")),
    )


def _reason(value: Any) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("message")
    return one_line(value) or None if isinstance(value, str) else None


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and value else None


def _number(fields: Mapping[str, Any], name: str) -> float | None:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _integer(fields: Mapping[str, Any], name: str) -> int | None:
    value = _number(fields, name)
    return None if value is None else int(value)
