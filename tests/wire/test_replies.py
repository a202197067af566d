"""Bodies of responses, as clients read them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest

from sutro_stream.jobs.config import USUAL_QUOTAS
from sutro_stream.values.catalogue import Model, ModelKind
from sutro_stream.values.endpoint import Endpoint
from sutro_stream.values.function import Function
from sutro_stream.values.job import (
    InputKind,
    Job,
    JobInput,
    JobSpec,
    JobState,
    RunType,
)
from sutro_stream.values.outcomes import Usage
from sutro_stream.wire import replies
from sutro_stream.wire.api_error import invalid
from sutro_stream.wire.query import ResultsUrlQuery

CREATED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
QUEUED = Job(
    job_id="job-1",
    spec=JobSpec(
        account="alice",
        model="gpt-oss-20b",
        input=JobInput(kind=InputKind.URL, reference="https://h/a.csv?k=SECRET"),
    ),
    state=JobState.QUEUED,
    created_at=CREATED_AT,
)
FAILED = replace(
    QUEUED,
    job_id="job-2",
    state=JobState.FAILED,
    started_at=CREATED_AT + timedelta(seconds=1, microseconds=5),
    completed_at=CREATED_AT + timedelta(seconds=2),
    failure="there is no column 'x'",
)
SUCCEEDED = replace(
    FAILED,
    job_id="job-3",
    state=JobState.SUCCEEDED,
    failure=None,
    rows=3,
    failed_rows=1,
    input_tokens=30,
    output_tokens=20,
    cost_usd=0.5,
    answered_by="smollm2",
    note="on a sample",
    spec=JobSpec(
        account="alice",
        model="lead-qualifier",
        input=JobInput(kind=InputKind.DATASET, reference="dataset-1"),
        function="lead-qualifier",
        revision=7,
        priority=1,
        system_prompt="s",
        json_schema={"type": "object"},
        sampling_params={"temperature": 0.5},
        name="n",
        description="d",
    ),
)
QUEUED_FIELDS: dict[str, Any] = {
    "job_id": "job-1",
    "status": "QUEUED",
    "model": "gpt-oss-20b",
    "system_prompt": None,
    "job_priority": 0,
    "datetime_created": "2026-01-02T03:04:05.000000Z",
    "datetime_started": None,
    "datetime_completed": None,
    "json_schema": None,
    "sampling_params": None,
    "name": None,
    "description": None,
    "dataset_id": None,
    "input_tokens": None,
    "output_tokens": None,
    "job_cost": None,
    "num_rows": None,
    "failure_reason": None,
    "cost_estimate": None,
    "run_type": "FULL",
}


def test_a_submission_tells_the_job_twice() -> None:
    """The SDK reads `results`, which is a text."""
    assert replies.submitted("job-1") == {
        "metadata": {"job_id": "job-1", "message": "Job created successfully"},
        "results": "job-1",
    }


def test_a_status_is_found_under_the_job() -> None:
    """In an object keyed by the ID."""
    assert replies.job_status(QUEUED) == {
        "message": "Job status with job_id job-1 retrieved.",
        "job_status": {"job-1": "QUEUED"},
        "metadata": None,
    }


def test_a_failed_status_has_the_reason() -> None:
    """As an object with a message."""
    assert replies.job_status(FAILED)["metadata"] == {
        "failure_reason": {"message": "there is no column 'x'"}
    }


def test_a_new_job_has_all_fields() -> None:
    """Those of the contract and four of ours."""
    assert replies.job(QUEUED) == {
        "job": {
            **QUEUED_FIELDS,
            "answered_by": None,
            "function_revision": None,
            "failed_rows": None,
            "note": None,
        }
    }


def test_a_finished_job_has_all_values() -> None:
    """Each under its name."""
    assert replies.job(SUCCEEDED) == {
        "job": {
            "job_id": "job-3",
            "status": "SUCCEEDED",
            "model": "lead-qualifier",
            "system_prompt": "s",
            "job_priority": 1,
            "datetime_created": "2026-01-02T03:04:05.000000Z",
            "datetime_started": "2026-01-02T03:04:06.000005Z",
            "datetime_completed": "2026-01-02T03:04:07.000000Z",
            "json_schema": {"type": "object"},
            "sampling_params": {"temperature": 0.5},
            "name": "n",
            "description": "d",
            "dataset_id": "dataset-1",
            "input_tokens": 30,
            "output_tokens": 20,
            "job_cost": 0.5,
            "num_rows": 3,
            "failure_reason": None,
            "cost_estimate": None,
            "run_type": "FULL",
            "answered_by": "smollm2",
            "function_revision": 7,
            "failed_rows": 1,
            "note": "on a sample",
        }
    }


def test_an_estimate_tells_its_price() -> None:
    """The SDK prints it."""
    spec = replace(QUEUED.spec, run_type=RunType.ESTIMATE)
    fields = replies.job(replace(QUEUED, spec=spec, estimate_usd=0.25))["job"]
    assert (fields["run_type"], fields["cost_estimate"]) == ("ESTIMATE", 0.25)


@pytest.mark.parametrize("reply", [replies.job, replies.job_row, replies.job_status])
def test_an_address_is_never_told(reply: Any) -> None:
    """It is a secret."""
    assert b"SECRET" not in orjson.dumps(reply(QUEUED))
    assert b"SECRET" not in orjson.dumps(reply(FAILED))


def test_a_failure_always_has_a_message() -> None:
    """The SDK prints it."""
    assert replies.job(replace(FAILED, failure=None))["job"]["failure_reason"] == {
        "message": "The job failed"
    }


def test_a_job_in_a_list_has_numbers() -> None:
    """A table of them cannot begin with nulls."""
    assert replies.job_row(QUEUED) == {
        **QUEUED_FIELDS,
        "input_tokens": 0,
        "output_tokens": 0,
        "job_cost": 0.0,
    }
    assert isinstance(replies.job_row(replace(QUEUED, cost_usd=1))["job_cost"], float)


def test_a_list_keeps_its_order() -> None:
    """Newest first is for the store to say."""
    reply = replies.jobs_listed([FAILED, SUCCEEDED])
    assert reply["message"] == "Jobs retrieved successfully."
    assert [row["job_id"] for row in reply["jobs"]] == ["job-2", "job-3"]
    assert "next_cursor" not in reply


def test_a_page_leads_to_the_next() -> None:
    """Or says that there is none."""
    assert replies.jobs_page([FAILED], next_cursor="c")["next_cursor"] == "c"
    assert replies.jobs_page([], next_cursor=None)["next_cursor"] is None


def test_a_date_that_is_nowhere_is_left_out() -> None:
    """A table's column of moments cannot be null throughout."""
    (row,) = replies.jobs_listed([QUEUED])["jobs"]
    assert "datetime_started" not in row
    assert row["datetime_completed"] is None
    started, queued = replies.jobs_listed([FAILED, QUEUED])["jobs"]
    assert started["datetime_started"] is not None
    assert queued["datetime_started"] is None


def test_a_late_value_does_not_meet_a_column_of_nulls() -> None:
    """The type of a column is taken from the first hundred rows."""
    jobs = [QUEUED] * 100 + [FAILED, SUCCEEDED]
    rows = replies.jobs_listed(jobs)["jobs"]
    for column in ("name", "failure_reason", "num_rows", "json_schema"):
        assert column not in rows[0]
    assert rows[100]["failure_reason"] is not None
    assert rows[101]["name"] == "n"
    assert rows[0]["job_cost"] == 0.0


def test_a_short_list_has_all_fields() -> None:
    """Nulls among them are no trouble."""
    (row,) = replies.jobs_listed([FAILED])["jobs"]
    assert set(row) == set(QUEUED_FIELDS)


def test_a_cancellation_is_confirmed() -> None:
    """With the job that it is for."""
    cancelling = replace(QUEUED, state=JobState.CANCELLING)
    assert replies.cancelled(cancelling, accepted=True) == {
        "cancelled": True,
        "message": "Cancelling job with job_id: job-1",
    }


def test_a_job_that_has_ended_is_not_cancelled() -> None:
    """And says how it ended."""
    assert replies.cancelled(SUCCEEDED, accepted=False) == {
        "cancelled": False,
        "message": "Job is already SUCCEEDED",
    }


def test_a_key_is_confirmed() -> None:
    """With JSON's own true."""
    assert replies.auth_checked("alice") == {
        "authenticated": True,
        "principal": "alice",
    }
    assert replies.authenticated() == {"authenticated": True}


def test_quotas_stand_in_the_order_of_priorities() -> None:
    """Clients count them."""
    limits = {priority: USUAL_QUOTAS[priority] for priority in (1, 0)}
    assert replies.quotas(limits) == {
        "quotas": [
            {"priority": 0, "row_quota": 1_000, "token_quota": 1_000_000},
            {"priority": 1, "row_quota": 1_000_000, "token_quota": 10_000_000},
        ]
    }


def test_a_link_tells_what_it_leads_to() -> None:
    """And for how long."""
    query = ResultsUrlQuery(include_inputs=True, expires_in_s=60)
    assert replies.results_url(
        "job-1",
        query,
        key="k",
        filename="f.parquet",
        size_bytes=9,
        get_url="https://h/g",
        head_url="https://h/h",
    ) == {
        "job_id": "job-1",
        "format": "parquet",
        "include_inputs": True,
        "include_cumulative_logprobs": False,
        "expires_in_seconds": 60,
        "artifact": {
            "bucket": "sutro-stream",
            "key": "k",
            "filename": "f.parquet",
            "size_bytes": 9,
        },
        "urls": {"get": "https://h/g", "head": "https://h/h"},
    }


def test_a_function_run_tells_all() -> None:
    """What ran, what it answered, and what it took."""
    function = Function.validate(
        {"name": "f", "revision": 7, "inputs": [{"name": "a"}]}
    )
    assert replies.function_run(
        function,
        request_id="r",
        model="gpt-oss-20b",
        answered_by="smollm2",
        output={"label": "a"},
        confidence=None,
        usage=Usage(input_tokens=3, output_tokens=2),
    ) == {
        "request_id": "r",
        "function": {
            "name": "f",
            "revision": 7,
            "model": "gpt-oss-20b",
            "model_source": "smollm2",
        },
        "output": {"label": "a"},
        "confidence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2, "estimated_cost_usd": 0.0},
    }


def test_a_submission_with_a_key_tells_its_state() -> None:
    """All five fields, always."""
    assert replies.submission_status("k", status="INGESTING", retryable=False) == {
        "idempotency_key": "k",
        "status": "INGESTING",
        "retryable": False,
        "job_id": None,
        "detail": None,
    }


def test_models_are_listed_with_their_aliases() -> None:
    """Nothing is told of who answers."""
    model = Model(
        name="small",
        kind=ModelKind.CHAT,
        endpoints=(Endpoint(url="http://SECRET/v1", api_key="SECRET"),),
        served_name="SECRET",
    )
    reply = replies.models([model], aliases={"gpt-oss-20b": "small", "lost": "gone"})
    assert reply["object"] == "list"
    assert [entry["id"] for entry in reply["data"]] == ["small", "gpt-oss-20b"]
    assert reply["data"][1]["alias_of"] == "small"
    assert b"SECRET" not in orjson.dumps(reply)


def test_an_error_has_three_texts() -> None:
    """Also where a framework would make a list."""
    assert replies.error(invalid("name: too long"), "r") == {
        "detail": "name: too long",
        "code": "invalid_request",
        "request_id": "r",
    }


def test_times_have_one_form() -> None:
    """Microseconds and a Z, from any zone."""
    there = timezone(timedelta(hours=2))
    when = datetime(2026, 1, 2, 5, 4, 5, 60, tzinfo=there)
    assert replies.iso_time(when) == "2026-01-02T03:04:05.000060Z"
