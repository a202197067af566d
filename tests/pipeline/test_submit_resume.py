"""Runs over a deployment that go on: their jobs are found again, not made anew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sutro_stream as ss
from sutro_stream.testing.scripted_deployment import (
    KEY,
    Fault,
    ScriptedDeployment,
)

QUICK = ss.RetryPolicy(attempts=3, first_delay_s=0.01, longest_delay_s=0.02)
ROWS = 40


class Interrupted(Exception):  # noqa: N818 - what a user's own error may be called
    """Stops a run in the middle."""


@pytest.fixture
async def server() -> AsyncIterator[ScriptedDeployment]:
    """A deployment whose jobs run until they are released."""
    async with ScriptedDeployment(is_holding=True) as server:
        yield server


@pytest.fixture
async def client(server: ScriptedDeployment) -> AsyncIterator[ss.Deployment]:
    """A client of it."""
    async with ss.Deployment(server.url, KEY) as client:
        yield client


def source(tmp_path: Path, prefix: str = "t") -> Path:
    """A CSV file of distinct texts."""
    path = tmp_path / "input.csv"
    path.write_text("\n".join(["text", *(f"{prefix}{n}" for n in range(ROWS))]) + "\n")
    return path


def asking(client: ss.Deployment, tmp_path: Path, **arguments: Any) -> Any:
    """CSV to answers, in jobs of ten."""
    given: dict[str, Any] = {"batch_rows": 10, "retry": QUICK, "poll_s": 0.05}
    rows = ss.read_csv(source(tmp_path, arguments.pop("prefix", "t")))
    return rows | ss.prompts("text") | ss.submit(client, "m", **(given | arguments))


async def interrupted(
    pipeline: Any,
    server: ScriptedDeployment,
    *,
    ledger: Path,
    when: Callable[[ScriptedDeployment], bool],
) -> None:
    """Leave a run without its jobs being cancelled, as a kill does."""
    server.fail("cancel", *[Fault()] * 100)
    with pytest.raises(Interrupted):
        async with pipeline.open(ledger=ledger):
            await server.wait_until(when)
            raise Interrupted
    server.faults.pop("cancel")


async def answers(pipeline: Any, ledger: Path, **arguments: Any) -> list[Any]:
    """The outputs of a run that goes on."""
    async with pipeline.open(ledger=ledger, **arguments) as results:
        found = [result.output async for result in results]
        assert results.statistics().rows_done == ROWS
    return found


async def test_jobs_that_run_are_found_again(
    server: ScriptedDeployment, client: ss.Deployment, tmp_path: Path
) -> None:
    """And their results fetched."""
    ledger = tmp_path / "ledger"
    pipeline = asking(client, tmp_path)
    await interrupted(
        pipeline, server, ledger=ledger, when=lambda seen: len(seen.running()) == 4
    )
    await server.release()
    assert await answers(pipeline, ledger) == [f"echo: t{n}" for n in range(ROWS)]
    assert len(server.jobs) == 4
    assert server.requests["submit"] == 4


async def test_a_submission_whose_answer_was_lost_is_found_by_its_key(
    server: ScriptedDeployment, client: ss.Deployment, tmp_path: Path
) -> None:
    """Though nobody has ever heard of its job."""
    ledger = tmp_path / "ledger"
    patient = ss.RetryPolicy(attempts=9, first_delay_s=60, longest_delay_s=60)
    pipeline = asking(client, tmp_path, retry=patient)
    server.fail("submit", *[Fault(acts=True)] * 4)
    server.fail("submission", *[Fault()] * 100)
    await interrupted(
        pipeline, server, ledger=ledger, when=lambda seen: len(seen.jobs) == 4
    )
    server.faults.pop("submission")
    await server.release()
    again = asking(client, tmp_path)
    assert await answers(again, ledger) == [f"echo: t{n}" for n in range(ROWS)]
    assert len(server.jobs) == 4


async def stopped_in_the_middle(pipeline: Any, ledger: Path) -> None:
    """Leave a run once two of its four jobs have come."""
    with pytest.raises(Interrupted):
        async with pipeline.open(ledger=ledger) as results:
            for _ in range(15):
                await anext(results)
            raise Interrupted


async def test_results_that_have_come_are_not_fetched_again(
    server: ScriptedDeployment, client: ss.Deployment, tmp_path: Path
) -> None:
    """They lie beside the ledger, a file for each job."""
    ledger = tmp_path / "ledger"
    pipeline = asking(client, tmp_path, concurrency=1)
    server.is_holding = False
    await stopped_in_the_middle(pipeline, ledger)
    fetched = server.requests["results"]
    kept = len(list(Path(f"{ledger}-results").glob("*.parquet")))
    assert kept == fetched >= 2
    assert await answers(pipeline, ledger) == [f"echo: t{n}" for n in range(ROWS)]
    assert server.requests["results"] == 4


async def test_results_that_cannot_be_read_are_fetched_again(
    server: ScriptedDeployment, client: ss.Deployment, tmp_path: Path
) -> None:
    """As after a power cut; the job has them still."""
    ledger = tmp_path / "ledger"
    pipeline = asking(client, tmp_path, concurrency=1)
    server.is_holding = False
    await stopped_in_the_middle(pipeline, ledger)
    for place in Path(f"{ledger}-results").glob("*.parquet"):
        place.write_bytes(place.read_bytes()[:-9])
    assert await answers(pipeline, ledger) == [f"echo: t{n}" for n in range(ROWS)]
    assert len(server.jobs) == 4


async def test_what_is_recorded_is_not_asked_again(
    server: ScriptedDeployment, client: ss.Deployment, tmp_path: Path
) -> None:
    """Nor is its job looked at."""
    ledger = tmp_path / "ledger"
    pipeline = asking(client, tmp_path, concurrency=1)
    server.is_holding = False
    await stopped_in_the_middle(pipeline, ledger)
    async with pipeline.open(ledger=ledger) as results:
        found = [result.output async for result in results]
        assert results.statistics().rows_kept >= 20
    assert found == [f"echo: t{n}" for n in range(ROWS)]
    assert len(server.jobs) == 4


async def test_a_job_that_was_cancelled_meanwhile_is_made_anew(
    server: ScriptedDeployment, client: ss.Deployment, tmp_path: Path
) -> None:
    """Its rows have no answer and no failure."""
    ledger = tmp_path / "ledger"
    pipeline = asking(client, tmp_path)
    await interrupted(
        pipeline, server, ledger=ledger, when=lambda seen: len(seen.running()) == 4
    )
    await server.release(status="CANCELLED")
    assert await answers(pipeline, ledger) == [f"echo: t{n}" for n in range(ROWS)]
    assert len(server.jobs) == 8


async def test_a_job_that_is_gone_is_made_anew(
    server: ScriptedDeployment, client: ss.Deployment, tmp_path: Path
) -> None:
    """Results expire."""
    ledger = tmp_path / "ledger"
    pipeline = asking(client, tmp_path)
    await interrupted(
        pipeline, server, ledger=ledger, when=lambda seen: len(seen.running()) == 4
    )
    server.jobs.clear()
    server.is_holding = False
    assert await answers(pipeline, ledger) == [f"echo: t{n}" for n in range(ROWS)]
    assert len(server.jobs) == 4


async def test_other_rows_do_not_get_the_answers(
    server: ScriptedDeployment, client: ss.Deployment, tmp_path: Path
) -> None:
    """Also where the ledger cannot tell, since none was recorded yet."""
    ledger = tmp_path / "ledger"
    rows = [f"t{number}" for number in range(ROWS)]
    submit = ss.submit(client, "m", batch_rows=10, retry=QUICK, poll_s=0.05)
    await interrupted(
        ss.from_rows(rows) | ss.prompts() | submit,
        server,
        ledger=ledger,
        when=lambda seen: len(seen.running()) == 4,
    )
    await server.release()
    rows[3] = "other"
    with pytest.raises(ss.WorkChangedError, match="rows"):
        await answers(ss.from_rows(rows) | ss.prompts() | submit, ledger)


async def test_jobs_of_another_size_are_other_work(
    server: ScriptedDeployment, client: ss.Deployment, tmp_path: Path
) -> None:
    """They would not find those that are out."""
    ledger = tmp_path / "ledger"
    await interrupted(
        asking(client, tmp_path),
        server,
        ledger=ledger,
        when=lambda seen: len(seen.running()) == 4,
    )
    with pytest.raises(ss.WorkChangedError, match="size of jobs"):
        await answers(asking(client, tmp_path, batch_rows=20), ledger)


async def test_a_restart_forgets_the_jobs(
    server: ScriptedDeployment, client: ss.Deployment, tmp_path: Path
) -> None:
    """And makes new ones."""
    ledger = tmp_path / "ledger"
    pipeline = asking(client, tmp_path)
    await interrupted(
        pipeline, server, ledger=ledger, when=lambda seen: len(seen.running()) == 4
    )
    await server.release()
    await answers(pipeline, ledger, mode=ss.OpenMode.RESTART)
    assert len(server.jobs) == 8


async def test_rows_that_failed_are_asked_again_alone(tmp_path: Path) -> None:
    """In a job of their own; again and again."""
    failing = {"t3", "t12", "t13"}
    async with (
        ScriptedDeployment(
            lambda row: None if row in failing else f"echo: {row}"
        ) as server,
        ss.Deployment(server.url, KEY) as client,
    ):
        out = tmp_path / "out.parquet"
        run = asking(client, tmp_path) | ss.write_parquet(out)
        report = await run.run(keep_ledger=True)
        assert (report.rows_failed, report.rows_answered) == (3, 37)
        failing.remove("t3")
        report = await run.run(keep_ledger=True, mode=ss.OpenMode.RETRY_FAILED)
        assert report.rows_failed == 2
        failing.clear()
        report = await run.run(mode=ss.OpenMode.RETRY_FAILED)
        assert report.rows_failed == 0
        asked = [job.body["inputs"] for job in server.jobs.values()][4:]
    # Jobs of one run are made at the same time.
    assert sorted(asked[:2]) == [["t12", "t13"], ["t3"]]
    assert asked[2:] == [["t12", "t13"]]
    outputs = pl.read_parquet(out)["output"].to_list()
    assert outputs == [f"echo: t{n}" for n in range(ROWS)]


async def test_a_finished_run_leaves_nothing_behind(
    server: ScriptedDeployment, client: ss.Deployment, tmp_path: Path
) -> None:
    """But its file."""
    server.is_holding = False
    out = tmp_path / "out.parquet"
    report = await (asking(client, tmp_path) | ss.write_parquet(out)).run()
    assert (report.rows, report.status) == (ROWS, ss.RunStatus.SUCCEEDED)
    assert report.input_tokens == ROWS
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["input.csv", "out.parquet"]


async def test_leaving_in_good_order_leaves_nothing_behind(
    server: ScriptedDeployment, client: ss.Deployment, tmp_path: Path
) -> None:
    """The jobs are cancelled, so there is nothing to go on with."""
    ledger = tmp_path / "ledger"
    async with asking(client, tmp_path).open(ledger=ledger):
        await server.wait_until(lambda seen: len(seen.running()) == 4)
    assert not server.running()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["input.csv"]
