"""Rows answered by a deployment: in jobs of many, several at once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import anyio
import pyarrow as pa
import pytest

import sutro_stream as ss
from sutro_stream.testing.scripted_deployment import (
    KEY,
    Fault,
    ScriptedDeployment,
    ScriptedJob,
)

QUICK = ss.RetryPolicy(attempts=4, first_delay_s=0.01, longest_delay_s=0.02)
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string"}},
    "required": ["label"],
}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedDeployment]:
    """A deployment that answers at once."""
    async with ScriptedDeployment() as server:
        yield server


@pytest.fixture
async def client(server: ScriptedDeployment) -> AsyncIterator[ss.Deployment]:
    """A client of it."""
    async with ss.Deployment(server.url, KEY) as client:
        yield client


def texts(count: int) -> list[str]:
    """Distinct prompts."""
    return [f"t{number}" for number in range(count)]


def pipeline_of(
    client: ss.Deployment, rows: Sequence[Any], **arguments: Any
) -> ss.Pipeline[ss.Result]:
    """Prompts to answers in jobs of ten."""
    given: dict[str, Any] = {"batch_rows": 10, "retry": QUICK, "poll_s": 0.05}
    given |= arguments
    return ss.from_rows(rows) | ss.prompts() | ss.submit(client, "m", **given)


async def collected(pipeline: ss.Pipeline[ss.Result]) -> list[ss.Result]:
    """All results."""
    async with pipeline.open() as results:
        return [result async for result in results]


def sizes(server: ScriptedDeployment) -> list[int]:
    """Rows of each job."""
    return [len(job.body["inputs"]) for job in server.jobs.values()]


async def test_every_row_has_its_answer_in_order(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """Whatever the size of jobs."""
    results = await collected(pipeline_of(client, texts(35)))
    assert [result.index for result in results] == list(range(35))
    assert [result.output for result in results] == [f"echo: {t}" for t in texts(35)]
    assert sorted(sizes(server)) == [5, 10, 10, 10]


async def test_no_rows_are_no_job(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """And no error."""
    empty = pa.table({"prompt": pa.array([], pa.string())})
    pipeline = ss.from_rows(empty) | ss.prompts() | ss.submit(client, "m")
    assert await collected(pipeline) == []
    assert not server.jobs


async def test_jobs_are_cut_by_size(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """A row that is larger than a job may be has one of its own."""
    rows = ["a" * 10, "b" * 10, "c" * 200, "d"]
    results = await collected(pipeline_of(client, rows, batch_bytes=30))
    assert [result.output for result in results] == [f"echo: {row}" for row in rows]
    assert sorted(sizes(server)) == [1, 1, 2]


async def test_rows_go_as_objects(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """Of the columns wanted, for the deployment to render."""
    rows = [{"query": "q", "region": None, "note": "n"}, {"query": "r", "region": "eu"}]
    submit = ss.submit(client, "f", columns=["query", "region"])
    results = await collected(ss.from_rows(rows) | submit)
    (job,) = server.jobs.values()
    assert job.body["inputs"] == [
        {"query": "q", "region": None},
        {"query": "r", "region": "eu"},
    ]
    assert {"system_prompt", "json_schema"}.isdisjoint(job.body)
    assert results[0].row == {"query": "q", "region": None, "note": "n"}
    assert results[0].prompt is None


async def test_prompts_bring_their_instructions(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """Over them what the stage says."""
    prompts = ss.prompts(
        system_prompt="Be brief.",
        json_schema=SCHEMA,
        sampling_params={"temperature": 0, "top_p": 0.5},
    )
    submit = ss.submit(client, "m", sampling_params={"temperature": 1}, name="n")
    await collected(ss.from_rows(["a"]) | prompts | submit)
    (job,) = server.jobs.values()
    assert job.body == {
        "inputs": ["a"],
        "model": "m",
        "system_prompt": "Be brief.",
        "json_schema": SCHEMA,
        "sampling_params": {"temperature": 1, "top_p": 0.5},
        "job_priority": 1,
        "truncate_rows": False,
        "name": "n",
    }


async def test_a_function_has_its_own_instructions(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """Prompts that were rendered here are sent alone; answers are checked still."""
    prompts = ss.prompts(system_prompt="Be brief.", json_schema=SCHEMA)
    submit = ss.submit(client, "f", send_instructions=False)
    (result,) = await collected(ss.from_rows(["a"]) | prompts | submit)
    (job,) = server.jobs.values()
    assert {"system_prompt", "json_schema"}.isdisjoint(job.body)
    assert result.error is not None
    assert result.error.kind is ss.ErrorKind.INVALID_OUTPUT


async def test_answers_to_rows_can_have_a_form() -> None:
    """Which makes typed columns of them."""
    async with (
        ScriptedDeployment(lambda row: json.dumps({"label": row["q"]})) as server,
        ss.Deployment(server.url, KEY) as client,
    ):
        submit = ss.submit(client, "f", output_schema=SCHEMA)
        async with (ss.from_rows([{"q": "x"}]) | submit).open() as results:
            tables = [batch async for batch in results.batches()]
    assert tables[0].to_pylist() == [
        {"q": "x", "output": '{"label": "x"}', "error": None, "label": "x"}
    ]


async def test_rows_without_an_answer() -> None:
    """They fail, alone."""
    async with (
        ScriptedDeployment(lambda row: None if row == "t1" else row) as server,
        ss.Deployment(server.url, KEY) as client,
    ):
        results = await collected(pipeline_of(client, texts(3)))
    assert [result.output for result in results] == ["t0", None, "t2"]
    assert results[1].error is not None
    assert results[1].error.kind is ss.ErrorKind.NO_ANSWER


async def test_refused_rows_are_not_sent(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """They keep their place."""
    function = ss.Function.validate(
        {"name": "f", "inputs": [{"name": "q"}], "prompt_template": "{{ q }}"}
    )
    rows = [{"q": "a"}, {"q": None}, {"q": "c"}]
    pipeline = ss.from_rows(rows) | ss.render(function) | ss.submit(client, "m")
    results = await collected(pipeline)
    (job,) = server.jobs.values()
    assert job.body["inputs"] == ["a", "c"]
    assert [result.output for result in results] == ["echo: a", None, "echo: c"]


async def test_large_jobs_are_fetched_as_files(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """Whose download goes on where it was cut."""
    server.cut_after.append(10_000)
    rows = texts(5000)
    results = await collected(pipeline_of(client, rows, batch_rows=5000))
    assert [result.output for result in results] == [f"echo: {row}" for row in rows]
    assert (server.requests["results"], server.requests["file"]) == (0, 2)


async def test_so_many_jobs_are_in_flight() -> None:
    """As long as rows remain, and never more."""
    async with (
        ScriptedDeployment(is_holding=True) as server,
        ss.Deployment(server.url, KEY) as client,
        anyio.create_task_group() as tasks,
    ):
        found: list[ss.Result] = []

        async def collect() -> None:
            found.extend(await collected(pipeline_of(client, texts(100))))

        tasks.start_soon(collect)
        for number in range(4, 11):
            await server.wait_until(
                lambda seen, number=number: (
                    len(seen.jobs) == number  # type: ignore[misc]
                    and len(seen.running()) == min(4, 14 - number)
                )
            )
            await server.end(server.running()[0], status="SUCCEEDED")
        await server.release()
    assert server.most_running == 4
    assert len(found) == 100


async def test_a_slow_job_holds_up_only_what_must_wait() -> None:
    """In order, no more than as many jobs again are answered behind it."""
    async with (
        ScriptedDeployment(is_holding=True) as server,
        ss.Deployment(server.url, KEY) as client,
        pipeline_of(client, texts(200), concurrency=2).open() as results,
    ):
        await server.wait_until(lambda seen: len(seen.running()) == 2)
        first, second = server.jobs.values()
        slow = first if first.body["inputs"][0] == "t0" else second
        for number in (2, 3, 4):
            await server.wait_until(lambda seen, n=number: len(seen.jobs) == n)  # type: ignore[misc]
            for job in server.running():
                if job is not slow:
                    await server.end(job, status="SUCCEEDED")
        await anyio.wait_all_tasks_blocked()
        assert len(server.jobs) == 4
        await server.release()
        assert len([result async for result in results]) == 200


async def test_nobody_who_takes_results_holds_up_the_reader(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """Twice as many jobs as can be in flight are made, and no more rows are read."""
    read = 0

    def rows() -> Iterator[str]:
        nonlocal read
        for read in range(1, 100_000):
            yield f"t{read}"

    source = ss.from_rows(rows())
    submit = ss.submit(client, "m", batch_rows=1000, concurrency=2, retry=QUICK)
    async with (source | ss.prompts() | submit).open() as results:
        await server.wait_until(lambda seen: seen.requests["results"] == 4)
        await anyio.wait_all_tasks_blocked()
        assert len(server.jobs) <= 5
        assert read <= 10_000
        assert (await anext(results)).index == 0


async def test_results_as_jobs_end() -> None:
    """Where order does not matter."""
    async with (
        ScriptedDeployment(is_holding=True) as server,
        ss.Deployment(server.url, KEY) as client,
        pipeline_of(client, texts(20), ordered=False).open() as results,
    ):
        await server.wait_until(lambda seen: len(seen.running()) == 2)
        last = next(j for j in server.running() if j.body["inputs"][0] == "t10")
        await server.end(last, status="SUCCEEDED")
        assert (await anext(results)).index == 10
        await server.release()
        assert len([result async for result in results]) == 19


@pytest.mark.parametrize("leave", ["break", "cancel", "error"])
async def test_leaving_cancels_what_runs(leave: str) -> None:
    """Within a moment."""
    async with (
        ScriptedDeployment(is_holding=True) as server,
        ss.Deployment(server.url, KEY) as client,
    ):
        with anyio.CancelScope() as scope:
            try:
                async with pipeline_of(client, texts(100)).open():
                    await server.wait_until(lambda seen: len(seen.running()) == 4)
                    if leave == "cancel":
                        scope.cancel()
                        await anyio.sleep_forever()
                    assert leave == "break"
            except AssertionError:
                assert leave == "error"
        assert [job.status for job in server.jobs.values()] == ["CANCELLED"] * 4


async def test_leaving_while_a_job_is_being_made() -> None:
    """It is found by its key, and cancelled."""
    async with (
        ScriptedDeployment(is_holding=True) as server,
        ss.Deployment(server.url, KEY) as client,
    ):
        patient = ss.RetryPolicy(attempts=9, first_delay_s=60, longest_delay_s=60)
        server.fail("submit", Fault(acts=True))
        pipeline = pipeline_of(client, texts(5), retry=patient)
        async with pipeline.open():
            await server.wait_until(lambda seen: len(seen.jobs) == 1)
            await anyio.wait_all_tasks_blocked()
        assert [job.status for job in server.jobs.values()] == ["CANCELLED"]


async def ended_badly(server: ScriptedDeployment, job: ScriptedJob) -> None:
    """Let one job fail and the others succeed."""
    await server.end(job, status="FAILED", failure="no space left")
    await server.release()


async def test_a_failed_job_fails_its_rows() -> None:
    """With its reason; the others go on."""
    async with (
        ScriptedDeployment(is_holding=True) as server,
        ss.Deployment(server.url, KEY) as client,
        pipeline_of(client, texts(20)).open() as results,
    ):
        await server.wait_until(lambda seen: len(seen.running()) == 2)
        first = next(j for j in server.running() if j.body["inputs"][0] == "t0")
        await ended_badly(server, first)
        found = [result async for result in results]
    errors = [result.error for result in found[:10]]
    assert all(error and error.kind is ss.ErrorKind.JOB_FAILED for error in errors)
    assert "no space left" in str(errors[0])
    assert [result.output for result in found[10:]] == [
        f"echo: {text}" for text in texts(20)[10:]
    ]


async def test_results_that_do_not_fit_their_rows(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """Which belong to which cannot be told, so none is taken."""
    body = b'{"results":{"outputs":["a"]}}'
    server.fail("results", Fault(status=200, body=body))
    results = await collected(pipeline_of(client, texts(2)))
    assert {result.error and result.error.kind for result in results} == {
        ss.ErrorKind.BAD_REPLY
    }


async def test_a_submission_that_may_have_been_made_twice_is_not(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """Its rows fail, where the deployment cannot tell."""
    server.knows_keys = False
    server.fail("submit", Fault(acts=True))
    results = await collected(pipeline_of(client, texts(2)))
    assert {result.error and result.error.kind for result in results} == {
        ss.ErrorKind.UNREACHABLE
    }
    assert len(server.jobs) == 1


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(status=401), ss.AuthenticationError),
        (Fault(status=403, body=b'{"code":"quota_exceeded"}'), ss.QuotaError),
        (Fault(status=404), ss.NotFoundError),
        (Fault(status=422, body=b'{"detail":"sampling_params: n"}'), ss.ServiceError),
    ],
    ids=["401", "quota", "404", "422"],
)
async def test_what_no_row_can_pass_ends_the_run(
    server: ScriptedDeployment,
    client: ss.Deployment,
    fault: Fault,
    kind: type[Exception],
) -> None:
    """At once, as itself."""
    server.fail("submit", *[fault] * 8)
    with pytest.raises(kind):
        await collected(pipeline_of(client, texts(100)))
    assert not server.jobs


async def test_a_refusal_later_on_concerns_its_rows(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """The deployment has taken others."""
    pipeline = pipeline_of(client, texts(20), concurrency=1, ordered=False)
    async with pipeline.open() as results:
        first = await anext(results)
        server.fail("submit", Fault(status=413, body=b'{"detail":"too large"}'))
        found = [first, *[result async for result in results]]
    kinds = {result.error and result.error.kind for result in found[10:]}
    assert kinds <= {ss.ErrorKind.REJECTED, None}
    assert all(result.error is None for result in found[:10])


async def test_a_deployment_that_is_gone_ends_the_run() -> None:
    """When patience is at its end."""
    async with ScriptedDeployment() as gone:
        url = gone.url
    async with ss.Deployment(url, KEY) as client:
        with pytest.raises(ss.TransportError):
            await collected(pipeline_of(client, texts(20)))


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_rows": 0},
        {"batch_bytes": 0},
        {"concurrency": 0},
        {"priority": 2},
        {"poll_s": 0},
        {"sampling_params": {"temperature": -1}},
    ],
    ids=str,
)
def test_numbers_that_make_no_sense(arguments: dict[str, Any]) -> None:
    """Refused before anything is sent."""
    client = ss.Deployment("https://batch.example.com", KEY)
    with pytest.raises(ss.ConfigurationError):
        ss.submit(client, "m", **arguments)


async def test_rows_without_columns(client: ss.Deployment) -> None:
    """There is nothing to send."""
    pipeline = ss.from_rows([{"a": 1}]) | ss.submit(client, "f", columns=[])
    with pytest.raises(ss.ConfigurationError, match="no column to send"):
        await collected(pipeline)


async def test_a_column_that_is_not_there(client: ss.Deployment) -> None:
    """Named, with those that are."""
    pipeline = ss.from_rows([{"a": 1}]) | ss.submit(client, "f", columns=["b"])
    with pytest.raises(ss.ConfigurationError, match="no column 'b'"):
        await collected(pipeline)


async def test_keys_are_escaped_where_they_must_be(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """Columns may have any name."""
    rows = pa.table({'a "quoted"\n': ["x", None], "b\\": [1.5, float("nan")]})
    pipeline = ss.from_rows(rows) | ss.submit(client, "f", retry=QUICK)
    await collected(pipeline)
    (job,) = server.jobs.values()
    assert job.body["inputs"] == [
        {'a "quoted"\n': "x", "b\\": 1.5},
        {'a "quoted"\n': None, "b\\": None},
    ]
