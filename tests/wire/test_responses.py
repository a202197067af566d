"""Responses of deployments of several generations, read by one client."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.errors import ProtocolError
from sutro_stream.values.job import JobState
from sutro_stream.wire import responses
from sutro_stream.wire.refusal import parse_refusal
from sutro_stream.wire.responses import ProgressUpdate


def json(value: Any) -> bytes:
    """A body."""
    return orjson.dumps(value)


@pytest.mark.parametrize(
    "body",
    [
        {"results": "job-1", "metadata": {"job_id": "job-1"}},
        {"metadata": {"job_id": "job-1"}},
        {"job_id": "job-1"},
    ],
)
def test_the_job_of_a_submission(body: dict[str, Any]) -> None:
    """By whichever name."""
    assert responses.parse_submitted(json(body)) == "job-1"


@pytest.mark.parametrize(
    "body",
    [
        {"job_status": {"job-1": "RUNNING"}},
        {"job_status": "running"},
        {"status": "Running"},
    ],
)
def test_the_status_as_object_or_text(body: dict[str, Any]) -> None:
    """In any case."""
    found = responses.parse_status(json(body), "job-1")
    assert (found.status, found.state) == ("RUNNING", JobState.RUNNING)


def test_an_unknown_status_is_no_end() -> None:
    """The word is kept."""
    found = responses.parse_status(b'{"job_status":"PENDING"}', "job-1")
    assert (found.status, found.state) == ("PENDING", None)


def test_the_reason_of_a_failure() -> None:
    """On one line."""
    body = {
        "job_status": {"job-1": "FAILED"},
        "metadata": {"failure_reason": {"message": "no\nsuch  column"}},
    }
    found = responses.parse_status(json(body), "job-1")
    assert found.failure == "no such column"


def test_all_about_a_job() -> None:
    """Nulls and what is not there are `None`."""
    body = {
        "job": {
            "job_id": "job-1",
            "status": "SUCCEEDED",
            "num_rows": 3,
            "input_tokens": None,
            "job_cost": 0.5,
            "failure_reason": "a text",
        }
    }
    found = responses.parse_job(json(body))
    assert (found.rows, found.input_tokens, found.cost_usd) == (3, None, 0.5)
    assert (found.failure, found.output_tokens) == ("a text", None)


def test_a_page_of_jobs() -> None:
    """What is no job is left out."""
    body = {"jobs": [{"job_id": "a", "status": "QUEUED"}, {}, 3], "next_cursor": "c"}
    jobs, cursor = responses.parse_jobs(json(body))
    assert ([job.job_id for job in jobs], cursor) == (["a"], "c")


def test_what_became_of_a_submission() -> None:
    """With the job inside, or beside."""
    body = {"status": "accepted", "job": {"job_id": "job-1"}}
    assert responses.parse_submission(json(body)).job_id == "job-1"
    waiting = {"status": "INGESTING", "retryable": True, "job_id": None}
    found = responses.parse_submission(json(waiting))
    assert (found.job_id, found.status, found.is_retryable) == (None, "INGESTING", True)


def test_quotas() -> None:
    """The place in the list is the priority."""
    body = {"quotas": [{"row_quota": 5}, {"priority": 1, "token_quota": 7}]}
    first, second = responses.parse_quotas(json(body))
    assert (first.priority, first.rows, first.tokens) == (0, 5, None)
    assert (second.priority, second.tokens) == (1, 7)


@pytest.mark.parametrize(
    ("line", "update"),
    [
        (b'{"update_type":"progress","result":7}\n', ProgressUpdate(rows=7)),
        (
            b'{"update_type":"tokens","result":{"input_tokens":1}}',
            ProgressUpdate(input_tokens=1),
        ),
        (b'{"update_type":"heartbeat"}', ProgressUpdate()),
        (b'{"update_type":"progress","result":null}', ProgressUpdate()),
        (b'{"update_type":"other","result":[]}', ProgressUpdate()),
        (b"\n", None),
        (b"<html>", None),
        (b"3", None),
    ],
)
def test_lines_of_the_progress(line: bytes, update: ProgressUpdate | None) -> None:
    """Whatever they are, they end nothing."""
    assert responses.parse_progress(line) == update


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(orjson.dumps))
def test_anything_else_is_a_protocol_error(body: bytes) -> None:
    """And no other."""
    for parse in (
        responses.parse_submitted,
        responses.parse_job,
        responses.parse_jobs,
        responses.parse_quotas,
    ):
        with pytest.raises(ProtocolError):
            parse(body)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"detail": "no such\njob"}, "no such job"),
        ({"message": "m"}, "m"),
        ({"error": "e"}, "e"),
        ({"error": {"message": "inner"}}, "inner"),
        (
            {"detail": [{"loc": ["body", "name"], "msg": "too long"}, {"msg": "bad"}]},
            "name: too long; bad",
        ),
        ({"detail": 3, "message": "m"}, "m"),
        ({}, None),
        ([], None),
    ],
)
def test_why_a_request_was_refused(body: Any, detail: str | None) -> None:
    """By any of the names that have been in use."""
    assert parse_refusal(json(body)).detail == detail


def test_a_page_of_a_proxy_says_nothing() -> None:
    """It is not shown."""
    assert parse_refusal(b"<html>Bad gateway</html>").detail is None
