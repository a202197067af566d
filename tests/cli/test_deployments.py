"""`sutro-stream run --deployment` and `sutro-stream jobs`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import polars as pl
import pytest

from sutro_stream.testing.scripted_deployment import (
    KEY,
    Fault,
    ScriptedDeployment,
)

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedDeployment]:
    """A deployment that answers at once."""
    async with ScriptedDeployment(lambda _: "answer") as server:
        yield server


@pytest.fixture
def environment(server: ScriptedDeployment) -> dict[str, str]:
    """What the commands find."""
    return {"SUTRO_API_URL": server.url, "SUTRO_API_KEY": KEY}


async def made(server: ScriptedDeployment, run: Run, folder: Path) -> str:
    """A job of the folder's 20 rows, by the command line."""
    code, _, err = await run(
        folder / "rows.csv",
        *("--column", "text", "--deployment", server.url, "--model", "m"),
        *("-o", folder / "out.parquet"),
        environment={"SUTRO_API_KEY": KEY},
    )
    assert code == 0, err
    (job_id,) = server.jobs
    return job_id


async def test_prompts_through_a_deployment(
    run: Run, folder: Path, server: ScriptedDeployment
) -> None:
    """Column, model and options reach the job."""
    code, out, _ = await run(
        folder / "rows.csv",
        *("--column", "text", "--deployment", server.url, "--model", "m"),
        *("--temperature", "0", "--batch-rows", "8", "--priority", "0"),
        *("--concurrency", "2", "-o", folder / "out.parquet"),
        environment={"SUTRO_API_KEY": KEY},
    )
    assert code == 0
    assert "20" in out
    first = next(iter(server.jobs.values())).body
    assert (first["model"], first["job_priority"]) == ("m", 0)
    assert first["sampling_params"] == {"temperature": 0}
    assert sorted(len(job.body["inputs"]) for job in server.jobs.values()) == [4, 8, 8]
    assert (
        pl.read_parquet(folder / "out.parquet")["output"].to_list() == ["answer"] * 20
    )


async def test_rows_for_a_published_function(
    run: Run, folder: Path, server: ScriptedDeployment
) -> None:
    """They are sent as objects, under its name."""
    code, _, _ = await run(
        folder / "rows.csv",
        *("--function", "lead-qualifier", "--deployment", server.url),
        *("-o", folder / "out.parquet"),
        environment={"SUTRO_API_KEY": KEY},
    )
    assert code == 0
    (job,) = server.jobs.values()
    assert job.body["model"] == "lead-qualifier"
    assert set(job.body["inputs"][0]) == {"id", "text"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--engine", "http://127.0.0.1:9/v1"), "--engine"),
        (("--concurrency", "auto"), "--concurrency"),
        (("--hedge",), "--hedge"),
        (("--dedupe",), "--dedupe"),
        (("--budget", "calls=1"), "--budget"),
    ],
    ids=str,
)
async def test_options_that_a_deployment_does_not_take(
    run: Run,
    folder: Path,
    server: ScriptedDeployment,
    arguments: tuple[str, ...],
    text: str,
) -> None:
    """Named; nothing is sent."""
    code, _, err = await run(
        folder / "rows.csv",
        *("--column", "text", "--deployment", server.url, *arguments),
        *("-o", folder / "out.parquet"),
        environment={"SUTRO_API_KEY": KEY},
    )
    assert code == 2
    assert text in err
    assert not server.jobs


async def test_without_a_key(
    run: Run, folder: Path, server: ScriptedDeployment
) -> None:
    """The variable is named."""
    code, _, err = await run(
        folder / "rows.csv",
        *("--column", "text", "--deployment", server.url),
        *("-o", folder / "out.parquet"),
    )
    assert (code, "SUTRO_API_KEY" in err) == (2, True)


async def test_a_dry_run_sends_nothing(
    run: Run, folder: Path, server: ScriptedDeployment
) -> None:
    """It shows who would be asked."""
    code, out, _ = await run(
        folder / "rows.csv",
        *("--column", "text", "--deployment", server.url, "--dry-run"),
        environment={"SUTRO_API_KEY": KEY},
    )
    assert (code, server.url in out) == (0, True)
    assert not server.requests


async def test_jobs_are_listed_and_shown(
    run: Run, folder: Path, server: ScriptedDeployment, environment: dict[str, str]
) -> None:
    """By their IDs."""
    job_id = await made(server, run, folder)
    code, out, _ = await run("jobs", "list", environment=environment)
    assert (code, job_id in out) == (0, True)
    code, out, _ = await run("jobs", "show", job_id, environment=environment)
    assert (code, "SUCCEEDED" in out) == (0, True)


async def test_results_are_stored(
    run: Run, folder: Path, server: ScriptedDeployment, environment: dict[str, str]
) -> None:
    """As Parquet, whole; and not over another file."""
    job_id = await made(server, run, folder)
    path = folder / "results.parquet"
    arguments = ("jobs", "results", job_id, "--wait", "-o", path)
    code, _, _ = await run(*arguments, environment=environment)
    assert code == 0
    assert pl.read_parquet(path)["outputs"].to_list() == ["answer"] * 20
    code, _, err = await run(*arguments, environment=environment)
    assert (code, "--overwrite" in err) == (2, True)
    assert not list(folder.glob(".*"))


async def test_a_job_without_results(
    run: Run, folder: Path, server: ScriptedDeployment, environment: dict[str, str]
) -> None:
    """The message says what became of it, or that it runs still."""
    job_id = await made(server, run, folder)
    arguments = ("jobs", "results", job_id, "-o", folder / "results.parquet")
    server.jobs[job_id].status = "RUNNING"
    code, _, err = await run(*arguments, environment=environment)
    assert (code, "--wait" in err) == (1, True)
    server.jobs[job_id].status = "FAILED"
    code, _, err = await run(*arguments, environment=environment)
    assert (code, "FAILED" in err) == (1, True)
    assert not (folder / "results.parquet").exists()


async def test_cancelling(
    run: Run, folder: Path, server: ScriptedDeployment, environment: dict[str, str]
) -> None:
    """A job that has ended cannot be."""
    job_id = await made(server, run, folder)
    code, _, err = await run("jobs", "cancel", job_id, environment=environment)
    assert (code, "ended" in err) == (1, True)
    server.jobs[job_id].status = "RUNNING"
    code, out, _ = await run("jobs", "cancel", job_id, environment=environment)
    assert (code, "cancelled" in out) == (0, True)


async def test_a_wrong_key(
    run: Run, server: ScriptedDeployment, environment: dict[str, str]
) -> None:
    """One line that does not show it."""
    server.fail("list", Fault(status=401))
    code, _, err = await run("jobs", "list", environment=environment)
    assert code == 1
    assert "refused the API key" in err
    assert KEY not in err


async def test_no_deployment_is_named(run: Run) -> None:
    """Both ways to name one are."""
    code, _, err = await run("jobs", "list", environment={"SUTRO_API_KEY": "k"})
    assert code == 2
    assert "SUTRO_API_URL" in err
    assert "--deployment" in err
