"""The service in examples/ that has a deployment in it, in this process and alone."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import aiohttp
import anyio
from aiohttp.test_utils import TestClient, TestServer
from anyio.streams.buffered import BufferedByteReceiveStream

import sutro_stream as ss
from sutro_stream.jobs.database import Database
from sutro_stream.jobs.keys import KeyStore
from sutro_stream.server import DeploymentSettings
from sutro_stream.testing import ScriptedChatServer

ROOT = Path(ss.__file__).parents[1]
PROGRAM = ROOT / "examples" / "embedded_service.py"
EXAMPLE = runpy.run_path(str(PROGRAM))


def made_key(data: Path) -> dict[str, str]:
    """The header of a key made while the service runs."""
    with Database(data / "deployment.sqlite") as database:
        key, _ = KeyStore(database).create("alice")
    return {"Authorization": f"Key {key}"}


async def test_a_job_runs_inside_a_service_of_ones_own(tmp_path: Path) -> None:
    """Beside the service's own routes; both end with the application."""
    data, config = tmp_path / "data", tmp_path / "deployment.toml"
    async with ScriptedChatServer() as model:
        config.write_text(f"[models.m]\nendpoints = [{{url = '{model.base_url}'}}]")
        settings = DeploymentSettings.load(config, data_dir=data)
        async with TestClient(TestServer(EXAMPLE["service"](settings))) as client:
            welcome = await client.get("/")
            assert await welcome.json() == {"batch": "/batch/v1"}
            headers = made_key(data)
            body = {"inputs": ["Hello.", "Goodbye."]}
            accepted = await client.post(
                "/batch/v1/batch-inference", json=body, headers=headers
            )
            job_id = (await accepted.json())["results"]
            path = f"/batch/v1/stream-job-progress/{job_id}"
            async with client.get(path, headers=headers) as lines:
                await lines.read()
            found = await client.post(
                "/batch/v1/job-results", json={"job_id": job_id}, headers=headers
            )
            outputs = (await found.json())["results"]["outputs"]
            assert outputs == ["echo: Hello.", "echo: Goodbye."]


async def test_the_program_starts_and_stops(tmp_path: Path) -> None:
    """In good order on SIGTERM."""
    command = [sys.executable, "-u", str(PROGRAM), "--port", "0"]
    command += ["--data-dir", str(tmp_path)]
    async with await anyio.open_process(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=None
    ) as process:
        try:
            assert process.stdout is not None
            greeting = BufferedByteReceiveStream(process.stdout)
            await greeting.receive_until(b"http://", 1000)
            address = (await greeting.receive_until(b" ", 1000)).decode()
            async with aiohttp.ClientSession(f"http://{address}") as client:
                async with client.get("/batch/healthz") as response:
                    assert response.status == 200
                headers = made_key(tmp_path)
                async with client.get(
                    "/batch/v1/auth/check", headers=headers
                ) as response:
                    assert response.status == 200
        finally:
            process.terminate()
            with anyio.fail_after(20):
                assert await process.wait() == 0
