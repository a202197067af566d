"""Jobs of a deployment as spans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp.test_utils import TestClient, TestServer
from opentelemetry.trace import StatusCode

from sutro_stream.jobs.config import Quota, ServiceConfig
from sutro_stream.jobs.database import Database
from sutro_stream.jobs.folder import DataFolder
from sutro_stream.jobs.keys import KeyStore
from sutro_stream.jobs.service import open_service
from sutro_stream.jobs.store import JobTotals
from sutro_stream.jobs.traces import JobTraces
from sutro_stream.server.routing import application_of
from sutro_stream.settings.deployment import DeploymentSettings
from sutro_stream.testing import ScriptedChatServer
from sutro_stream.values.catalogue import Catalogue, Model
from sutro_stream.values.endpoint import Endpoint
from sutro_stream.values.job import JobState

SECRET_ROW = "a row that nobody must see"


async def run(folder: Path, tracing: Any, **body: Any) -> str:
    """Submit a job through the server in front of a deployment; its ID at its end."""
    data = DataFolder(folder)
    data.prepare()
    with Database(data.database) as database:
        key, _ = KeyStore(database).create("alice")
    async with ScriptedChatServer() as chat:
        endpoint = Endpoint(url=chat.base_url)
        config = ServiceConfig(
            data_dir=folder,
            catalogue=Catalogue(models={"m": Model(name="m", endpoints=(endpoint,))}),
            quotas={0: Quota(rows=10, tokens=1000), 1: Quota(rows=10, tokens=1000)},
            disk_floor_bytes=0,
        )
        async with open_service(config, tracing=tracing) as service:
            app = application_of(
                service, DeploymentSettings(service=config), tracing=tracing
            )
            headers = {"Authorization": f"Key {key}"}
            async with TestClient(TestServer(app), headers=headers) as client:
                answer = await client.post("/v1/batch-inference", json=body)
                job_id = str((await answer.json())["results"])
            with service.watch(job_id) as news:
                while not (await service.job("alice", job_id)).state.is_final:
                    await news.next(10)
    return job_id


async def test_a_job_is_a_span_that_goes_back_to_its_request(
    tmp_path: Path, collected: Any, noted: Any
) -> None:
    """Linked to it, and no part of it: the request has long been answered."""
    job_id = await run(tmp_path, collected.tracing, inputs=["a", "b"], model="m")

    request, job = collected.one("POST /v1/batch-inference"), collected.one("job")
    assert job.parent is None
    assert [link.context.span_id for link in job.links] == [request.context.span_id]
    assert noted(request)["sutro.job_id"] == job_id
    known = noted(job)
    assert known.pop("sutro.job.input_tokens") > 0
    assert known.pop("sutro.job.output_tokens") > 0
    assert known == {
        "sutro.job_id": job_id,
        "sutro.account": "alice",
        "sutro.model": "m",
        "sutro.job.priority": 0,
        "sutro.job.run_type": "FULL",
        "sutro.job.state": "SUCCEEDED",
        "sutro.job.rows": 2,
        "sutro.job.failed_rows": 0,
    }


async def test_below_a_job_are_its_preparation_and_its_rows(
    tmp_path: Path, collected: Any, noted: Any
) -> None:
    """Not each row, nor anything that stands in one."""
    await run(tmp_path, collected.tracing, inputs=[SECRET_ROW] * 7, model="m")

    job = collected.one("job")
    below = [s for s in collected.spans if s.parent == job.context]
    assert [span.name for span in below] == ["job.prepare", "job.rows"]
    assert noted(below[1]) == {"sutro.job.rows": 7}
    assert SECRET_ROW not in "".join(span.to_json() for span in collected.spans)


async def test_a_job_that_fails_says_why(tmp_path: Path, collected: Any) -> None:
    """In the words that its owner gets."""
    missing = "http://127.0.0.1:1/rows.csv"
    await run(tmp_path, collected.tracing, inputs=missing, model="m", job_priority=1)
    job = collected.one("job")
    assert job.status.status_code is StatusCode.ERROR
    assert "127.0.0.1" in job.status.description


@pytest.mark.parametrize(("seconds", "most"), [(4, 1), (3_600, 50), (864_000, 110)])
def test_a_job_has_few_spans_however_long_it_takes(
    collected: Any, noted: Any, seconds: int, most: int
) -> None:
    """And these say how many rows were done when."""
    now = 0.0
    traces = JobTraces(collected.tracing, clock=lambda: now)
    with traces.working("job-1") as trace:
        trace.running()
        for rows in range(0, seconds, max(1, seconds // 100_000)):
            now = float(rows)
            trace.progress(rows)
        trace.ended(JobState.SUCCEEDED, JobTotals(rows=seconds), None)
    stretches = collected.named("job.rows")
    assert 1 <= len(stretches) <= most
    assert sum(noted(span)["sutro.job.rows"] for span in stretches) == seconds


async def test_a_job_that_is_withdrawn_leaves_nothing_behind(collected: Any) -> None:
    """However many are."""
    traces = JobTraces(collected.tracing)
    with collected.tracing.span("request"):
        traces.submitted("job-1")
    traces.withdrawn("job-1")
    with traces.working("job-1"):
        await anyio.lowlevel.checkpoint()
    assert list(collected.one("job").links) == []
