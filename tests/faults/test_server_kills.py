"""A deployment killed at any moment loses no job and pays for nothing twice."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import anyio
import anyio.to_thread
import polars as pl
import pytest

from sutro_stream.testing import (
    ChatServerStatistics,
    Hang,
    Reply,
    ScriptedChatServer,
    Uniform,
    always,
    echo,
    with_latency,
)
from sutro_stream.testing.deployment import (
    DeploymentProcess,
    create_key,
    deployment_process,
)

CONCURRENCY = 64
CONFIG = """
[models.scripted]
endpoints = [{{ url = "{url}" }}]
concurrency = {concurrency}

[quotas.0]
rows = 100_000
tokens = 100_000_000
"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a deployment is tormented."""

    rows: int
    kills: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Home:
    """What outlives each server: its folder, its key, its models."""

    data_dir: Path
    config: Path
    key: str
    models: ScriptedChatServer

    @asynccontextmanager
    async def served(self) -> AsyncGenerator[tuple[DeploymentProcess, Client]]:
        """The deployment, started once more."""
        headers = {"Authorization": f"Key {self.key}"}
        async with (
            deployment_process(self.data_dir, config=self.config) as server,
            aiohttp.ClientSession(server.url, headers=headers) as session,
        ):
            yield server, Client(session)

    async def killed_while_starting(self, *, pause_s: float) -> None:
        """Start the deployment and kill it after so long, ready or not."""
        command = [
            *(sys.executable, "-m", "sutro_stream", "serve", "--port=0"),
            *(f"--data-dir={self.data_dir}", f"--config={self.config}"),
        ]
        async with await anyio.open_process(command, stderr=None) as process:
            await anyio.sleep(pause_s)
            process.kill()
        await self.left()

    async def left(self) -> None:
        """Wait until the models know that their client is gone."""
        await self.models.wait_until(lambda seen: seen.connections_open == 0)


class Client:
    """The few calls that these tests need."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def submit(self, rows: int, **headers: str) -> str:
        """A job of so many distinct rows."""
        body = {"model": "scripted", "inputs": [f"text {n}" for n in range(rows)]}
        async with self._session.post(
            "/v1/batch-inference", json=body, headers=headers
        ) as response:
            assert response.status == 200, await response.text()
            return str((await response.json())["results"])

    async def get(self, path: str) -> Any:
        """The JSON at a path."""
        async with self._session.get(f"/v1/{path}") as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def finished(self, job_id: str) -> str:
        """The job's last status; its progress ends when it does."""
        async with self._session.get(f"/v1/stream-job-progress/{job_id}") as response:
            assert response.status == 200
            await response.read()
        return await self.status(job_id)

    async def status(self, job_id: str) -> str:
        """The job's status."""
        return str((await self.get(f"job-status/{job_id}"))["job_status"][job_id])

    async def results(self, job_id: str) -> pl.DataFrame:
        """The job's results, as Parquet."""
        path = f"/v1/jobs/{job_id}/results?format=parquet&include_inputs=true"
        async with self._session.get(path) as response:
            assert response.status == 200, await response.text()
            return pl.read_parquet(BytesIO(await response.read()))


@asynccontextmanager
async def at_home(folder: Path, models: ScriptedChatServer) -> AsyncGenerator[Home]:
    """A folder with a configuration and a key."""
    config = folder / "deployment.toml"
    data_dir = folder / "data"
    key = await anyio.to_thread.run_sync(partial(create_key, data_dir, "alice"))
    async with models:
        config.write_text(CONFIG.format(url=models.base_url, concurrency=CONCURRENCY))
        yield Home(data_dir=data_dir, config=config, key=key, models=models)


def has_seen(requests: int, seen: ChatServerStatistics) -> bool:
    """Whether so many requests have arrived."""
    return seen.requests >= requests


def expected(rows: int) -> pl.DataFrame:
    """The results of a job that nobody disturbs."""
    texts = [f"text {n}" for n in range(rows)]
    return pl.DataFrame({"inputs": texts, "outputs": [f"echo: {t}" for t in texts]})


async def killed_after(
    home: Home, job_id: str, requests: int, *, pause_s: float
) -> bool:
    """Start the deployment and kill it at so many requests; whether it got there."""
    async with home.served() as (server, client):
        ended = False
        async with anyio.create_task_group() as tasks:

            async def end() -> None:
                nonlocal ended
                assert await client.finished(job_id) == "SUCCEEDED"
                ended = True
                tasks.cancel_scope.cancel()

            tasks.start_soon(end)
            await home.models.wait_until(lambda seen: seen.requests >= requests)
            await anyio.sleep(pause_s)
            tasks.cancel_scope.cancel()
        await server.kill()
    await home.left()
    return not ended


async def torment(folder: Path, plan: Plan) -> None:
    """Kill a deployment again and again, let its job end, and look at what it made."""
    rng = random.Random(plan.seed)
    script = with_latency(echo(), Uniform(low_s=0.005, high_s=0.05), seed=plan.seed)
    async with at_home(folder, ScriptedChatServer(script)) as home:
        async with home.served() as (server, client):
            job_id = await client.submit(plan.rows)
            await server.kill()
        await home.left()
        for number in range(plan.kills):
            if rng.random() < 0.2:
                await home.killed_while_starting(pause_s=rng.uniform(0, 2))
                continue
            seen = home.models.statistics().requests
            share = (plan.rows - seen) // (plan.kills - number)
            after = seen + rng.randint(0, max(0, share))
            await killed_after(home, job_id, after, pause_s=rng.uniform(0, 0.05))
        async with home.served() as (_, client):
            assert await client.finished(job_id) == "SUCCEEDED"
            results = await client.results(job_id)
        requests = home.models.statistics().requests
    assert results.equals(expected(plan.rows))
    # One kill more: the one right after the job was accepted.
    assert plan.rows <= requests <= plan.rows + (plan.kills + 1) * CONCURRENCY


@pytest.mark.timeout(120)
async def test_three_kills(tmp_path: Path) -> None:
    """Each at a random moment of a job of 1,000 rows."""
    await torment(tmp_path, Plan(rows=1000, kills=3, seed=1))


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(2))
async def test_twenty_kills(tmp_path: Path, seed: int) -> None:
    """Each at a random moment of a job of 5,000 rows."""
    await torment(tmp_path, Plan(rows=5000, kills=20, seed=seed))


@pytest.mark.timeout(120)
async def test_kills_while_a_job_is_finished(tmp_path: Path) -> None:
    """When every row is answered and the results are being written."""
    rows, pauses_s = 300, (0.0, 0.02, 0.1)
    job_ids: list[str] = []
    async with at_home(tmp_path, ScriptedChatServer()) as home:
        for number, pause_s in enumerate(pauses_s):
            async with home.served() as (server, client):
                for job_id in job_ids:
                    assert await client.finished(job_id) == "SUCCEEDED"
                seen = home.models.statistics().requests
                assert seen <= number * (rows + CONCURRENCY)
                job_ids.append(await client.submit(rows))
                await home.models.wait_until(partial(has_seen, seen + rows))
                await anyio.sleep(pause_s)
                await server.kill()
            await home.left()
        async with home.served() as (_, client):
            for job_id in job_ids:
                assert await client.finished(job_id) == "SUCCEEDED"
                assert (await client.results(job_id)).equals(expected(rows))


@pytest.mark.timeout(120)
async def test_sigterm_keeps_what_is_answered(tmp_path: Path) -> None:
    """The server ends by itself, and the next one goes on."""
    rows = 1000
    script = with_latency(echo(), Uniform(low_s=0.02, high_s=0.1), seed=0)
    async with at_home(tmp_path, ScriptedChatServer(script)) as home:
        async with home.served() as (server, client):
            job_id = await client.submit(rows)
            await home.models.wait_until(lambda seen: seen.answered >= 200)
            with anyio.fail_after(15):
                assert await server.stop() == 0
        await home.left()
        async with home.served() as (_, client):
            assert await client.finished(job_id) == "SUCCEEDED"
            assert (await client.results(job_id)).equals(expected(rows))
        assert home.models.statistics().requests <= rows + CONCURRENCY


@pytest.mark.timeout(120)
async def test_a_cancelled_job_stays_cancelled(tmp_path: Path) -> None:
    """Though the server is killed right after it was told."""
    models = ScriptedChatServer(always(Reply(fault=Hang())))
    async with at_home(tmp_path, models) as home:
        async with home.served() as (server, client):
            job_id = await client.submit(10)
            await home.models.wait_until(lambda seen: seen.in_flight == 10)
            assert (await client.get(f"job-cancel/{job_id}"))["cancelled"] is True
            await server.kill()
        await home.left()
        async with home.served() as (_, client):
            with anyio.fail_after(30):
                assert await client.finished(job_id) == "CANCELLED"
        assert home.models.statistics().requests == 10


@pytest.mark.timeout(120)
async def test_a_submission_cut_short_can_be_sent_again(tmp_path: Path) -> None:
    """With its key it is one job, whether the server had accepted it or not."""
    rng = random.Random(0)
    async with at_home(tmp_path, ScriptedChatServer()) as home:
        keys = [str(UUID(int=rng.getrandbits(128), version=4)) for _ in range(2)]
        for key in keys:
            async with home.served() as (server, client):
                with anyio.move_on_after(rng.uniform(0.0, 0.05)):
                    await client.submit(500, **{"Idempotency-Key": key})
                await server.kill()
        async with home.served() as (_, client):
            job_ids = [
                await client.submit(500, **{"Idempotency-Key": key}) for key in keys
            ]
            listed = {job["job_id"] for job in (await client.get("list-jobs"))["jobs"]}
            assert listed == set(job_ids)
            for job_id in job_ids:
                assert await client.finished(job_id) == "SUCCEEDED"
                assert (await client.results(job_id)).equals(expected(500))
