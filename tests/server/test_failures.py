"""How errors are told."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from aiohttp import ClientPayloadError
from aiohttp.test_utils import TestClient

from sutro_stream.errors import StoreError
from sutro_stream.wire.api_error import ApiError

SECRET = "a row that is nobody's business"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/nothing/at/all", 404, "not_found"),
        ("POST", "/v1/batch-inference/", 404, "not_found"),
        ("GET", "/v1/batch-inference", 405, "method_not_allowed"),
        ("DELETE", "/v1/jobs/job-1", 405, "method_not_allowed"),
        ("HEAD", "/v1/job-cancel/job-1", 405, "method_not_allowed"),
        ("GET", "/v1/job-status/None", 404, "job_not_found"),
    ],
)
async def test_every_error_is_a_json_object(
    client: TestClient[Any, Any], method: str, path: str, status: int, code: str
) -> None:
    """With a sentence, a word for programs and the request's ID."""
    response = await client.request(method, path, allow_redirects=False)
    assert response.status == status
    assert response.content_type == "application/json"
    if method != "HEAD":
        body = await response.json()
        assert body["code"] == code
        assert isinstance(body["detail"], str)
        assert body["request_id"] == response.headers["X-Request-Id"]


async def test_a_wrong_method_is_told_the_right_ones(
    client: TestClient[Any, Any],
) -> None:
    """In the header, as HTTP has it."""
    response = await client.put("/v1/job-cancel/job-1")
    assert response.headers["Allow"] == "GET, POST"


async def test_requests_have_different_ids(client: TestClient[Any, Any]) -> None:
    """Successful ones too."""
    responses = [await client.get("/v1/get-quotas") for _ in range(2)]
    assert len({response.headers["X-Request-Id"] for response in responses}) == 2


async def test_responses_do_not_tell_what_the_server_is_made_of(
    client: TestClient[Any, Any],
) -> None:
    """No versions of anything."""
    assert (await client.get("/healthz")).headers["Server"] == "sutro-stream"


async def test_a_refusal_brings_its_headers(
    client: TestClient[Any, Any], fake: Any
) -> None:
    """Such as how long to wait."""
    fake.failure = ApiError(429, "rate_limited", "x", headers={"Retry-After": "3"})
    response = await client.get("/v1/job-status/job-1")
    assert (response.status, response.headers["Retry-After"]) == (429, "3")


@pytest.mark.parametrize(
    "failure", [RuntimeError(SECRET), StoreError(SECRET), TimeoutError(SECRET)]
)
async def test_a_failure_of_ours_stays_with_us(
    client: TestClient[Any, Any],
    fake: Any,
    job_id: str,
    failure: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client learns an ID under which the log tells the rest."""
    fake.failure = failure
    with caplog.at_level(logging.ERROR, "sutro_stream.server"):
        response = await client.get(f"/v1/job-status/{job_id}")
    text = await response.text()
    assert response.status == 500
    assert SECRET not in text
    (record,) = caplog.records
    assert response.headers["X-Request-Id"] in record.getMessage()


async def test_a_response_that_fails_half_way_is_not_taken_for_whole(
    client: TestClient[Any, Any], fake: Any, job_id: str
) -> None:
    """Its connection ends without its end."""
    response = await client.get(f"/v1/stream-job-progress/{job_id}")
    await response.content.readline()
    fake.failure = RuntimeError(SECRET)
    fake.steps.append(None)
    fake.steps.append((fake.job_now, fake.progress_now))
    with pytest.raises(ClientPayloadError):
        await response.read()


async def test_a_log_for_programs_names_account_and_job(
    client: TestClient[Any, Any], job_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As fields of the event, beside the request's ID."""
    with caplog.at_level(logging.INFO, "sutro_stream.server.requests"):
        response = await client.post("/v1/batch-inference?secret=1", data=b"{}")
    (event,) = [record.__dict__ for record in caplog.records]
    assert event["request_id"] == response.headers["X-Request-Id"]
    assert (event["account"], event["job_id"]) == ("alice", job_id)
    assert (event["path"], event["status"]) == ("/v1/batch-inference", 200)
