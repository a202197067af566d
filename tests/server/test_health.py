"""What whoever watches the server is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from sutro_stream.server.routing import application_of
from sutro_stream.settings.deployment import DeploymentSettings, ServerSettings

Client = TestClient[Any, Any]


@pytest.fixture
async def measured(fake: Any, settings: DeploymentSettings) -> AsyncIterator[Client]:
    """A client of a server that serves its metrics."""
    settings = replace(settings, server=ServerSettings(metrics=True))
    client: Client = TestClient(TestServer(application_of(fake, settings)))
    async with client:
        yield client


async def samples(client: Client) -> dict[tuple[str, ...], float]:
    """The metrics by name and values of labels."""
    text = await (await client.get("/metrics")).text()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_health_says_how_the_deployment_does(stranger: Client) -> None:
    """In numbers that belong to no account."""
    body = await (await stranger.get("/healthz")).json()
    assert body == {
        "status": "ok",
        "accepts_jobs": True,
        "jobs": {
            "QUEUED": 0,
            "STARTING": 0,
            "RUNNING": 2,
            "CANCELLING": 0,
            "SUCCEEDED": 0,
            "FAILED": 1,
            "CANCELLED": 0,
        },
        "models": {
            "m": {"engine": "open", "slots": 8, "limit": 6, "used": 5, "waiting": 40}
        },
        "loop_lag_ms": {"p50": 1.2, "p99": 30.0, "max": 250.0},
        "disk": {"free_bytes": 5 << 30, "floor_bytes": 1 << 30},
    }


async def test_a_full_disk_is_no_reason_to_be_restarted(
    stranger: Client, fake: Any
) -> None:
    """The server works; it says that it accepts nothing."""
    fake.free_bytes = 0
    response = await stranger.get("/healthz")
    assert (response.status, (await response.json())["accepts_jobs"]) == (200, False)


async def test_metrics_are_served_only_where_asked_for(stranger: Client) -> None:
    """They need no key, so the operator says."""
    assert (await stranger.get("/metrics")).status == 404


async def test_metrics_tell_what_the_deployment_has_done(
    measured: Client, fake: Any
) -> None:
    """Jobs, rows, tokens, slots and the event loop."""
    fake.activity.rows_answered = 70
    fake.activity.retries = 3
    fake.activity.requests.by_result["rate_limited"] = 4
    fake.activity.requests.input_tokens = 900
    found = await samples(measured)

    assert found["sutro_jobs", "RUNNING"] == 2
    assert found["sutro_jobs_ended_total", "FAILED"] == 1
    assert found["sutro_model_rows_total", "m", "answered"] == 70
    assert found["sutro_model_retries_total", "m"] == 3
    assert found["sutro_model_requests_total", "m", "rate_limited"] == 4
    assert found["sutro_model_tokens_total", "input", "m"] == 900
    assert found["sutro_model_slots_used", "m"] == 5
    assert found["sutro_model_waiting", "m"] == 40
    assert found["sutro_event_loop_lag_seconds", "0.99"] == 0.03
    assert found["sutro_disk_free_bytes",] == 5 << 30


async def test_requests_are_counted_by_route_and_status(
    measured: Client, job_id: str
) -> None:
    """Jobs have one route together, and refusals count."""
    for _ in range(2):
        await measured.get(f"/v1/jobs/{job_id}")
    found = await samples(measured)

    route = "/v1/jobs/{job_id}"
    assert found["sutro_http_requests_total", "GET", route, "401"] == 2
    assert found["sutro_http_request_seconds_count", route] == 2
    assert found["sutro_http_requests_in_progress", route] == 0
    assert found["sutro_http_requests_in_progress", "/metrics"] == 1


async def test_what_strangers_make_up_is_counted_together(measured: Client) -> None:
    """Else they could make as many series as they like."""
    await measured.get("/made/up")
    await measured.request("PROPFIND", "/also/made/up")
    found = await samples(measured)

    assert found["sutro_http_requests_total", "GET", "unknown", "404"] == 1
    assert found["sutro_http_requests_total", "other", "unknown", "404"] == 1


async def test_two_applications_count_apart(
    measured: Client, fake: Any, settings: DeploymentSettings
) -> None:
    """Nothing is kept for the whole process."""
    settings = replace(settings, server=ServerSettings(metrics=True))
    other: Client = TestClient(TestServer(application_of(fake, settings)))
    async with other:
        await other.get("/healthz")
    assert ("sutro_http_requests_total", "GET", "/healthz", "200") not in await samples(
        measured
    )


async def test_short_of_disk_space_nothing_is_taken(client: Client, fake: Any) -> None:
    """Before the body has come."""
    fake.free_bytes = (1 << 30) + 10
    response = await client.post("/v1/batch-inference", data=b"x" * 100)
    body = await response.json()
    assert (response.status, body["code"]) == (507, "insufficient_storage")
    assert fake.bodies == []


async def test_short_of_disk_space_no_file_is_taken(client: Client, fake: Any) -> None:
    """Uploads to datasets need space as well."""
    fake.free_bytes = 0
    response = await client.post("/v1/upload-to-dataset", data=b"x" * 100)
    assert response.status == 507
    assert fake.uploaded == {}


async def test_a_body_that_is_too_large_is_told_so(client: Client, fake: Any) -> None:
    """However little space there is, it would not have been taken."""
    fake.free_bytes = (1 << 30) + 5_000
    response = await client.post("/v1/batch-inference", data=b"x" * 100_000)
    assert response.status == 413
