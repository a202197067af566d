"""Submitting, looking at and cancelling jobs."""

from __future__ import annotations

from aiohttp import web

from sutro_stream.jobs.folder import DataFolder
from sutro_stream.server.context import JOB_ID, SETTINGS, account_of, deployment_of
from sutro_stream.server.receiving import body_file
from sutro_stream.server.sending import plain_reply, reply
from sutro_stream.wire import replies
from sutro_stream.wire.cursor import encode_cursor
from sutro_stream.wire.idempotency import parse_idempotency_key
from sutro_stream.wire.query import parse_list_query
from sutro_stream.wire.routes import IDEMPOTENCY_HEADER


async def submit(request: web.Request) -> web.Response:
    """Accept a job; once this is answered it survives whatever happens here."""
    deployment, config = deployment_of(request), request.app[SETTINGS].service
    key = parse_idempotency_key(request.headers.get(IDEMPOTENCY_HEADER))
    # More than the limit is refused for that, below.
    coming_bytes = min(request.content_length or 0, config.max_body_bytes)
    await deployment.check_room(coming_bytes)
    uploads = DataFolder(config.data_dir).uploads
    async with body_file(request, uploads, limit_bytes=config.max_body_bytes) as body:
        job = await deployment.submit(account_of(request), body, key)
    request[JOB_ID] = job.job_id
    return plain_reply(replies.submitted(job.job_id))


async def submission(request: web.Request) -> web.Response:
    """What became of a submission with a key of its own."""
    key = parse_idempotency_key(request.match_info["idempotency_key"])
    if key is None:
        raise AssertionError
    found = await deployment_of(request).submission(account_of(request), key)
    return plain_reply(
        replies.submission_status(
            key,
            status=found.state,
            retryable=found.retryable,
            job_id=found.job_id,
            detail=found.detail,
        )
    )


async def job_status(request: web.Request) -> web.Response:
    """Where a job stands; never compressed, as a client of these asks for."""
    job_id = request.match_info["job_id"]
    found = await deployment_of(request).job(account_of(request), job_id)
    return plain_reply(replies.job_status(found))


async def job(request: web.Request) -> web.Response:
    """All about a job; never compressed."""
    job_id = request.match_info["job_id"]
    found = await deployment_of(request).job(account_of(request), job_id)
    return plain_reply(replies.job(found))


async def list_jobs(request: web.Request) -> web.Response:
    """The account's jobs, newest first: all of them, or a page."""
    query = parse_list_query(request.query)
    found, following = await deployment_of(request).jobs(
        account_of(request), query.limit, query.cursor
    )
    if query.limit is None:
        return reply(request, replies.jobs_listed(found))
    cursor = None if following is None else encode_cursor(following)
    return reply(request, replies.jobs_page(found, next_cursor=cursor))


async def cancel_job(request: web.Request) -> web.Response:
    """Ask for a job's end; it comes within seconds."""
    job_id = request.match_info["job_id"]
    accepted, found = await deployment_of(request).cancel(account_of(request), job_id)
    return plain_reply(replies.cancelled(found, accepted=accepted))
