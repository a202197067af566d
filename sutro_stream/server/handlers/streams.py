"""The progress of a job, line by line while it runs."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
from aiohttp import hdrs, web

from sutro_stream.server.context import STREAMS, account_of, deployment_of
from sutro_stream.values.job import Job, JobProgress, JobState
from sutro_stream.wire.progress import HEARTBEAT, progress_line, tokens_line

_QUIET_S = 10.0
_PAUSE_S = 0.25


async def stream_progress(request: web.Request) -> web.StreamResponse:
    """Send what changes, from a first picture of how it stands to the end.

    At most four times a second, and a heartbeat where ten seconds pass without a
    change. Ends once the job is final, and when the server stops.
    """
    job_id = request.match_info["job_id"]
    await deployment_of(request).job(account_of(request), job_id)
    response = web.StreamResponse(
        headers={
            hdrs.CONTENT_TYPE: "application/x-ndjson",
            hdrs.CACHE_CONTROL: "no-store",
            # Proxies would collect lines until they have a page of them.
            "X-Accel-Buffering": "no",
        }
    )
    await response.prepare(request)
    with request.app[STREAMS].stream():
        await _follow(request, response, job_id)
    await response.write_eof()
    return response


async def _follow(
    request: web.Request, response: web.StreamResponse, job_id: str
) -> None:
    deployment, account = deployment_of(request), account_of(request)
    seen = _Seen()
    with deployment.watch(job_id) as news:
        while True:
            job = await deployment.job(account, job_id)
            lines = b"".join(seen.news(job, deployment.progress(job)))
            if lines:
                await response.write(lines)
            if job.state.is_final:
                return
            # What happens meanwhile is one change.
            await anyio.sleep(_PAUSE_S)
            if not await news.next(_QUIET_S - _PAUSE_S):
                await response.write(HEARTBEAT)


class _Seen:
    """What a client knows already."""

    def __init__(self) -> None:
        self._rows = -1
        self._tokens: tuple[int, int] | None = None

    def news(self, job: Job, progress: JobProgress) -> Iterator[bytes]:
        """Lines for what has changed; rows never go back."""
        rows = progress.rows
        if job.state is JobState.SUCCEEDED and job.rows is not None:
            # Clients take the job for done only when all of them are.
            rows = job.rows
        if rows > self._rows:
            self._rows = rows
            yield progress_line(rows)
        tokens = (progress.input_tokens, progress.output_tokens)
        if tokens != self._tokens:
            self._tokens = tokens
            yield tokens_line(progress)
