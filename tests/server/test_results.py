"""Results as JSON, as files and by links."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import hdrs
from aiohttp.test_utils import TestClient


async def links_of(client: TestClient[Any, Any], job_id: str, query: str = "") -> Any:
    """The answer that has the links."""
    response = await client.get(f"/v1/jobs/{job_id}/results-url?{query}")
    assert response.status == 200
    return await response.json()


def local(url: str) -> str:
    """A link without its origin."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


@pytest.mark.usefixtures("succeeded")
async def test_results_are_arrays_in_an_object(
    client: TestClient[Any, Any], job_id: str
) -> None:
    """Only what was asked for is there."""
    response = await client.post("/v1/job-results", json={"job_id": job_id})
    assert await response.json() == {
        "results": {"outputs": ["A", None, "C"]},
        "message": "Results retrieved successfully",
    }


@pytest.mark.usefixtures("succeeded")
async def test_results_come_with_their_inputs(
    client: TestClient[Any, Any], job_id: str
) -> None:
    """And with log-probabilities, where asked for."""
    body = {
        "job_id": job_id,
        "include_inputs": True,
        "include_cumulative_logprobs": True,
    }
    found = await (await client.post("/v1/job-results", json=body)).json()
    assert found["results"] == {
        "inputs": ["a", "b", "c"],
        "outputs": ["A", None, "C"],
        "cumulative_logprobs": [None, None, None],
    }


@pytest.mark.usefixtures("succeeded")
async def test_json_can_be_compressed(
    client: TestClient[Any, Any], job_id: str
) -> None:
    """While it is made."""
    response = await client.post(
        "/v1/job-results",
        json={"job_id": job_id},
        headers={hdrs.ACCEPT_ENCODING: "gzip"},
    )
    assert response.headers[hdrs.CONTENT_ENCODING] == "gzip"
    assert (await response.json())["results"]["outputs"] == ["A", None, "C"]


@pytest.mark.usefixtures("succeeded")
async def test_results_by_address_are_not_wrapped(
    client: TestClient[Any, Any], job_id: str
) -> None:
    """Truth values are understood as Python writes them."""
    path = f"/v1/jobs/{job_id}/results?format=json&include_inputs=True"
    assert await (await client.get(path)).json() == {
        "inputs": ["a", "b", "c"],
        "outputs": ["A", None, "C"],
    }


@pytest.mark.usefixtures("succeeded")
async def test_results_as_csv_lie_in_an_archive(
    client: TestClient[Any, Any], job_id: str
) -> None:
    """One file, its outputs named by the job."""
    response = await client.get(f"/v1/jobs/{job_id}/results?result_format=csv")
    archive = zipfile.ZipFile(io.BytesIO(await response.read()))
    assert response.content_type == "application/zip"
    assert archive.namelist() == [f"{job_id}.csv"]
    assert archive.read(f"{job_id}.csv").startswith(f'"{job_id}"'.encode())


async def test_results_as_parquet(
    client: TestClient[Any, Any], job_id: str, succeeded: pa.Table
) -> None:
    """The table itself."""
    path = f"/v1/jobs/{job_id}/results?format=parquet&include_inputs=true"
    raw = await (await client.get(path)).read()
    assert pq.read_table(io.BytesIO(raw)).equals(succeeded)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/job-results"),
        ("GET", "/v1/jobs/{}/results?format=json"),
        ("GET", "/v1/jobs/{}/results-url"),
    ],
)
async def test_a_job_that_has_not_succeeded_has_no_results(
    client: TestClient[Any, Any], job_id: str, method: str, path: str
) -> None:
    """409, so that a client asks again."""
    body = {"job_id": job_id} if method == "POST" else None
    response = await client.request(method, path.format(job_id), json=body)
    assert response.status == 409


@pytest.mark.parametrize("query", ["", "format=xlsx"])
async def test_an_unknown_format_is_refused(
    client: TestClient[Any, Any], job_id: str, query: str
) -> None:
    """With 400."""
    assert (await client.get(f"/v1/jobs/{job_id}/results?{query}")).status == 400


@pytest.mark.parametrize(
    ("body", "status"),
    [("", 400), ("{", 400), ("[]", 422), ("{}", 422), ('{"job_id": 1}', 422)],
)
async def test_a_request_for_results_names_the_job(
    client: TestClient[Any, Any], body: str, status: int
) -> None:
    """As text in a JSON object."""
    assert (await client.post("/v1/job-results", data=body)).status == status


async def test_links_need_no_key(
    client: TestClient[Any, Any],
    stranger: TestClient[Any, Any],
    job_id: str,
    succeeded: pa.Table,
) -> None:
    """HEAD tells size and tag, GET gives the file that the SDK would store."""
    told = await links_of(client, job_id, "include_inputs=True&expires_in_seconds=60")
    head = await stranger.head(local(told["urls"]["head"]), allow_redirects=False)
    get = await stranger.get(local(told["urls"]["get"]))
    raw = await get.read()
    assert (head.status, get.status) == (200, 200)
    assert head.headers[hdrs.CONTENT_LENGTH] == f"{len(raw)}"
    assert told["artifact"]["size_bytes"] == len(raw)
    assert head.headers[hdrs.ETAG] == get.headers[hdrs.ETAG]
    assert hdrs.CONTENT_ENCODING not in get.headers
    assert pq.read_table(io.BytesIO(raw)).equals(succeeded)
    name = f"sutro-results~{job_id}~inputs=1~logprobs=0.parquet"
    assert told["artifact"]["filename"] == name
    assert told["expires_in_seconds"] == 60


@pytest.mark.usefixtures("succeeded")
async def test_a_download_goes_on_where_it_stopped(
    client: TestClient[Any, Any], job_id: str
) -> None:
    """While the file is the same."""
    link = local((await links_of(client, job_id))["urls"]["get"])
    whole = await client.get(link)
    raw, etag = await whole.read(), whole.headers[hdrs.ETAG]
    headers = {hdrs.RANGE: "bytes=10-", hdrs.IF_RANGE: etag}
    rest = await client.get(link, headers=headers)
    assert rest.status == 206
    assert rest.headers[hdrs.ETAG] == etag
    assert rest.headers[hdrs.CONTENT_RANGE] == f"bytes 10-{len(raw) - 1}/{len(raw)}"
    assert await rest.read() == raw[10:]
    headers[hdrs.IF_RANGE] = '"another"'
    assert await (await client.get(link, headers=headers)).read() == raw


@pytest.mark.usefixtures("succeeded")
async def test_a_range_behind_the_end_is_refused(
    client: TestClient[Any, Any], job_id: str
) -> None:
    """With the size, as JSON like every error."""
    told = await links_of(client, job_id)
    size_bytes = told["artifact"]["size_bytes"]
    response = await client.get(
        local(told["urls"]["get"]), headers={hdrs.RANGE: f"bytes={size_bytes}-"}
    )
    assert response.status == 416
    assert response.headers[hdrs.CONTENT_RANGE] == f"bytes */{size_bytes}"
    assert (await response.json())["code"] == "range_not_satisfiable"


@pytest.mark.usefixtures("succeeded")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("jobs/alice/", "jobs/bob/"),
        ("inputs%3D0", "inputs%3D1"),
        ("signature=", "signature=x"),
        ("signature=", "signed="),
        ("expires=", "expires=9"),
        ("expires=", "expires=x"),
    ],
)
async def test_a_changed_link_leads_nowhere(
    client: TestClient[Any, Any], job_id: str, old: str, new: str
) -> None:
    """403, with or without a key."""
    link = local((await links_of(client, job_id))["urls"]["get"])
    assert old in link
    response = await client.get(link.replace(old, new))
    assert response.status == 403
    assert (await response.json())["code"] == "invalid_link"


@pytest.mark.usefixtures("succeeded")
async def test_a_link_is_for_one_method(
    client: TestClient[Any, Any], job_id: str
) -> None:
    """The one for HEAD does not give the file."""
    urls = (await links_of(client, job_id))["urls"]
    assert (await client.get(local(urls["head"]))).status == 403
    assert (await client.head(local(urls["get"]))).status == 403


@pytest.mark.usefixtures("succeeded")
async def test_links_lie_where_they_were_asked_for(
    client: TestClient[Any, Any], job_id: str
) -> None:
    """Same origin, same prefix."""
    told = await (await client.get(f"/jobs/{job_id}/results-url")).json()
    assert told["urls"]["get"].startswith(f"{client.make_url('/artifacts/')}")


@pytest.mark.usefixtures("succeeded")
async def test_a_proxy_is_not_believed_unless_told_so(
    client: TestClient[Any, Any], job_id: str
) -> None:
    """Anybody can send its headers."""
    response = await client.get(
        f"/v1/jobs/{job_id}/results-url",
        headers={"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"},
    )
    assert "evil.example" not in json.dumps(await response.json())


@pytest.mark.parametrize(
    "query",
    ["format=csv", "expires_in_seconds=0", "expires_in_seconds=604801"],
)
@pytest.mark.usefixtures("succeeded")
async def test_impossible_links_are_refused(
    client: TestClient[Any, Any], job_id: str, query: str
) -> None:
    """Other formats with 400, times out of range with 422."""
    response = await client.get(f"/v1/jobs/{job_id}/results-url?{query}")
    assert response.status == (400 if "format" in query else 422)
