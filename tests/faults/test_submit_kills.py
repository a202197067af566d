"""Rows through a deployment: either side is killed, nothing is lost or done twice."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import PIPE
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import polars as pl
import pytest
from anyio.abc import TaskStatus

from sutro_stream.testing import (
    ScriptedChatServer,
    Uniform,
    echo,
    with_latency,
)
from sutro_stream.testing.deployment import create_key, deployment_process

CONCURRENCY = 32
CONFIG = """
[models.scripted]
endpoints = [{{ url = "{url}" }}]
concurrency = {concurrency}
"""
CLIENT = """
import sys, anyio
import sutro_stream as ss
url, key, source, out = sys.argv[1:]
async def main():
    async with ss.Deployment(url, key) as deployment:
        submit = ss.submit(deployment, "scripted", batch_rows=50, poll_s=0.5)
        rows = ss.read_csv(source) | ss.prompts("text") | submit
        report = await (rows | ss.write_parquet(out)).run()
        print(report.rows, report.rows_failed)
anyio.run(main)
"""


@dataclass(frozen=True, kw_only=True)
class Client:
    """A run in a process of its own, started as often as it is killed."""

    key: str
    source: Path
    out: Path

    async def run(self, url: str) -> bytes:
        """Run to the end; what it prints."""
        command = [sys.executable, "-c", CLIENT, url, self.key]
        files = [str(self.source), str(self.out)]
        ended = await anyio.run_process([*command, *files], stderr=None)
        return ended.stdout.strip()

    @asynccontextmanager
    async def killed(self, url: str) -> AsyncGenerator[None]:
        """A run that is killed where the block ends."""
        command = [sys.executable, "-c", CLIENT, url, self.key]
        files = [str(self.source), str(self.out)]
        async with await anyio.open_process(
            [*command, *files], stdout=PIPE, stderr=None
        ) as process:
            try:
                yield
            finally:
                process.kill()


@dataclass(frozen=True, kw_only=True)
class Home:
    """What outlives each server and each client."""

    data_dir: Path
    config: Path
    models: ScriptedChatServer
    client: Client


@asynccontextmanager
async def at_home(folder: Path, rows: int) -> AsyncGenerator[Home]:
    """A folder with a configuration, a key and an input."""
    config, source = folder / "deployment.toml", folder / "input.csv"
    source.write_text("\n".join(["text", *(f"t{n}" for n in range(rows))]) + "\n")
    data_dir = folder / "data"
    key = await anyio.to_thread.run_sync(partial(create_key, data_dir, "alice"))
    script = with_latency(echo(), Uniform(low_s=0.02, high_s=0.1), seed=1)
    async with ScriptedChatServer(script) as models:
        config.write_text(CONFIG.format(url=models.base_url, concurrency=CONCURRENCY))
        client = Client(key=key, source=source, out=folder / "out.parquet")
        yield Home(data_dir=data_dir, config=config, models=models, client=client)


def check(home: Home, rows: int) -> None:
    """Every row has its own answer."""
    outputs = pl.read_parquet(home.client.out)["output"].to_list()
    assert outputs == [f"echo: t{n}" for n in range(rows)]


@pytest.mark.timeout(180)
async def test_a_client_that_is_killed(tmp_path: Path) -> None:
    """Its jobs go on; the next client fetches them, and pays for nothing twice."""
    rows = 1000
    async with at_home(tmp_path, rows) as home:
        serving = deployment_process(home.data_dir, config=home.config)
        async with serving as server:
            for share in (0.1, 0.4, 0.7):
                async with home.client.killed(server.url):
                    await home.models.wait_until(
                        lambda seen, share=share: seen.requests >= share * rows  # type: ignore[misc]
                    )
            assert await home.client.run(server.url) == b"1000 0"
        check(home, rows)
        assert home.models.statistics().requests == rows


@pytest.mark.timeout(180)
async def test_a_server_that_is_killed(tmp_path: Path) -> None:
    """The client waits for it to come back, and goes on."""
    rows = 1000
    async with at_home(tmp_path, rows) as home:
        serving = partial(deployment_process, home.data_dir, config=home.config)

        async def serve_twice(*, task_status: TaskStatus[str]) -> None:
            async with serving() as server:
                url = server.url
                task_status.started(url)
                await home.models.wait_until(lambda seen: seen.requests >= 300)
                await server.kill()
            async with serving(port=urlsplit(url).port or 0):
                await anyio.sleep_forever()

        async with anyio.create_task_group() as tasks:
            url = await tasks.start(serve_twice)
            assert await home.client.run(url) == b"1000 0"
            tasks.cancel_scope.cancel()
        check(home, rows)
        requests = home.models.statistics().requests
        assert rows <= requests <= rows + CONCURRENCY
