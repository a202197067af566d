"""A deployment in a process of its own."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

import sutro_stream as ss
from sutro_stream.errors import EngineUnavailableError
from sutro_stream.testing.deployment import create_key, deployment_process


async def test_it_serves_who_has_a_key(tmp_path: Path) -> None:
    """Until it is asked to stop."""
    key = create_key(tmp_path, "alice")
    async with (
        deployment_process(tmp_path) as server,
        aiohttp.ClientSession(server.url) as session,
    ):
        for sent, status in ((f"Key {key}", 200), ("Key wrong", 401)):
            headers = {"Authorization": sent}
            async with session.get("/v1/auth/check", headers=headers) as response:
                assert response.status == status
        assert await server.stop() == 0


async def test_a_deployment_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    """Instead of being waited for."""
    config = tmp_path / "deployment.toml"
    config.write_text("nonsense = true")
    with pytest.raises(EngineUnavailableError):
        async with deployment_process(tmp_path, config=config):
            pass


async def test_an_instant_one_answers_with_the_prompt(tmp_path: Path) -> None:
    """Whatever endpoints its models have."""
    key = create_key(tmp_path, "alice")
    config = tmp_path / "deployment.toml"
    config.write_text('[models.m]\nendpoints = [{ url = "http://127.0.0.1:1/v1" }]\n')
    async with (
        deployment_process(tmp_path, config=config, is_instant=True) as server,
        ss.Deployment(server.url, key) as deployment,
    ):
        job_id = await deployment.submit(["a", "b"], ss.Submission(model="m"))
        await deployment.wait(job_id)
        assert (await deployment.results(job_id))["outputs"] == ["a", "b"]
