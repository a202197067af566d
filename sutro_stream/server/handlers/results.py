"""A job's results: as JSON, as files, and by links that need no key."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import quote, urlencode

from aiohttp import hdrs, web
from anyio import to_thread

from sutro_stream.jobs.artifacts import Artifact
from sutro_stream.jobs.result_table import Selection
from sutro_stream.server.context import MAKERS, SETTINGS, account_of, deployment_of
from sutro_stream.server.receiving import small_body
from sutro_stream.server.sending import plain_reply, send_file, send_parts
from sutro_stream.wire import replies
from sutro_stream.wire.api_error import ApiError
from sutro_stream.wire.query import (
    ResultsFormat,
    parse_results_query,
    parse_results_url_query,
)
from sutro_stream.wire.requests import parse_results_request

PARQUET_TYPE = "application/vnd.apache.parquet"
_ZIP_TYPE = "application/zip"


async def job_results(request: web.Request) -> web.StreamResponse:
    """Results as the SDK reads them."""
    asked = parse_results_request(await small_body(request))
    results = await deployment_of(request).results(account_of(request), asked.job_id)
    selection = Selection(
        inputs=asked.include_inputs, logprobs=asked.include_cumulative_logprobs
    )
    return await send_parts(request, results.enveloped_json(selection))


async def results(request: web.Request) -> web.StreamResponse:
    """Results in one of three formats."""
    query = parse_results_query(request.query)
    job_id = request.match_info["job_id"]
    found = await deployment_of(request).results(account_of(request), job_id)
    selection = Selection(
        inputs=query.include_inputs, logprobs=query.include_cumulative_logprobs
    )
    if query.format is ResultsFormat.JSON:
        return await send_parts(request, found.json(selection))
    if query.format is ResultsFormat.CSV:
        artifact = await _made(request, found.csv_zip, selection)
        return await send_file(request, artifact, content_type=_ZIP_TYPE)
    artifact = await _made(request, found.parquet, selection)
    return await send_file(request, artifact, content_type=PARQUET_TYPE)


async def results_url(request: web.Request) -> web.Response:
    """Links to the results as Parquet, for a while."""
    query = parse_results_url_query(request.query)
    job_id, account = request.match_info["job_id"], account_of(request)
    found = await deployment_of(request).results(account, job_id)
    selection = Selection(
        inputs=query.include_inputs, logprobs=query.include_cumulative_logprobs
    )
    artifact = await _made(request, found.parquet, selection)
    key = f"jobs/{account}/{job_id}/results/{artifact.filename}"
    expires_at = int(time.time()) + query.expires_in_s
    return plain_reply(
        replies.results_url(
            job_id,
            query,
            key=key,
            filename=artifact.filename,
            size_bytes=artifact.size_bytes,
            get_url=_link(request, hdrs.METH_GET, key, expires_at),
            head_url=_link(request, hdrs.METH_HEAD, key, expires_at),
        )
    )


async def linked_file(request: web.Request) -> web.StreamResponse:
    """What a link leads to; whoever has the link may have it."""
    account, job_id, filename = _signed_key(request)
    found = await deployment_of(request).results(account, job_id)
    artifact = await to_thread.run_sync(found.artifact, filename)
    if artifact is None:
        raise ApiError(404, "expired", "the results were removed")
    return await send_file(request, artifact, content_type=PARQUET_TYPE)


async def _made(
    request: web.Request, make: Callable[[Selection], Artifact], selection: Selection
) -> Artifact:
    # Making one takes minutes at worst, and others wait for it. With threads of
    # their own they hold up nothing else.
    makers = request.app[MAKERS]
    return await to_thread.run_sync(make, selection, limiter=makers)


def _signed_key(request: web.Request) -> tuple[str, str, str]:
    """Account, job and file of a link, if its signature is right."""
    key = request.match_info["key"]
    signature = request.query.get("signature", "")
    expires = request.query.get("expires", "")
    parts = key.split("/")
    if (
        len(expires) > 15
        or not (expires.isascii() and expires.isdecimal())
        or not deployment_of(request).verify(
            signature, method=request.method, key=key, expires_at=int(expires)
        )
        or len(parts) != 5
    ):
        raise ApiError(
            403,
            "invalid_link",
            "the link has expired, or was not made here; get a "
            "new one from results-url",
        )
    _, account, job_id, _, filename = parts
    return account, job_id, filename


def _link(request: web.Request, method: str, key: str, expires_at: int) -> str:
    signature = deployment_of(request).sign(
        method=method, key=key, expires_at=expires_at
    )
    query = urlencode({"expires": expires_at, "signature": signature})
    # Mounted wherever it may be, the routes lie beside each other.
    mount = request.rel_url.raw_path.rpartition("/jobs/")[0]
    return f"{_origin(request)}{mount}/artifacts/{quote(key)}?{query}"


def _origin(request: web.Request) -> str:
    server = request.app[SETTINGS].server
    if server.public_url is not None:
        return server.public_url
    scheme, host = request.scheme, request.host
    if server.trust_forwarded:
        scheme = _first(request, hdrs.X_FORWARDED_PROTO) or scheme
        host = _first(request, hdrs.X_FORWARDED_HOST) or host
    return f"{scheme}://{host}"


def _first(request: web.Request, header: str) -> str:
    return request.headers.get(header, "").partition(",")[0].strip()
