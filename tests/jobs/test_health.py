"""How a deployment says that it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sutro_stream.errors import StoreError
from sutro_stream.flow.meter import Meter, Statistics
from sutro_stream.jobs.activity import Activity
from sutro_stream.jobs.disk_space import check_room, disk_free_bytes
from sutro_stream.testing import (
    Constant,
    Reply,
    ScriptedChatServer,
    constant,
    with_latency,
)
from sutro_stream.values.job import JobState
from sutro_stream.wire.api_error import ApiError

HUGE_BYTES = 1 << 60


async def test_an_idle_deployment_has_done_nothing(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """And has opened no engine."""
    async with (
        ScriptedChatServer() as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        health = await bench.service.health()

    model = health.models["m"]
    assert (health.jobs, health.ended) == ({}, {})
    assert (model.engine, model.slots, model.activity.rows_answered) == (
        "idle",
        None,
        0,
    )
    assert health.has_room


async def test_a_job_shows_while_it_runs(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """Its requests take slots, and its other rows wait."""
    slow = with_latency(constant("x"), Constant(seconds=30))
    async with (
        ScriptedChatServer(slow) as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        job = await bench.submit(["a"] * 20)
        await bench.when(job, JobState.RUNNING)
        await server.wait_until(lambda seen: seen.in_flight == 8)
        health = await bench.service.health()

    model = health.models["m"]
    assert health.jobs == {JobState.RUNNING: 1}
    assert (model.engine, model.slots, model.used) == ("open", 8, 8)


async def test_what_jobs_did_is_counted(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """By how they ended; rows, requests and tokens by model."""
    calls = iter(range(100))

    def flaky(request: Any) -> Reply:
        del request
        return Reply(status=429) if next(calls) == 0 else Reply(text="x")

    async with (
        ScriptedChatServer(flaky) as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        ended = await bench.ended(await bench.submit(["a", "b", "c"]))
        health = await bench.service.health()

    done = health.models["m"].activity
    assert health.ended == {JobState.SUCCEEDED: 1}
    assert (done.rows_answered, done.rows_failed) == (3, 0)
    assert done.requests.by_result["answered"] == 3
    assert done.requests.by_result["rate_limited"] == 1
    assert done.requests.input_tokens == ended.input_tokens


async def test_below_the_floor_no_job_is_accepted(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """Before anything is written, and without using up the key."""
    async with (
        ScriptedChatServer() as server,
        deployment(tmp_path, catalogue(server), disk_floor_bytes=HUGE_BYTES) as bench,
    ):
        with pytest.raises(ApiError) as caught:
            await bench.submit(["a"], key="0b7fb9a4-1b4c-4b2e-9a57-3f2f8d1c2a11")
        jobs, _ = await bench.service.jobs("alice", None, None)
        health = await bench.service.health()

    assert (caught.value.status, caught.value.code) == (507, "insufficient_storage")
    assert str(tmp_path) not in caught.value.detail
    assert not jobs
    assert not health.has_room


async def test_jobs_go_on_below_the_floor(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """What was accepted has its room."""
    slow = with_latency(constant("x"), Constant(seconds=30))
    async with (
        ScriptedChatServer(slow) as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        job = await bench.submit(["a"])
    async with (
        ScriptedChatServer() as server,
        deployment(tmp_path, catalogue(server), disk_floor_bytes=HUGE_BYTES) as bench,
    ):
        ended = await bench.ended(job)
    assert ended.state is JobState.SUCCEEDED


def test_what_is_about_to_come_counts(tmp_path: Path) -> None:
    """A body must leave the floor free."""
    free_bytes = disk_free_bytes(tmp_path)
    check_room(tmp_path, floor_bytes=free_bytes // 2)
    with pytest.raises(ApiError):
        check_room(tmp_path, floor_bytes=free_bytes // 2, needed_bytes=free_bytes)


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """Of the store, for the operator."""
    with pytest.raises(StoreError, match="free space"):
        disk_free_bytes(tmp_path / "gone")


def counters(*, kept: int, answered: int, retries: int = 0) -> Statistics:
    """A run's counters."""
    return Meter(kept=kept, answered=answered, retries=retries).statistics(1.0)


def test_rows_of_earlier_processes_are_not_counted_again() -> None:
    """A job that goes on begins with what is kept."""
    model = Activity().of("m")
    run = model.job()
    run.take(counters(kept=40, answered=40))
    run.take(counters(kept=40, answered=45, retries=2))
    run.rows(50, 1)
    assert (model.rows_answered, model.rows_failed, model.retries) == (10, 1, 2)
