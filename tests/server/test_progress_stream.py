"""The progress stream, line by line."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from sutro_stream.values.job import JobProgress, JobState


async def lines_of(client: TestClient[Any, Any], job_id: str) -> list[Any]:
    """All lines up to the end of the stream."""
    response = await client.get(f"/v1/stream-job-progress/{job_id}")
    assert response.status == 200
    return [json.loads(line) async for line in response.content]


def tokens(read: int, written: int, rate: float = 0.0) -> dict[str, Any]:
    """A line of tokens."""
    result = {
        "input_tokens": read,
        "output_tokens": written,
        "total_tokens_processed_per_second": rate,
    }
    return {"update_type": "tokens", "result": result}


def rows(number: int) -> dict[str, Any]:
    """A line of progress."""
    return {"update_type": "progress", "result": number}


async def test_a_job_is_followed_to_its_end(
    client: TestClient[Any, Any], fake: Any, job_id: str
) -> None:
    """How it stands at first, then what changes, at last all its rows."""
    running = replace(fake.job_now, state=JobState.RUNNING)
    done = replace(running, state=JobState.SUCCEEDED, rows=3)
    half = JobProgress(rows=1, input_tokens=5, output_tokens=2, tokens_per_s=7.0)
    fake.steps = [(running, half), (running, half), (done, half)]
    assert await lines_of(client, job_id) == [
        *(rows(0), tokens(0, 0)),
        *(rows(1), tokens(5, 2, 7.0)),
        rows(3),
    ]


async def test_silence_is_broken_by_a_heartbeat(
    client: TestClient[Any, Any], fake: Any, job_id: str
) -> None:
    """Nothing else is repeated."""
    fake.steps = [
        None,
        (replace(fake.job_now, state=JobState.CANCELLED), JobProgress()),
    ]
    assert await lines_of(client, job_id) == [
        *(rows(0), tokens(0, 0)),
        {"update_type": "heartbeat"},
    ]


async def test_a_job_that_has_ended_is_one_picture(
    client: TestClient[Any, Any], fake: Any, job_id: str
) -> None:
    """And the end of the stream."""
    fake.ended(JobState.SUCCEEDED)
    assert await lines_of(client, job_id) == [rows(3), tokens(0, 0)]


async def test_rows_never_go_back(
    client: TestClient[Any, Any], fake: Any, job_id: str
) -> None:
    """Not even where a restart counts anew."""
    fake.progress_now = JobProgress(rows=2)
    failed = replace(fake.job_now, state=JobState.FAILED)
    fake.steps = [(fake.job_now, JobProgress(rows=1)), (failed, JobProgress(rows=1))]
    assert await lines_of(client, job_id) == [rows(2), tokens(0, 0)]


async def test_the_stream_passes_proxies_as_it_is(
    client: TestClient[Any, Any], fake: Any, job_id: str
) -> None:
    """Neither collected nor compressed."""
    fake.ended(JobState.FAILED)
    response = await client.get(f"/v1/stream-job-progress/{job_id}")
    assert response.content_type == "application/x-ndjson"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert "Content-Encoding" not in response.headers


async def test_an_unknown_job_has_no_stream(client: TestClient[Any, Any]) -> None:
    """404 before the first line."""
    response = await client.get("/v1/stream-job-progress/job-2")
    assert response.status == 404
    assert (await response.json())["code"] == "job_not_found"


@pytest.mark.timeout(20)
async def test_a_server_that_stops_ends_its_streams(
    client: TestClient[Any, Any], job_id: str
) -> None:
    """In good order, and does not wait for the job."""
    response = await client.get(f"/v1/stream-job-progress/{job_id}")
    await response.content.readline()
    await client.server.close()
    assert await response.content.readline() == b"" or await response.read() == b""
