"""Jobs as rows of the database, and back."""

from __future__ import annotations

import sqlite3
from dataclasses import fields
from datetime import datetime
from typing import Any

import orjson

from sutro_stream.errors import StoreDamagedError
from sutro_stream.jobs.database import microseconds, moment
from sutro_stream.values.job import (
    InputKind,
    Job,
    JobInput,
    JobSpec,
    JobState,
    RunType,
)

_SPEC_FIELDS = tuple(
    field.name for field in fields(JobSpec) if field.name not in {"account", "input"}
)

INSERT = (
    "INSERT INTO jobs (job_id, account, state, spec, address, created_us, started_us, "
    "completed_us, row_count, failed_rows, input_tokens, output_tokens, cost_usd, "
    "estimate_usd, answered_by, failure, note) VALUES "
    "(:job_id, :account, :state, :spec, :address, :created_us, :started_us, "
    ":completed_us, :row_count, :failed_rows, :input_tokens, :output_tokens, "
    ":cost_usd, :estimate_usd, :answered_by, :failure, :note)"
)


def record(job: Job) -> dict[str, Any]:
    """The values of a job's row, by column."""
    source = job.spec.input
    is_secret = source.kind is InputKind.URL
    return {
        "job_id": job.job_id,
        "account": job.spec.account,
        "state": job.state.value,
        "spec": _spec_text(job.spec),
        "address": source.reference if is_secret and not job.state.is_final else None,
        "created_us": microseconds(job.created_at),
        "started_us": _optional_microseconds(job.started_at),
        "completed_us": _optional_microseconds(job.completed_at),
        "row_count": job.rows,
        "failed_rows": job.failed_rows,
        "input_tokens": job.input_tokens,
        "output_tokens": job.output_tokens,
        "cost_usd": job.cost_usd,
        "estimate_usd": job.estimate_usd,
        "answered_by": job.answered_by,
        "failure": job.failure,
        "note": job.note,
    }


def job_of(row: sqlite3.Row) -> Job:
    """The job of a row.

    Raises:
        StoreDamagedError: The row is not one that `record` made.
    """
    try:
        return Job(
            job_id=row["job_id"],
            spec=_spec(row),
            state=JobState(row["state"]),
            created_at=moment(row["created_us"]),
            started_at=_optional_moment(row["started_us"]),
            completed_at=_optional_moment(row["completed_us"]),
            rows=row["row_count"],
            failed_rows=row["failed_rows"],
            input_tokens=row["input_tokens"],
            output_tokens=row["output_tokens"],
            cost_usd=row["cost_usd"],
            estimate_usd=row["estimate_usd"],
            answered_by=row["answered_by"],
            failure=row["failure"],
            note=row["note"],
        )
    except (ValueError, TypeError, LookupError) as error:
        message = (
            f"the record of job {row['job_id']} is damaged "
            f"({type(error).__name__}); put a copy of the database back"
        )
        raise StoreDamagedError(message) from error


def _spec_text(spec: JobSpec) -> str:
    values = {name: getattr(spec, name) for name in _SPEC_FIELDS}
    kind = spec.input.kind
    values["input"] = kind.value
    if kind is InputKind.DATASET:
        values["dataset_id"] = spec.input.reference
    return orjson.dumps(values).decode()


def _spec(row: sqlite3.Row) -> JobSpec:
    values: dict[str, Any] = orjson.loads(row["spec"])
    kind = InputKind(values["input"])
    reference = row["address"] if kind is InputKind.URL else values.get("dataset_id")
    # Fields of other versions are left out or have their defaults.
    known = {name: values[name] for name in _SPEC_FIELDS if name in values}
    known["run_type"] = RunType(known["run_type"])
    return JobSpec(
        account=row["account"], input=JobInput(kind=kind, reference=reference), **known
    )


def _optional_microseconds(when: datetime | None) -> int | None:
    return None if when is None else microseconds(when)


def _optional_moment(kept: int | None) -> datetime | None:
    return None if kept is None else moment(kept)
