"""Jobs of a deployment, from the request's body to the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sutro_stream.errors import StoreInUseError
from sutro_stream.jobs.config import Quota, UrlPolicy
from sutro_stream.testing import (
    ChatRequest,
    Constant,
    Reply,
    ScriptedChatServer,
    constant,
    with_latency,
)
from sutro_stream.values.job import Job, JobState
from sutro_stream.wire.api_error import ApiError

KEY = "0b7fb9a4-1b4c-4b2e-9a57-3f2f8d1c2a11"


def parrot(request: ChatRequest) -> Reply:
    """Answer with the prompt itself; an empty text would be no answer."""
    return Reply(text=request.prompt or "nothing")


async def refused(bench: Any, inputs: Any, **fields: Any) -> ApiError:
    """The error that a submission is refused with."""
    with pytest.raises(ApiError) as caught:
        await bench.submit(inputs, **fields)
    return caught.value


async def test_strings_are_answered_in_their_order(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """Nulls and numbers are prompts as well, and keep their places."""
    async with (
        ScriptedChatServer(parrot) as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        job = await bench.submit(["a", None, 3, True], model="m")
        ended = await bench.ended(job)
        columns = await bench.results(ended, inputs=True)

    assert (ended.state, ended.rows, ended.failed_rows) == (JobState.SUCCEEDED, 4, 0)
    assert columns["inputs"] == ["a", "", "3", "true"]
    assert columns["outputs"] == ["a", "nothing", "3", "true"]


async def test_an_alias_is_answered_by_the_model_behind_it(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """The job tells who that was; a request without a model means the default."""
    async with (
        ScriptedChatServer() as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        ended = await bench.ended(await bench.submit(["a"]))

    assert ended.spec.model == "gpt-oss-20b"
    assert ended.answered_by == "m"


async def test_rows_of_a_function_are_rendered_and_texts_are_sent_as_they_are(
    tmp_path: Path, publish: Any, catalogue: Any, deployment: Any
) -> None:
    """Both in one job, with the Function's defaults and revision."""
    publish(tmp_path)
    async with (
        ScriptedChatServer(parrot, record_last=10) as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        job = await bench.submit(
            [
                {"query": "leaders", "region": "APAC", "more": 1},
                "as it is",
                {"query": None},
            ],
            model="lead-qualifier",
            sampling_params={"max_tokens": 7},
        )
        columns = await bench.results(await bench.ended(job))
        request = server.requests[0]

    assert columns["outputs"] == ["leaders in APAC", "as it is", " in anywhere"]
    assert job.spec.revision == 1
    assert (request.body["temperature"], request.body["max_tokens"]) == (0, 7)
    assert request.body["messages"][0]["content"] == "Qualify."


async def test_a_function_keeps_its_revision_while_its_job_waits(
    tmp_path: Path, publish: Any, catalogue: Any, deployment: Any
) -> None:
    """What is published meanwhile is for the next job."""
    publish(tmp_path)
    async with (
        ScriptedChatServer(parrot) as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        job = await bench.submit([{"query": "q"}], model="lead-qualifier")
        publish(tmp_path, prompt_template="new {{ query }}")
        later = await bench.submit([{"query": "q"}], model="lead-qualifier")
        first = await bench.results(await bench.ended(job))
        second = await bench.results(await bench.ended(later))

    assert (job.spec.revision, later.spec.revision) == (1, 2)
    assert (first["outputs"], second["outputs"]) == (["q in anywhere"], ["new q"])


@pytest.mark.parametrize(
    ("fields", "status", "word"),
    [
        ({"model": "nothing"}, 404, "nothing"),
        ({"model": "lead-qualifier", "system_prompt": "x"}, 422, "system_prompt"),
        ({"model": "lead-qualifier", "json_schema": {}}, 422, "json_schema"),
        ({"model": "lead-qualifier", "column_name": "x"}, 422, "column_name"),
        ({"model": "m", "job_priority": 2}, 422, "job_priority"),
        ({"model": "m", "name": "n" * 46}, 422, "name"),
        ({"model": "m", "sampling_params": {"heat": 1}}, 422, "heat"),
        ({"model": "m", "id_column_name": "id"}, 422, "id_column_name"),
    ],
)
async def test_what_does_not_go_together_is_refused(
    tmp_path: Path,
    fields: dict[str, Any],
    status: int,
    word: str,
    publish: Any,
    catalogue: Any,
    deployment: Any,
) -> None:
    """Before anything is kept, by a sentence that names the field."""
    publish(tmp_path)
    async with (
        ScriptedChatServer() as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        error = await refused(bench, ["a"], **fields)
        jobs, _ = await bench.service.jobs("alice", None, None)

    assert (error.status, list(jobs)) == (status, [])
    assert word in error.detail
    assert list((tmp_path / "data" / "jobs").iterdir()) == []


async def test_a_function_of_another_account_does_not_exist(
    tmp_path: Path, publish: Any, catalogue: Any, deployment: Any
) -> None:
    """Nor does a job of it."""
    publish(tmp_path, account="bob")
    async with (
        ScriptedChatServer() as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        error = await refused(bench, [{"query": "q"}], model="lead-qualifier")
        job = await bench.submit(["a"], model="m", account="bob")
        with pytest.raises(ApiError) as caught:
            await bench.service.job("alice", job.job_id)

    assert (error.status, caught.value.status) == (404, 404)


async def test_more_rows_than_a_job_may_have_are_refused(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """Waiting would not help, so it is 403."""
    quotas = {0: Quota(rows=2, tokens=100), 1: Quota(rows=5, tokens=100)}
    async with (
        ScriptedChatServer() as server,
        deployment(tmp_path, catalogue(server), quotas=quotas) as bench,
    ):
        error = await refused(bench, ["a"] * 3, model="m")
        await bench.ended(await bench.submit(["a"] * 3, model="m", job_priority=1))

    assert (error.status, error.code) == (403, "quota_exceeded")


async def test_a_job_that_uses_up_its_tokens_fails_and_says_so(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """The number of tokens is known only while it runs."""
    quotas = {0: Quota(rows=1000, tokens=20), 1: Quota(rows=5, tokens=100)}
    async with (
        ScriptedChatServer() as server,
        deployment(tmp_path, catalogue(server), quotas=quotas) as bench,
    ):
        ended = await bench.ended(await bench.submit(["some words"] * 200, model="m"))

    assert ended.state is JobState.FAILED
    assert "20 tokens" in str(ended.failure)


async def test_a_job_without_one_answer_has_failed(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """With the reason of most rows."""
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    async with (
        ScriptedChatServer(constant("no json")) as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        ended = await bench.ended(
            await bench.submit(["a", "b"], model="m", json_schema=schema)
        )
        with pytest.raises(ApiError) as caught:
            await bench.service.results("alice", ended.job_id)

    assert ended.state is JobState.FAILED
    assert "JSON" in str(ended.failure)
    assert caught.value.status == 409


async def test_the_same_submission_twice_is_one_job(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """And another body under its key is a conflict."""
    async with (
        ScriptedChatServer() as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        first = await bench.submit(["a"], model="m", key=KEY)
        again = await bench.submit(["a"], model="m", key=KEY)
        error = await refused(bench, ["b"], model="m", key=KEY)
        status = await bench.service.submission("alice", KEY)

    assert first.job_id == again.job_id
    assert error.status == 409
    assert (status.state, status.job_id) == ("ACCEPTED", first.job_id)


async def test_an_estimate_counts_and_does_not_ask(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """Its price is that of all rows, and how it was found is told."""
    async with (
        ScriptedChatServer() as server,
        deployment(
            tmp_path, catalogue(server, input_price=1e6, output_price=0.0)
        ) as bench,
    ):
        job = await bench.submit(["word " * 40] * 3, model="m", cost_estimate=True)
        ended = await bench.ended(job)
        asked = server.statistics().requests
        with pytest.raises(ApiError) as caught:
            await bench.service.results("alice", job.job_id)

    assert (ended.state, ended.rows, asked) == (JobState.SUCCEEDED, 3, 0)
    assert ended.input_tokens is not None
    assert ended.input_tokens > 100
    assert ended.estimate_usd == pytest.approx(float(ended.input_tokens))
    assert "3 rows" in str(ended.note)
    assert caught.value.status == 409


async def file_server(folder: Path) -> TestServer:
    """A server of the files of a folder, on loopback."""
    app = web.Application()
    app.router.add_static("/", folder)
    server = TestServer(app)
    await server.start_server()
    return server


@pytest.fixture
def run_file(tmp_path: Path, catalogue: Any, deployment: Any) -> Any:
    """Runs a job over a file behind an address; the job, and its results if any."""

    async def run(
        name: str, *, allow_private: bool = True, **fields: Any
    ) -> tuple[Job, dict[str, Any] | None]:
        files = await file_server(tmp_path)
        policy = UrlPolicy(allow_private=allow_private)
        try:
            async with (
                ScriptedChatServer(parrot) as server,
                deployment(tmp_path, catalogue(server), urls=policy) as bench,
            ):
                address = str(files.make_url(f"/{name}?signature=secret"))
                ended = await bench.ended(await bench.submit(address, **fields))
                is_done = ended.state is JobState.SUCCEEDED
                return ended, await bench.results(ended) if is_done else None
        finally:
            await files.close()

    return run


async def test_a_column_of_a_file_behind_an_address_is_asked(
    tmp_path: Path, run_file: Any
) -> None:
    """With the ID column in the results; the number of rows is known."""
    table = pa.table({"id": [7, 8, 9], "text": ["a", None, "c"]})
    pq.write_table(table, tmp_path / "rows.parquet")
    ended, columns = await run_file(
        "rows.parquet", model="m", column_name="text", id_column_name="id"
    )

    assert columns == {"id": [7, 8, 9], "outputs": ["a", "nothing", "c"]}
    assert ended.rows == 3


async def test_the_first_column_of_a_csv_is_asked_where_none_is_named(
    tmp_path: Path, run_file: Any
) -> None:
    """A CSV's rows are counted before the first is asked."""
    (tmp_path / "rows.csv").write_text("first,prompt\none,x\ntwo,y\n")
    ended, columns = await run_file("rows.csv", model="m")

    assert columns == {"outputs": ["one", "two"]}
    assert ended.rows == 2


async def test_columns_of_a_file_are_matched_with_a_functions_inputs(
    tmp_path: Path, publish: Any, run_file: Any
) -> None:
    """A cell without a value is an empty one."""
    publish(tmp_path)
    (tmp_path / "leads.csv").write_text("query,region,note\nq,APAC,n\nr,,n\n")
    _, columns = await run_file("leads.csv", model="lead-qualifier")

    assert columns == {"outputs": ["q in APAC", "r in anywhere"]}


@pytest.mark.parametrize(
    ("name", "fields", "word"),
    [
        ("rows.csv", {"model": "m", "column_name": "nope"}, "first"),
        ("rows.csv", {"model": "lead-qualifier"}, "'query'"),
        ("none.csv", {"model": "m"}, "404"),
    ],
)
async def test_a_file_that_does_not_fit_fails_the_job(
    tmp_path: Path,
    name: str,
    fields: dict[str, Any],
    word: str,
    publish: Any,
    run_file: Any,
) -> None:
    """By a sentence that names what there is, and not the address's secrets."""
    publish(tmp_path)
    (tmp_path / "rows.csv").write_text("first,second\none,x\n")
    ended, _ = await run_file(name, **fields)

    assert ended.state is JobState.FAILED
    assert word in str(ended.failure)
    assert "secret" not in str(ended.failure)


async def test_addresses_inside_the_network_are_refused_unless_allowed(
    tmp_path: Path, run_file: Any
) -> None:
    """The deployment would be a way into it."""
    (tmp_path / "rows.csv").write_text("first\none\n")
    ended, _ = await run_file("rows.csv", allow_private=False, model="m")

    assert ended.state is JobState.FAILED
    assert ended.spec.input.reference is None


async def test_a_dataset_is_asked_in_the_order_of_its_files(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """Its column has to be named, and its priority is 1."""
    async with (
        ScriptedChatServer(parrot) as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        service = bench.service
        dataset = await service.create_dataset("alice")
        for name in ("z", "a"):
            path = tmp_path / f"{name}.parquet"
            pq.write_table(pa.table({"text": [name, f"{name}2"]}), path)
            await service.add_dataset_file("alice", dataset, f"{name}.parquet", path)
        job = await bench.submit(dataset, model="m", column_name="text", job_priority=1)
        columns = await bench.results(await bench.ended(job))
        early = await refused(bench, dataset, model="m", column_name="text")
        nameless = await refused(bench, dataset, model="m", job_priority=1)
        others = await refused(
            bench,
            dataset,
            model="m",
            column_name="text",
            job_priority=1,
            account="bob",
        )

    assert columns == {"outputs": ["z", "z2", "a", "a2"]}
    assert (early.status, nameless.status, others.status) == (422, 422, 404)


async def test_a_running_job_ends_soon_when_it_is_cancelled(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """Its requests stop, and nothing of it stays but its record."""
    async with (
        ScriptedChatServer(with_latency(parrot, Constant(seconds=30.0))) as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        job = await bench.submit(["a"] * 20, model="m")
        await bench.when(job, JobState.RUNNING)
        accepted, _ = await bench.service.cancel("alice", job.job_id)
        with anyio.fail_after(5):
            ended = await bench.ended(job)
        again, _ = await bench.service.cancel("alice", job.job_id)

    assert (accepted, again) == (True, False)
    assert ended.state is JobState.CANCELLED
    assert list((tmp_path / "data" / "jobs").iterdir()) == []


async def test_a_waiting_job_is_cancelled_at_once(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """It never begins."""
    async with (
        ScriptedChatServer(with_latency(parrot, Constant(seconds=30.0))) as server,
        deployment(tmp_path, catalogue(server), max_running_jobs=1) as bench,
    ):
        running = await bench.submit(["a"], model="m")
        await bench.when(running, JobState.RUNNING)
        waiting = await bench.submit(["b"], model="m")
        await bench.service.cancel("alice", waiting.job_id)
        ended = await bench.ended(waiting)

    assert ended.state is JobState.CANCELLED
    assert ended.started_at is None


async def test_an_interrupted_job_goes_on_where_it_stopped(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """What was answered is not asked again by the next process."""
    prompts = [f"row {number}" for number in range(200)]
    slow = with_latency(parrot, Constant(seconds=0.02))
    async with ScriptedChatServer(slow) as server:
        async with deployment(tmp_path, catalogue(server)) as bench:
            job = await bench.submit(prompts, model="m")
            with bench.service.watch(job.job_id) as news:
                while bench.service.progress(job).rows < 40:
                    await news.next(10)
        asked = server.statistics().requests
        async with deployment(tmp_path, catalogue(server)) as bench:
            ended = await bench.ended(job)
            columns = await bench.results(ended)
        asked_in_all = server.statistics().requests

    assert asked < 200
    assert ended.state is JobState.SUCCEEDED
    assert columns["outputs"] == prompts
    assert ended.input_tokens is not None
    assert asked_in_all <= 200 + 8


async def test_progress_is_told_to_those_who_watch(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """Up to the last row, with the tokens."""
    seen = []
    async with (
        ScriptedChatServer(with_latency(parrot, Constant(seconds=0.05))) as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        job = await bench.submit(["a b c"] * 80, model="m")
        with bench.service.watch(job.job_id) as news:
            while not (
                job := await bench.service.job("alice", job.job_id)
            ).state.is_final:
                seen.append(bench.service.progress(job).rows)
                await news.next(10)
        last = bench.service.progress(job)

    assert seen == sorted(seen)
    assert any(0 < rows < 80 for rows in seen)
    assert (last.rows, last.input_tokens > 0, last.output_tokens > 0) == (
        80,
        True,
        True,
    )


async def test_each_row_may_have_a_seed_of_its_own(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """The same after a restart, since they come from the job."""
    async with (
        ScriptedChatServer(parrot, record_last=10) as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        await bench.ended(
            await bench.submit(["a"] * 4, model="m", random_seed_per_input=True)
        )
        seeds = {request.body["seed"] for request in server.requests}

    assert len(seeds) == 4


async def test_pages_of_jobs_lead_to_older_ones(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """Each job is on one page."""
    async with (
        ScriptedChatServer() as server,
        deployment(tmp_path, catalogue(server)) as bench,
    ):
        sent = [(await bench.submit(["a"], model="m")).job_id for _ in range(5)]
        found, cursor = [], None
        while True:
            page, cursor = await bench.service.jobs("alice", 2, cursor)
            found += [job.job_id for job in page]
            if cursor is None:
                break

    assert found == sent[::-1]


async def test_one_folder_has_one_server(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """Two would do every job twice."""
    async with ScriptedChatServer() as server:
        models = catalogue(server)
        async with deployment(tmp_path, models):
            with pytest.raises(StoreInUseError, match="another process"):
                async with deployment(tmp_path, models):
                    pass


async def test_what_a_crash_left_of_a_submission_is_removed(
    tmp_path: Path, catalogue: Any, deployment: Any
) -> None:
    """It was never accepted: whoever sent it got no answer."""
    left = tmp_path / "data" / "jobs" / "job-left"
    left.mkdir(parents=True)
    body = tmp_path / "data" / "uploads" / "half"
    body.parent.mkdir()
    body.write_text(json.dumps({}))
    async with (
        ScriptedChatServer() as server,
        deployment(tmp_path, catalogue(server)),
    ):
        assert not left.exists()
        assert not body.exists()
