"""The page about submitting, and the dashboard in examples/."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pyarrow.parquet as pq
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from pyarrow import csv

import sutro_stream as ss
from sutro_stream.testing import ScriptedChatServer
from sutro_stream.testing.deployment import (
    create_key,
    deployment_process,
    publish_function,
)
from sutro_stream.testing.scripted_deployment import (
    KEY,
    Fault,
    ScriptedDeployment,
)

ROOT = Path(ss.__file__).parents[1]
EXAMPLES = ROOT / "examples"
PAGE = ROOT / "docs" / "submitting.md"
README = ROOT / "README.md"
CONFIG = """
[models.gpt-oss-20b]
endpoints = [{{ url = "{url}" }}]
"""


def programs(page: Path = PAGE) -> Iterator[str]:
    """The Python programs of a page."""
    yield from re.findall(r"(?ms)^```python\n(.*?)^```", page.read_text())


@asynccontextmanager
async def qualifying(folder: Path) -> AsyncIterator[dict[str, str]]:
    """A deployment that has `lead-qualifier`; the variables that lead to it."""
    data_dir, spec = folder / "data", EXAMPLES / "lead-qualifier.json"
    function = json.loads(spec.read_text()) | {"model": "gpt-oss-20b"}
    published = folder / "lead-qualifier.json"
    published.write_text(json.dumps(function))
    key = await anyio.to_thread.run_sync(create_key, data_dir, "alice")
    publish = partial(publish_function, data_dir, "alice", published)
    await anyio.to_thread.run_sync(publish)
    async with ScriptedChatServer() as models:
        config = folder / "deployment.toml"
        config.write_text(CONFIG.format(url=models.base_url))
        async with deployment_process(data_dir, config=config) as server:
            yield {"SUTRO_API_URL": server.url, "SUTRO_API_KEY": key}


@pytest.mark.timeout(120)
async def test_the_programs_of_the_page_run_as_they_stand(tmp_path: Path) -> None:
    """They print every lead with its answer."""
    (tmp_path / "examples").symlink_to(EXAMPLES)
    async with qualifying(tmp_path) as variables:
        for program in programs():
            done = await anyio.run_process(
                [sys.executable, "-c", program],
                cwd=tmp_path,
                env=variables,
                stderr=None,
            )
            # Some answers have several lines.
            numbers = re.findall(r"(?m)^(\d+) ", done.stdout.decode())
            assert numbers[:12] == [str(number) for number in range(12)]
    assert (tmp_path / "qualified.parquet").exists()


async def test_the_part_of_the_readme_about_it_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another address, a key, and some leads."""
    (part,) = [text for text in programs(README) if "ss.submit(" in text]
    leads = csv.read_csv(EXAMPLES / "leads.csv")
    pq.write_table(leads, tmp_path / "leads.parquet")
    async with qualifying(tmp_path) as variables:
        shown = "http://127.0.0.1:8642"
        assert part.count(shown) == 1
        lines = part.replace(shown, variables["SUTRO_API_URL"]).splitlines()
        program = "\n    ".join(["async def main():", *lines, "return report"])
        names: dict[str, Any] = {"ss": ss, "key": variables["SUTRO_API_KEY"]}
        exec(program, names)  # noqa: S102 - what it does is the question
        monkeypatch.chdir(tmp_path)
        report = await names["main"]()
    assert report.rows_answered == leads.num_rows
    assert pq.read_metadata(tmp_path / "qualified.parquet").num_rows == leads.num_rows


@asynccontextmanager
async def dashboard(
    server: ScriptedDeployment, rows: int
) -> AsyncIterator[TestClient[Any, Any]]:
    """A browser at the dashboard."""
    example = runpy.run_path(str(EXAMPLES / "submit_dashboard.py"))
    deployment = ss.Deployment(server.url, KEY)
    submit = ss.submit(deployment, "m", batch_rows=10, ordered=False)
    texts = [f"t{number}" for number in range(rows)]
    app = example["create_app"](deployment, ss.from_rows(texts) | ss.prompts() | submit)
    service = TestServer(app, handler_cancellation=True)
    async with TestClient(service) as client:
        yield client


async def events(response: ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """Names and values of the events of a stream."""
    name = ""
    async for line in response.content:
        field, _, value = line.decode().strip().partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


async def test_the_dashboard_tells_of_every_answer() -> None:
    """And of the end."""
    async with ScriptedDeployment() as server, dashboard(server, 35) as client:
        assert "<title>" in await (await client.get("/")).text()
        found = [event async for event in events(await client.get("/events"))]
    answers = [value for name, value in found if name == "answer"]
    assert sorted(answer["index"] for answer in answers) == list(range(35))
    assert all(a["output"] == f"echo: t{a['index']}" for a in answers)
    assert found[-1] == ("end", {"reason": "complete"})
    last = [value for name, value in found if name == "counts"][-1]
    assert (last["answered"], last["jobs"]) == (35, 0)


async def test_leaving_the_dashboard_cancels_its_jobs() -> None:
    """At once."""
    async with (
        ScriptedDeployment(is_holding=True) as server,
        dashboard(server, 35) as client,
    ):
        response = await client.get("/events")
        await server.wait_until(lambda seen: len(seen.running()) == 4)
        response.close()
        await server.wait_until(lambda seen: not seen.running())
    assert {job.status for job in server.jobs.values()} == {"CANCELLED"}


async def test_a_dashboard_whose_deployment_refuses() -> None:
    """Says so, and keeps the reason to itself."""
    async with ScriptedDeployment() as server, dashboard(server, 5) as client:
        server.fail("submit", Fault(status=401))
        found = [event async for event in events(await client.get("/events"))]
    name, value = found[-1]
    assert (name, "log" in value["reason"]) == ("end", True)
