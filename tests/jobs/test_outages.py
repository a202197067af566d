"""Jobs whose endpoint is away for a while."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from sutro_stream.testing import Reply, ScriptedChatServer, always
from sutro_stream.values.job import JobState
from sutro_stream.wire.api_error import ApiError

AWAY_S = 3.0
ROWS = [f"row {number}" for number in range(400)]
ANSWERS = [f"echo: {row}" for row in ROWS]


@dataclass(frozen=True)
class Address:
    """Where an endpoint is to be, whether anybody is there or not."""

    port: int

    @property
    def base_url(self) -> str:
        """As `ScriptedChatServer` has it."""
        return f"http://127.0.0.1:{self.port}/v1"

    def server(self) -> ScriptedChatServer:
        """Somebody to be there, who takes a little while to answer."""
        return ScriptedChatServer(always(Reply(latency_s=0.05)), port=self.port)


@pytest.fixture
def address(unused_tcp_port: int) -> Address:
    """Nobody is there yet."""
    return Address(unused_tcp_port)


async def test_a_job_waits_for_an_endpoint_that_was_not_there_yet(
    tmp_path: Path, catalogue: Any, deployment: Any, address: Address
) -> None:
    """A model's server may well be started after the deployment."""
    async with deployment(tmp_path, catalogue(address)) as bench:
        job = await bench.submit(ROWS)
        await bench.when(job, JobState.RUNNING, JobState.FAILED)
        await anyio.sleep(AWAY_S)
        assert (await bench.service.job("alice", job.job_id)).state is JobState.RUNNING
        async with address.server():
            ended = await bench.ended(job)
            results = await bench.results(job)
    assert (ended.state, ended.failed_rows) == (JobState.SUCCEEDED, 0)
    assert results["outputs"] == ANSWERS


async def test_a_job_outlasts_an_outage_of_its_endpoint(
    tmp_path: Path, catalogue: Any, deployment: Any, address: Address
) -> None:
    """It goes on where it was, and what was answered is not asked again."""
    async with deployment(tmp_path, catalogue(address)) as bench:
        async with address.server() as server:
            job = await bench.submit(ROWS)
            await server.wait_until(lambda seen: seen.answered >= 100)
            first = server.statistics()
        await anyio.sleep(AWAY_S)
        assert (await bench.service.job("alice", job.job_id)).state is JobState.RUNNING
        async with address.server() as server:
            ended = await bench.ended(job)
            results = await bench.results(job)
            asked = first.answered + server.statistics().requests
    assert (ended.state, ended.failed_rows) == (JobState.SUCCEEDED, 0)
    assert results["outputs"] == ANSWERS
    # Eight are in flight, and those that come in while the server is closing.
    assert asked <= len(ROWS) + 16


async def test_a_function_run_does_not_wait_for_an_endpoint_that_is_away(
    tmp_path: Path, catalogue: Any, deployment: Any, publish: Any, address: Address
) -> None:
    """Its caller is waiting: it hears within seconds that nobody answers."""
    publish(tmp_path)
    async with deployment(tmp_path, catalogue(address)) as bench:
        for _ in range(2):
            began_s = time.monotonic()
            with pytest.raises(ApiError) as caught:
                await bench.service.run_function(
                    "alice",
                    "lead-qualifier",
                    {"query": "a", "region": None},
                    confidence=False,
                )
            assert (caught.value.status, caught.value.code) == (502, "provider_error")
            assert time.monotonic() - began_s < 9


async def test_a_function_run_beside_a_job_that_waits_does_not_wait(
    tmp_path: Path, catalogue: Any, deployment: Any, publish: Any, address: Address
) -> None:
    """What they share is what is known of the endpoint, not the patience."""
    publish(tmp_path)
    overloaded = ScriptedChatServer(always(Reply(status=503)), port=address.port)
    async with (
        overloaded as server,
        deployment(tmp_path, catalogue(address)) as bench,
    ):
        job = await bench.submit(ROWS)
        await server.wait_until(lambda seen: seen.answered >= 20)
        began_s = time.monotonic()
        with pytest.raises(ApiError) as caught:
            await bench.service.run_function(
                "alice",
                "lead-qualifier",
                {"query": "a", "region": None},
                confidence=False,
            )
        assert caught.value.status in {502, 503}
        assert time.monotonic() - began_s < 60
        assert (await bench.service.job("alice", job.job_id)).state is JobState.RUNNING
