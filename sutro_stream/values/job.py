"""A job of a deployment: what was asked, and how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class JobState(StrEnum):
    """Where a job stands; the words are those of Sutro's API."""

    QUEUED = "QUEUED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    CANCELLING = "CANCELLING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_final(self) -> bool:
        """Whether the job stays so."""
        return self in _FINAL


_FINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})


class RunType(StrEnum):
    """What a job is for."""

    FULL = "FULL"
    """Answers for all rows."""
    ESTIMATE = "ESTIMATE"
    """What that would cost."""


class InputKind(StrEnum):
    """Where a job's rows come from."""

    ROWS = "rows"
    """The body of the request; they lie in the job's folder."""
    URL = "url"
    """A CSV or Parquet file behind an address."""
    DATASET = "dataset"
    """The files of a dataset of the account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInput:
    """The rows of a job.

    Attributes:
        kind: Where they come from.
        reference: The address or the dataset's ID, `None` for rows of the body. An
            address is a secret: it is never shown.
    """

    kind: InputKind
    reference: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What was asked; never changes.

    Attributes:
        account: Whose job it is.
        model: Model or Function, as it was asked for.
        input: Its rows.
        function: Name of the published Function that renders them, `None` for a
            standalone or custom model.
        revision: Its revision, pinned when the job was accepted; `None` without one.
        priority: 0 for prototypes, 1 for production.
        run_type: Answers or an estimate.
        column: Column of the prompts, `None` for the first, or for a Function.
        id_column: Column that is carried to the results, `None` for none.
        system_prompt: Of a standalone model; `None` for none.
        json_schema: Of a standalone model; `None` for free text.
        sampling_params: As effective: defaults and request merged.
        seed_per_row: Whether each row gets a random seed of its own.
        truncate_rows: Whether rows that are too long are cut to fit.
        name: At most 45 characters.
        description: At most 512 characters.
    """

    account: str
    model: str
    input: JobInput
    function: str | None = None
    revision: int | None = None
    priority: int = 0
    run_type: RunType = RunType.FULL
    column: str | None = None
    id_column: str | None = None
    system_prompt: str | None = None
    json_schema: Mapping[str, Any] | None = None
    sampling_params: Mapping[str, Any] | None = None
    seed_per_row: bool = False
    truncate_rows: bool = False
    name: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stands.

    Attributes:
        job_id: `job-` and a random UUID; never used twice.
        spec: What was asked.
        state: Where it stands.
        created_at: When it was accepted, UTC.
        started_at: When it was first worked on, `None` before.
        completed_at: When it reached a final state, `None` before.
        rows: Number of its rows, `None` until known.
        failed_rows: How many of them have no answer; `None` until it has ended.
        input_tokens: As counted by the engine, `None` until it has ended.
        output_tokens: As `input_tokens`.
        cost_usd: Price of these tokens, `None` until it has ended.
        estimate_usd: What an estimate job found, `None` else.
        answered_by: The model that answered, by its endpoint's name for it, `None`
            until known.
        failure: Why it failed, for people; `None` unless it did.
        note: How its numbers were found, or what else of its answers needs saying;
            `None` for nothing.
    """

    job_id: str
    spec: JobSpec
    state: JobState
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    rows: int | None = None
    failed_rows: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    estimate_usd: float | None = None
    answered_by: str | None = None
    failure: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """Counters of a job that runs, from its first row on, restarts included.

    Attributes:
        rows: Rows that have an outcome.
        input_tokens: So far.
        output_tokens: So far.
        tokens_per_s: Of late, input and output together.
    """

    rows: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tokens_per_s: float = 0.0
