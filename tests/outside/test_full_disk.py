"""A disk that is full when something is half received."""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from anyio.from_thread import BlockingPortal

from sutro_stream.testing import ScriptedChatServer
from sutro_stream.testing.deployment import (
    DeploymentProcess,
    create_key,
    deployment_process,
)

if sys.platform != "linux":
    pytest.skip("only Linux lets one limit another process", allow_module_level=True)

import resource

CONFIG = """
[limits]
disk_floor_bytes = 0

[models.m]
endpoints = [{{ url = "{chat}" }}]
"""
# Of each file: as the system says no to the next byte, whoever writes it.
SPACE_BYTES = 1 << 20


class Deployment:
    """A deployment without much space, and its only client."""

    def __init__(
        self, process: DeploymentProcess, folder: Path, session: aiohttp.ClientSession
    ) -> None:
        self.folder = folder
        self._process = process
        self._session = session

    def limit(self, size_bytes: int) -> None:
        """Give it so much space."""
        _, hard = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (size_bytes, hard))

    async def ask(self, method: str, path: str, **body: Any) -> tuple[int, Any]:
        """The status and the body of an answer."""
        url = f"{self._process.url}/v1{path}"
        async with self._session.request(method, url, **body) as response:
            return response.status, await response.json()

    @property
    def files(self) -> set[Path]:
        """What was received."""
        places = self.folder / "uploads", self.folder / "datasets"
        return {path for place in places for path in place.rglob("*")}

    async def job_ids(self) -> list[str]:
        """Of all jobs."""
        _, listed = await self.ask("GET", "/list-jobs")
        return [job["job_id"] for job in listed["jobs"]]


@pytest.fixture(scope="module")
def process(
    portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[DeploymentProcess, Path, str]]:
    """A deployment, its folder and a key."""
    folder = tmp_path_factory.mktemp("full") / "data"
    key = create_key(folder, "alice")
    with ExitStack() as stack:

        def enter(context: Any) -> Any:
            return stack.enter_context(portal.wrap_async_context_manager(context))

        chat = enter(ScriptedChatServer())
        config = folder.parent / "deployment.toml"
        config.write_text(CONFIG.format(chat=chat.base_url))
        yield enter(deployment_process(folder, config=config)), folder, key


@pytest.fixture
async def deployment(
    process: tuple[DeploymentProcess, Path, str],
) -> AsyncIterator[Deployment]:
    """With a limit on the size of its files."""
    running, folder, key = process
    headers = {"Authorization": f"Key {key}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        there = Deployment(running, folder, session)
        there.limit(SPACE_BYTES)
        yield there
        there.limit(resource.RLIM_INFINITY)


def rows(size_bytes: int) -> bytes:
    """A submission."""
    return orjson.dumps({"model": "m", "inputs": ["x" * 1000] * (size_bytes // 1000)})


async def test_a_body_for_which_there_is_no_space(deployment: Deployment) -> None:
    """It is refused as one that nobody begins to receive, and nothing of it stays."""
    before = deployment.files, await deployment.job_ids()
    body = io.BytesIO(rows(8 * SPACE_BYTES))
    status, answer = await deployment.ask("POST", "/batch-inference", data=body)
    assert (status, answer["code"]) == (507, "insufficient_storage")
    assert "disk space" in answer["detail"]
    assert (deployment.files, await deployment.job_ids()) == before


async def test_a_submission_with_a_key_may_be_sent_again(
    deployment: Deployment,
) -> None:
    """Once there is space, it is the same one."""
    key = "a1b2c3d4-0000-4000-8000-000000000000"
    headers = {"Idempotency-Key": key}
    for size_bytes, wanted in ((SPACE_BYTES, 507), (resource.RLIM_INFINITY, 200)):
        deployment.limit(size_bytes)
        status, _ = await deployment.ask(
            "POST",
            "/batch-inference",
            data=io.BytesIO(rows(900_000) + b" " * SPACE_BYTES),
            headers=headers,
        )
        assert status == wanted


async def test_a_file_for_which_there_is_no_space(deployment: Deployment) -> None:
    """No part of it is in the dataset, or anywhere."""
    _, made = await deployment.ask("GET", "/create-dataset")
    before = deployment.files
    sink = pa.BufferOutputStream()
    table = pa.table({"text": [f"{at}" * 100 for at in range(20_000)]})
    pq.write_table(table, sink, compression="none", use_dictionary=False)
    form = aiohttp.FormData()
    form.add_field("dataset_id", made["dataset_id"])
    file = io.BytesIO(sink.getvalue())
    form.add_field("file", file, filename="rows.parquet")
    status, answer = await deployment.ask("POST", "/upload-to-dataset", data=form)
    assert (status, answer["code"]) == (507, "insufficient_storage")
    assert deployment.files == before
    _, listed = await deployment.ask(
        "POST", "/list-dataset-files", json={"dataset_id": made["dataset_id"]}
    )
    assert listed["files"] == []
