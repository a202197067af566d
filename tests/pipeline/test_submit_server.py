"""Rows through our own deployment: a job there is the same pipeline."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestServer

import sutro_stream as ss
from sutro_stream.functions.registry import FunctionRegistry
from sutro_stream.jobs.config import ServiceConfig
from sutro_stream.jobs.database import Database
from sutro_stream.jobs.folder import DataFolder
from sutro_stream.jobs.keys import KeyStore
from sutro_stream.server.app import create_app
from sutro_stream.settings.deployment import DeploymentSettings
from sutro_stream.testing import ScriptedChatServer
from sutro_stream.values.catalogue import Catalogue, Model
from sutro_stream.values.endpoint import Endpoint

FUNCTION = {
    "name": "lead-qualifier",
    "model": "m",
    "inputs": [{"name": "query"}, {"name": "region", "required": False}],
    "prompt_template": "{{ query }} in {{ region }}",
}


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[ss.Deployment]:
    """A client of a deployment on a scripted endpoint."""
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    with Database(folder.database) as database:
        key, _ = KeyStore(database).create("alice")
    FunctionRegistry(tmp_path / "data" / "functions").publish("alice", FUNCTION)
    async with ScriptedChatServer() as models:
        model = Model(name="m", endpoints=(Endpoint(url=models.base_url),))
        config = ServiceConfig(
            data_dir=tmp_path / "data", catalogue=Catalogue(models={"m": model})
        )
        settings = DeploymentSettings(service=config)
        async with (
            TestServer(create_app(settings)) as server,
            ss.Deployment(str(server.make_url("/")), key) as client,
        ):
            yield client


async def test_rows_of_a_function(deployment: ss.Deployment) -> None:
    """Rendered there, answered, and back in their places."""
    rows = [{"query": f"q{n}", "region": "eu", "note": n} for n in range(50)]
    submit = ss.submit(deployment, "lead-qualifier", batch_rows=20)
    async with (ss.from_rows(rows) | submit).open() as results:
        found = [(result.row["note"], result.output) async for result in results]
    assert found == [(n, f"echo: q{n} in eu") for n in range(50)]


async def test_prompts_rendered_here(deployment: ss.Deployment) -> None:
    """And sent to the Function as they are."""
    function = ss.Function.validate(json.loads(json.dumps(FUNCTION)))
    submit = ss.submit(deployment, "lead-qualifier", send_instructions=False)
    rows = ss.from_rows([{"query": "q", "region": "eu"}])
    async with (rows | ss.render(function) | submit).open() as results:
        outputs = [result.output async for result in results]
    assert outputs == ["echo: q in eu"]


async def test_large_results(deployment: ss.Deployment) -> None:
    """By way of the link."""
    rows = [f"t{n}" for n in range(2500)]
    submit = ss.submit(deployment, "m", batch_rows=2500)
    async with (ss.from_rows(rows) | ss.prompts() | submit).open() as results:
        outputs = [result.output async for result in results]
        assert results.statistics().input_tokens > 0
    assert outputs == [f"echo: {row}" for row in rows]


async def test_leaving_cancels_there(deployment: ss.Deployment) -> None:
    """The job's state says so."""
    rows = [f"t{n}" for n in range(5000)]
    submit = ss.submit(deployment, "m", batch_rows=5000)
    async with (ss.from_rows(rows) | ss.prompts() | submit).open():
        jobs: list[ss.JobInfo] = []
        while not jobs:
            jobs = list((await deployment.jobs())[0])
    ended = await deployment.wait(jobs[0].job_id, poll_s=0.1)
    assert ended.state is ss.JobState.CANCELLED


async def test_wrong_instructions_end_the_run(deployment: ss.Deployment) -> None:
    """With the deployment's own words."""
    prompts = ss.prompts(system_prompt="Be brief.")
    submit = ss.submit(deployment, "lead-qualifier")
    with pytest.raises(ss.ServiceError, match="system_prompt"):
        async with (ss.from_rows(["a"]) | prompts | submit).open() as results:
            await anext(results)


async def test_a_required_field_that_is_missing(deployment: ss.Deployment) -> None:
    """So does the first job, before anything is paid for."""
    submit = ss.submit(deployment, "lead-qualifier")
    with pytest.raises(ss.ServiceError, match="query"):
        async with (ss.from_rows([{"q": 1}]) | submit).open() as results:
            await anext(results)


async def test_the_rest_of_the_client(deployment: ss.Deployment) -> None:
    """A Function's answer, quotas, pages of jobs."""
    answer = await deployment.run_function(
        "lead-qualifier", {"query": "q", "region": "eu"}, confidence_scoring=False
    )
    assert answer["output"] == "echo: q in eu"
    assert [quota.priority for quota in await deployment.quotas()] == [0, 1]
    first = await deployment.submit(["a"], ss.Submission(model="m"))
    second = await deployment.submit(["b"], ss.Submission(model="m"))
    await deployment.wait(second)
    (newest,), cursor = await deployment.jobs(limit=1)
    (older,), _ = await deployment.jobs(limit=1, cursor=cursor)
    assert (newest.job_id, older.job_id) == (second, first)
