"""Bodies of replies, whole, as they stand in files beside this test.

A change of one of them is a change of the contract: think of the SDK before the file is
changed as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sutro_stream.jobs.config import USUAL_QUOTAS
from sutro_stream.values.catalogue import Model, ModelKind
from sutro_stream.values.function import Function
from sutro_stream.values.job import (
    InputKind,
    Job,
    JobInput,
    JobProgress,
    JobSpec,
    JobState,
    RunType,
)
from sutro_stream.values.outcomes import Usage
from sutro_stream.wire import progress, replies
from sutro_stream.wire.api_error import not_found
from sutro_stream.wire.query import parse_results_url_query

GOLDEN = Path(__file__).parent / "golden"
NOON = datetime(2026, 1, 2, 12, 0, 0, 5, tzinfo=UTC)
JOB_ID = "job-00000000-0000-4000-8000-000000000001"

QUEUED = Job(
    job_id=JOB_ID,
    spec=JobSpec(
        account="alice",
        model="gpt-oss-20b",
        input=JobInput(kind=InputKind.ROWS),
        system_prompt="Be brief.",
        sampling_params={"temperature": 0.0},
        name="first",
    ),
    state=JobState.QUEUED,
    created_at=NOON,
)
DONE = replace(
    QUEUED,
    state=JobState.SUCCEEDED,
    started_at=NOON + timedelta(seconds=1),
    completed_at=NOON + timedelta(seconds=2),
    rows=3,
    failed_rows=1,
    input_tokens=30,
    output_tokens=20,
    cost_usd=0.5,
    answered_by="openai/gpt-oss-20b",
)
FAILED = replace(
    QUEUED,
    spec=replace(
        QUEUED.spec,
        model="lead-qualifier",
        function="lead-qualifier",
        revision=7,
        system_prompt=None,
        input=JobInput(kind=InputKind.URL, reference="https://secret.example/x?sig=1"),
    ),
    state=JobState.FAILED,
    started_at=NOON,
    completed_at=NOON,
    failure="the file has no column 'query'",
)
ESTIMATE = replace(
    DONE,
    spec=replace(DONE.spec, run_type=RunType.ESTIMATE),
    failed_rows=None,
    output_tokens=None,
    cost_usd=None,
    estimate_usd=0.25,
    answered_by=None,
    note="input tokens of all 3 rows counted by the model's tokenizer",
)
FUNCTION = Function.validate(
    {"name": "lead-qualifier", "revision": 7, "inputs": [{"name": "query"}]}
)


def results_url() -> dict[str, Any]:
    """The reply with both links."""
    return replies.results_url(
        JOB_ID,
        parse_results_url_query({"include_inputs": "True"}),
        key=f"jobs/alice/{JOB_ID}/results/file.parquet",
        filename="file.parquet",
        size_bytes=123,
        get_url="http://127.0.0.1:8642/v1/artifacts/get",
        head_url="http://127.0.0.1:8642/v1/artifacts/head",
    )


def function_run() -> dict[str, Any]:
    """The reply of a Function."""
    return replies.function_run(
        FUNCTION,
        request_id="req_1",
        model="m",
        answered_by="served-m",
        output={"label": "qualified"},
        confidence=0.75,
        usage=Usage(input_tokens=3, output_tokens=2),
        cost_usd=0.001,
    )


REPLIES: dict[str, Callable[[], Any]] = {
    "submitted": lambda: replies.submitted(JOB_ID),
    "job_status_queued": lambda: replies.job_status(QUEUED),
    "job_status_failed": lambda: replies.job_status(FAILED),
    "job_queued": lambda: replies.job(QUEUED),
    "job_done": lambda: replies.job(DONE),
    "job_failed": lambda: replies.job(FAILED),
    "job_estimate": lambda: replies.job(ESTIMATE),
    "list_jobs": lambda: replies.jobs_listed([DONE, FAILED, QUEUED]),
    "list_jobs_page": lambda: replies.jobs_page([DONE], next_cursor="abc"),
    "job_cancel": lambda: replies.cancelled(QUEUED, accepted=True),
    "job_cancel_too_late": lambda: replies.cancelled(DONE, accepted=False),
    "auth_check": lambda: replies.auth_checked("alice"),
    "try_authentication": replies.authenticated,
    "get_quotas": lambda: replies.quotas(USUAL_QUOTAS),
    "results_url": results_url,
    "function_run": function_run,
    "batch_submission": lambda: replies.submission_status(
        "0b7fb9a4-1b4c-4b2e-9a57-3f2f8d1c2a11",
        status="ACCEPTED",
        retryable=False,
        job_id=JOB_ID,
    ),
    "models": lambda: replies.models(
        [Model(name="m"), Model(name="e", kind=ModelKind.EMBEDDING)],
        aliases={"gpt-oss-20b": "m"},
    ),
    "error": lambda: replies.error(not_found("the job x", code="job_not_found"), "r1"),
    "progress_lines": lambda: [
        json.loads(line)
        for line in (
            progress.progress_line(2),
            progress.tokens_line(JobProgress(rows=2, input_tokens=5, output_tokens=1)),
            progress.HEARTBEAT,
        )
    ],
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_is_what_its_file_says(name: str) -> None:
    """All of it, types of numbers included."""
    made = json.dumps(REPLIES[name](), indent=2) + "\n"
    assert made == (GOLDEN / f"{name}.json").read_text()


def test_no_file_is_left_over() -> None:
    """A reply that is gone needs no file."""
    assert {path.stem for path in GOLDEN.iterdir()} == set(REPLIES)
