"""A client of a deployment, and everything that can go wrong between them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import polars as pl
import pytest

import sutro_stream as ss
from sutro_stream.testing.scripted_deployment import (
    KEY,
    Fault,
    ScriptedDeployment,
)

QUICK = ss.RetryPolicy(attempts=4, first_delay_s=0.01, longest_delay_s=0.02)
CUT = Fault(acts=True)
HTML = b"<html><body>Bad gateway</body></html>"


@pytest.fixture
async def server() -> AsyncIterator[ScriptedDeployment]:
    """A deployment that answers at once."""
    async with ScriptedDeployment() as server:
        yield server


@pytest.fixture
async def client(server: ScriptedDeployment) -> AsyncIterator[ss.Deployment]:
    """A client that does not wait long."""
    async with ss.Deployment(server.url, KEY, retry=QUICK) as client:
        yield client


async def test_a_job_from_its_rows_to_its_results(client: ss.Deployment) -> None:
    """Submit, wait, fetch."""
    job_id = await client.submit(["a", "b"], ss.Submission(model="m"))
    ended = await client.wait(job_id)
    assert ended.state is ss.JobState.SUCCEEDED
    assert (await client.job(job_id)).rows == 2
    assert await client.results(job_id) == {"outputs": ["echo: a", "echo: b"]}


async def test_a_large_body_arrives_whole(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """Also one that does not go out in one piece, and goes out twice."""
    server.fail("submit", Fault(status=503))
    rows = [f"{number} {'x' * 1000}" for number in range(2000)]
    await client.submit(rows)
    (job,) = server.jobs.values()
    assert job.body["inputs"] == rows


async def test_the_key_is_sent_as_sutro_wants_it(
    server: ScriptedDeployment, client: ss.Deployment, tmp_path: Path
) -> None:
    """To the deployment, and not to where files lie."""
    job_id = await client.submit(["a"])
    await client.download_results(job_id, tmp_path / "out.parquet")
    assert server.seen_authorization["submit"] == {f"Key {KEY}"}
    assert server.seen_authorization["file"] == {None}


@pytest.mark.parametrize(
    "fault",
    [
        CUT,
        Fault(status=500, body=HTML, acts=True),
        Fault(status=502, body=b"", acts=True),
        Fault(status=524, body=HTML, acts=True),
        Fault(status=408, acts=True),
        Fault(status=200, body=HTML, acts=True),
    ],
    ids=["cut", "500", "502", "524", "408", "html"],
)
async def test_an_answer_that_is_lost_makes_no_second_job(
    server: ScriptedDeployment, client: ss.Deployment, fault: Fault
) -> None:
    """The deployment is asked what became of the submission."""
    server.fail("submit", fault)
    job_id = await client.submit(["a"])
    assert list(server.jobs) == [job_id]
    assert server.requests["submit"] == 1
    assert server.requests["submission"] == 1


@pytest.mark.parametrize("fault", [Fault(), Fault(status=503)], ids=["cut", "503"])
async def test_a_submission_that_did_not_arrive_is_sent_again(
    server: ScriptedDeployment, client: ss.Deployment, fault: Fault
) -> None:
    """Once the deployment says that it has none under the key."""
    server.fail("submit", fault)
    job_id = await client.submit(["a"])
    assert list(server.jobs) == [job_id]
    assert server.requests["submit"] == 2


async def test_a_deployment_that_cannot_tell_gets_nothing_twice(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """Whether there is a job is for a person to find out."""
    server.knows_keys = False
    server.fail("submit", CUT)
    with pytest.raises(ss.UncertainSubmissionError) as caught:
        await client.submit(["a"])
    assert not caught.value.is_traceable
    assert server.requests["submit"] == 1


async def test_an_earlier_key_shows_whether_keys_are_honoured(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """So "not found" can mean that the key is not known."""
    await client.submit(["a"])
    server.fail("submit", Fault())
    server.fail("submission", Fault(status=404, body=b'{"detail":"Not Found"}'))
    await client.submit(["b"])
    assert len(server.jobs) == 2


async def test_the_fate_of_a_submission_can_be_asked_later(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """While the deployment does not answer, nothing is sent again."""
    server.fail("submit", CUT)
    server.fail("submission", *[Fault(status=503)] * 3)
    key = str(uuid.uuid4())
    with pytest.raises(ss.UncertainSubmissionError) as caught:
        await client.submit(["a"], idempotency_key=key)
    assert caught.value.is_traceable
    assert caught.value.idempotency_key == key
    found = await client.submission(key)
    assert found is not None
    assert [found.job_id] == list(server.jobs)


async def test_a_busy_deployment_is_asked_again(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """It has taken nothing, so there is nothing to find out."""
    busy = Fault(status=429, headers={"Retry-After": "0"})
    server.fail("submit", busy, busy)
    await client.submit(["a"])
    assert (server.requests["submit"], server.requests["submission"]) == (3, 0)


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        (Fault(status=401, body=HTML), ss.AuthenticationError, "API key"),
        (
            Fault(status=403, body=b'{"detail":"rows","code":"quota_exceeded"}'),
            ss.QuotaError,
            "rows",
        ),
        (Fault(status=403, body=b"{}"), ss.AuthenticationError, "API key"),
        (Fault(status=404, body=b'{"message":"no m"}'), ss.NotFoundError, "no m"),
        (Fault(status=413, body=HTML), ss.ServiceError, "413"),
        (
            Fault(status=422, body=b'{"detail":[{"loc":["name"],"msg":"long"}]}'),
            ss.ServiceError,
            "name: long",
        ),
        (
            Fault(status=409, body=b'{"code":"idempotency_conflict"}'),
            ss.ServiceError,
            "409",
        ),
        (
            Fault(status=307, headers={"Location": "https://other/?k=secret"}),
            ss.ProtocolError,
            "redirect",
        ),
    ],
    ids=["401", "quota", "403", "404", "413", "422", "409", "307"],
)
async def test_a_refusal_is_final(
    server: ScriptedDeployment,
    client: ss.Deployment,
    fault: Fault,
    kind: type[Exception],
    text: str,
) -> None:
    """One request, one error of ours that says what to do, and no secret."""
    server.fail("submit", fault)
    with pytest.raises(kind, match=text) as caught:
        await client.submit(["a"])
    assert server.requests["submit"] == 1
    assert KEY not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "<html>" not in str(caught.value)


async def test_what_can_be_asked_twice_is(
    server: ScriptedDeployment, client: ss.Deployment
) -> None:
    """Through cuts and errors of whoever is in between."""
    job_id = await client.submit(["a"])
    server.fail("results", Fault(), Fault(status=524, body=HTML), Fault(status=409))
    server.fail("job", Fault(status=500))
    assert await client.results(job_id) == {"outputs": ["echo: a"]}
    assert (await client.job(job_id)).rows == 1


async def test_nobody_there(tmp_path: Path) -> None:
    """An address that nobody listens at."""
    async with ScriptedDeployment() as gone:
        url = gone.url
    async with ss.Deployment(url, KEY, retry=QUICK) as client:
        with pytest.raises(ss.TransportError, match="connection refused"):
            await client.submit(["a"])
    assert not list(tmp_path.iterdir())


async def test_waiting_through_a_deployment_that_is_hard_to_follow() -> None:
    """Streams that end, unknown words, errors: the status decides."""
    async with ScriptedDeployment(is_holding=True, streams=False) as server:
        server.fail("progress", Fault(status=500), Fault())
        server.fail("status", Fault(status=500, body=HTML), Fault())
        server.words.extend(["PENDING", "cancelling", "running"])
        async with ss.Deployment(server.url, KEY, retry=QUICK) as client:
            job_id = await client.submit(["a"])
            async with anyio.create_task_group() as tasks:

                async def release() -> None:
                    await server.wait_until(lambda seen: seen.requests["status"] > 6)
                    await server.release()

                tasks.start_soon(release)
                ended = await client.wait(job_id, poll_s=0.01)
    assert ended.state is ss.JobState.SUCCEEDED


async def test_waiting_for_a_job_that_is_not_there(client: ss.Deployment) -> None:
    """One error, and no group of them."""
    with pytest.raises(ss.NotFoundError):
        await client.wait("job-none", poll_s=0.01)


async def test_a_download_goes_on_where_it_was_cut(
    server: ScriptedDeployment, client: ss.Deployment, tmp_path: Path
) -> None:
    """Several times; the file is whole."""
    rows = [f"row {number} {uuid.uuid4()}" for number in range(2000)]
    job_id = await client.submit(rows)
    server.cut_after.extend([30_000, 20_000])
    path = tmp_path / "out.parquet"
    await client.download_results(job_id, path)
    assert pl.read_parquet(path)["outputs"].to_list() == [f"echo: {r}" for r in rows]
    assert server.requests["file"] == 3


async def test_a_link_over_plain_http_is_not_followed(
    server: ScriptedDeployment, client: ss.Deployment, tmp_path: Path
) -> None:
    """And not shown."""
    job_id = await client.submit(["a"])
    body = b'{"urls":{"get":"http://files.example.com/a?signature=secret"}}'
    server.fail("link", Fault(status=200, body=body))
    with pytest.raises(ss.ProtocolError, match="https") as caught:
        await client.download_results(job_id, tmp_path / "out.parquet")
    assert "secret" not in str(caught.value)


async def test_cancelling(server: ScriptedDeployment, client: ss.Deployment) -> None:
    """Once; a job that has ended stays as it is."""
    server.is_holding = True
    job_id = await client.submit(["a"])
    assert await client.cancel(job_id)
    assert not await client.cancel(job_id)
    assert (await client.status(job_id)).state is ss.JobState.CANCELLED


async def test_outside_its_context(server: ScriptedDeployment) -> None:
    """The message says what to do."""
    with pytest.raises(ss.ConfigurationError, match="async with"):
        await ss.Deployment(server.url, KEY).quotas()


@pytest.mark.parametrize("key", ["", "  ", "sk_\na", "schlüssel"])
def test_what_is_no_key(key: str) -> None:
    """It is not shown."""
    with pytest.raises(ss.ConfigurationError, match="key") as caught:
        ss.Deployment("https://batch.example.com", key)
    assert not key.strip() or key not in str(caught.value)
