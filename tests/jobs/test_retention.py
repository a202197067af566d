"""What goes: results whose time is over."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sutro_stream.jobs.folder import DataFolder
from sutro_stream.jobs.retention import remove_old
from sutro_stream.jobs.store import JobStore, JobTotals
from sutro_stream.jobs.submissions import SubmissionStore
from sutro_stream.testing import ScriptedChatServer
from sutro_stream.wire.api_error import ApiError


def test_what_ended_before_goes_with_its_files(
    tmp_path: Path, database: Any, clock: Any, new_job: Any
) -> None:
    """Younger ones and those that still run stay."""
    folder = DataFolder(tmp_path / "data")
    folder.prepare()
    jobs = JobStore(database, clock=clock)
    old, young, running = new_job(), new_job(), new_job()
    for job in (old, young, running):
        jobs.add(job)
        jobs.started(job.job_id)
        folder.job(job.job_id).root.mkdir()
    jobs.succeeded(old.job_id, JobTotals(rows=1))
    clock.advance(100)
    jobs.succeeded(young.job_id, JobTotals(rows=1))

    removed = remove_old(
        folder,
        jobs,
        SubmissionStore(database, clock=clock),
        before=clock.now - timedelta(seconds=50),
    )

    assert removed == 1
    assert folder.job_ids() == sorted([young.job_id, running.job_id])
    assert jobs.was_removed(old.job_id, account="alice")


async def test_a_job_whose_time_is_over_is_said_to_be_so(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """Its owner should not look for a mistake in the ID."""
    async with ScriptedChatServer() as server:
        models = catalogue(server)
        async with deployment(tmp_path, models) as bench:
            job = await bench.ended(await bench.submit(["a"], model="m"))
        async with deployment(tmp_path, models, retention_days=0.0) as bench:
            with bench.service.watch(job.job_id):
                for _ in range(1000):
                    try:
                        await bench.service.job("alice", job.job_id)
                    except ApiError as error:
                        caught = error
                        break
                else:
                    pytest.fail("the job is still there")
            with pytest.raises(ApiError) as others:
                await bench.service.job("bob", job.job_id)

    assert (caught.status, caught.code) == (404, "expired")
    assert others.value.code == "job_not_found"
