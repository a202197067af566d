"""Looking at jobs, and cancelling them."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import hdrs
from aiohttp.test_utils import TestClient

from sutro_stream.values.job import JobState


async def test_status_is_an_object_by_the_jobs_id(
    client: TestClient[Any, Any], job_id: str
) -> None:
    """As the SDK looks it up."""
    body = await (await client.get(f"/v1/job-status/{job_id}")).json()
    assert body["job_status"] == {job_id: "QUEUED"}


async def test_a_failed_job_says_why(
    client: TestClient[Any, Any], fake: Any, job_id: str
) -> None:
    """In its status and in itself."""
    fake.ended(JobState.FAILED, failure="no column 'x'")
    status = await (await client.get(f"/v1/job-status/{job_id}")).json()
    job = (await (await client.get(f"/v1/jobs/{job_id}")).json())["job"]
    assert status["metadata"]["failure_reason"]["message"] == "no column 'x'"
    assert job["failure_reason"]["message"] == "no column 'x'"


@pytest.mark.parametrize("path", ["/v1/job-status/{}", "/v1/jobs/{}"])
async def test_lookups_are_never_compressed(
    client: TestClient[Any, Any], fake: Any, job_id: str, path: str
) -> None:
    """Whatever is accepted: the SDK fails on a coding here."""
    fake.ended(JobState.FAILED, failure="x" * 10_000)
    response = await client.get(
        path.format(job_id), headers={hdrs.ACCEPT_ENCODING: "gzip"}
    )
    assert hdrs.CONTENT_ENCODING not in response.headers


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate", "gzip"),
        ("GZIP;q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("gzip; q=0.000", None),
        ("identity", None),
        ("deflate", None),
    ],
)
async def test_long_lists_are_compressed_for_those_who_take_it(
    client: TestClient[Any, Any], accepted: str, coding: str | None
) -> None:
    """And for nobody else."""
    response = await client.get("/list-jobs", headers={hdrs.ACCEPT_ENCODING: accepted})
    assert response.headers.get(hdrs.CONTENT_ENCODING) == coding
    assert len((await response.json())["jobs"]) == 100


async def test_jobs_come_in_pages_to_those_who_ask(
    client: TestClient[Any, Any], fake: Any, job_id: str
) -> None:
    """The cursor of a page leads to the next."""
    first = await (await client.get("/v1/list-jobs?limit=1")).json()
    cursor = first["next_cursor"]
    second = await (await client.get(f"/v1/list-jobs?limit=1&cursor={cursor}")).json()
    assert [job["job_id"] for job in first["jobs"]] == [job_id]
    assert (second["jobs"], second["next_cursor"]) == ([], None)
    assert fake.pages[1][1].job_id == job_id


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "limit=1&cursor=!"]
)
async def test_an_impossible_page_is_refused(
    client: TestClient[Any, Any], query: str
) -> None:
    """With 422."""
    assert (await client.get(f"/v1/list-jobs?{query}")).status == 422


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_job_is_cancelled(
    client: TestClient[Any, Any], job_id: str, method: str
) -> None:
    """By either method; nobody keeps the answer."""
    response = await client.request(method, f"/v1/job-cancel/{job_id}")
    assert (await response.json())["cancelled"] is True
    assert response.headers[hdrs.CACHE_CONTROL] == "no-store"


async def test_a_job_that_has_ended_is_not_cancelled(
    client: TestClient[Any, Any], fake: Any, job_id: str
) -> None:
    """And says how it ended."""
    fake.ended(JobState.SUCCEEDED)
    fake.accepts = False
    body = await (await client.get(f"/v1/job-cancel/{job_id}")).json()
    assert body == {"cancelled": False, "message": "Job is already SUCCEEDED"}
