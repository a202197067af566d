"""A deployment in memory whose replies a test decides, for clients and their faults."""

from __future__ import annotations

import io
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import anyio
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from aiohttp import hdrs, web
from yarl import URL

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

KEY = "sk_scripted"
"""The API key of every scripted deployment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to one request instead of the usual.

    Attributes:
        status: Of the reply; `None` cuts the connection.
        body: Of the reply.
        headers: Of the reply.
        acts: Whether what was asked for is done nevertheless.
    """

    status: int | None = None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    acts: bool = False


@dataclass(slots=True, kw_only=True)
class ScriptedJob:
    """A job.

    Attributes:
        job_id: Its ID.
        body: Of the submission, as it was sent.
        key: Idempotency key it was sent under, `None` for none.
        status: As it is told.
        failure: Reason that is told.
        outputs: Its results.
    """

    job_id: str
    body: Mapping[str, Any]
    key: str | None
    status: str
    failure: str | None = None
    outputs: list[Any] = field(default_factory=list)


class ScriptedDeployment:
    """Answers the routes that a client of a deployment needs.

    Used inside `async with`. Concurrency: one event loop.

    Attributes:
        jobs: All of them by ID, oldest first.
        requests: How often each route was asked for, by its name.
        faults: What happens to the next requests of a route.
        seen_authorization: Values of the header, by route.
        is_holding: Whether new jobs run until `release`.
        knows_keys: Whether it honours idempotency keys, and tells of them.
        streams: Whether it tells of progress until a job has ended; otherwise its
            streams end at once.
        words: Statuses that are told before the true one, one for each look.
        cut_after: Bytes of a file after which the next connections are cut, one for
            each.
        most_running: Most jobs that ran at once.
        url: Its address, without `/v1`.
    """

    def __init__(
        self,
        answer: Callable[[Any], Any] = lambda row: f"echo: {row}",
        *,
        is_holding: bool = False,
        knows_keys: bool = True,
        streams: bool = True,
    ) -> None:
        self._answer = answer
        self.is_holding = is_holding
        self.knows_keys = knows_keys
        self.streams = streams
        self.jobs: dict[str, ScriptedJob] = {}
        self.requests: Counter[str] = Counter()
        self.faults: dict[str, deque[Fault]] = {}
        self.seen_authorization: dict[str, set[str | None]] = {}
        self.words: deque[str] = deque()
        self.cut_after: deque[int] = deque()
        self.most_running = 0
        self._changed = anyio.Condition()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        app = web.Application(client_max_size=1 << 30)
        for name, method, path, handler in self._routes():
            app.router.add_route(method, path, self._wrapped(name, handler))
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        if self._runner is not None:
            with anyio.CancelScope(shield=True):
                await self._runner.cleanup()

    def fail(self, route: str, *faults: Fault) -> None:
        """Let the next requests of a route go wrong.

        Args:
            route: `submit`, `status`, `job`, `progress`, `results`, `link`, `file`,
                `cancel`, `submission` or `list`.
            faults: One for each request.
        """
        self.faults.setdefault(route, deque()).extend(faults)

    def running(self) -> list[ScriptedJob]:
        """Jobs that have not ended."""
        return [job for job in self.jobs.values() if job.status == "RUNNING"]

    async def release(self, *, status: str = "SUCCEEDED", failure: str = "") -> None:
        """Let the jobs that run end, and those to come end at once."""
        async with self._changed:
            self.is_holding = False
            for job in self.running():
                job.status, job.failure = status, failure or None
            self._changed.notify_all()

    async def end(self, job: ScriptedJob, *, status: str, failure: str = "") -> None:
        """Let one job end."""
        async with self._changed:
            job.status, job.failure = status, failure or None
            self._changed.notify_all()

    async def wait_until(self, is_so: Callable[[ScriptedDeployment], bool]) -> None:
        """Wait for something to be true of the deployment."""
        with anyio.fail_after(20):
            async with self._changed:
                while not is_so(self):
                    await self._changed.wait()

    def _routes(self) -> list[tuple[str, str, str, _Handler]]:
        v1 = "/v1"
        return [
            ("submit", "POST", f"{v1}/batch-inference", self._submit),
            ("status", "GET", f"{v1}/job-status/{{job_id}}", self._status),
            ("job", "GET", f"{v1}/jobs/{{job_id}}", self._job),
            ("progress", "GET", f"{v1}/stream-job-progress/{{job_id}}", self._progress),
            ("cancel", "GET", f"{v1}/job-cancel/{{job_id}}", self._cancel),
            ("results", "POST", f"{v1}/job-results", self._results),
            ("link", "GET", f"{v1}/jobs/{{job_id}}/results-url", self._link),
            ("file", "GET", "/files/{job_id}", self._file),
            ("submission", "GET", f"{v1}/batch-submissions/{{key}}", self._submission),
            ("list", "GET", f"{v1}/list-jobs", self._list),
        ]

    def _wrapped(self, name: str, handler: _Handler) -> _Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.requests[name] += 1
            given = request.headers.get(hdrs.AUTHORIZATION)
            self.seen_authorization.setdefault(name, set()).add(given)
            faults = self.faults.get(name)
            fault = faults.popleft() if faults else None
            response: web.StreamResponse | None = None
            if fault is None or fault.acts:
                response = await self._authorized(name, given, request, handler)
            async with self._changed:
                self._changed.notify_all()
            if fault is None:
                if response is None:
                    raise AssertionError
                return response
            if fault.status is None:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()
            return web.Response(
                status=fault.status, body=fault.body, headers=fault.headers
            )

        return handle

    async def _authorized(
        self, name: str, given: str | None, request: web.Request, handler: _Handler
    ) -> web.StreamResponse:
        if name != "file" and given != f"Key {KEY}":
            return _json({"detail": "the key is not valid"}, status=401)
        return await handler(request)

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        key = request.headers.get("Idempotency-Key")
        if key is not None and self.knows_keys:
            known = self._under(key)
            if known is not None:
                return _json({"results": known.job_id})
        job = ScriptedJob(
            job_id=f"job-{uuid.uuid4()}",
            body=body,
            key=key,
            status="RUNNING" if self.is_holding else "SUCCEEDED",
            outputs=[self._answer(row) for row in body["inputs"]],
        )
        self.jobs[job.job_id] = job
        self.most_running = max(self.most_running, len(self.running()))
        return _json({"results": job.job_id})

    async def _status(self, request: web.Request) -> web.StreamResponse:
        job = self._found(request)
        word = self.words.popleft() if self.words else job.status
        return _json({"job_status": {job.job_id: word}})

    async def _job(self, request: web.Request) -> web.StreamResponse:
        return _json({"job": self._fields(self._found(request))})

    async def _list(self, _: web.Request) -> web.StreamResponse:
        jobs = [self._fields(job) for job in reversed(self.jobs.values())]
        return _json({"jobs": jobs, "next_cursor": None})

    async def _progress(self, request: web.Request) -> web.StreamResponse:
        job = self._found(request)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"update_type":"progress","result":0}\n')
        if self.streams:
            async with self._changed:
                while job.status == "RUNNING":
                    await self._changed.wait()
        return response

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        job = self._found(request)
        was_running = job.status == "RUNNING"
        if was_running:
            await self.end(job, status="CANCELLED")
        return _json({"cancelled": was_running})

    async def _results(self, request: web.Request) -> web.StreamResponse:
        job = self.jobs.get(orjson.loads(await request.read())["job_id"])
        if job is None:
            raise web.HTTPNotFound(text='{"detail":"no such job"}')
        return _json({"results": {"outputs": job.outputs}})

    async def _link(self, request: web.Request) -> web.StreamResponse:
        job = self._found(request)
        url = URL(self.url).with_path(f"/files/{job.job_id}").with_query(signature="s")
        size = len(_parquet(job))
        return _json({"urls": {"get": str(url)}, "artifact": {"size_bytes": size}})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        data = _parquet(self._found(request))
        headers = {hdrs.ETAG: '"v1"'}
        given = request.headers.get(hdrs.RANGE)
        start, status = 0, 200
        if given is not None and request.headers.get(hdrs.IF_RANGE) == '"v1"':
            start, status = int(given.removeprefix("bytes=").removesuffix("-")), 206
            headers[hdrs.CONTENT_RANGE] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        headers[hdrs.CONTENT_LENGTH] = str(len(data) - start)
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        if self.cut_after:
            await response.write(data[start : start + self.cut_after.popleft()])
            if request.transport is not None:
                request.transport.close()
            return response
        await response.write(data[start:])
        return response

    async def _submission(self, request: web.Request) -> web.StreamResponse:
        if not self.knows_keys:
            return _json({"detail": "Not Found"}, status=404)
        job = self._under(request.match_info["key"])
        if job is None:
            fields = {"detail": "no submission", "code": "submission_not_found"}
            return _json(fields, status=404)
        return _json({"status": "ACCEPTED", "retryable": False, "job_id": job.job_id})

    def _under(self, key: str) -> ScriptedJob | None:
        return next((job for job in self.jobs.values() if job.key == key), None)

    def _found(self, request: web.Request) -> ScriptedJob:
        job = self.jobs.get(request.match_info["job_id"])
        if job is None:
            raise web.HTTPNotFound(text='{"detail":"no such job"}')
        return job

    def _fields(self, job: ScriptedJob) -> dict[str, Any]:
        failure = None if job.failure is None else {"message": job.failure}
        return {
            "job_id": job.job_id,
            "status": job.status,
            "num_rows": len(job.outputs),
            "input_tokens": len(job.outputs),
            "output_tokens": len(job.outputs),
            "failure_reason": failure,
        }


def _json(fields: Mapping[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=orjson.dumps(fields), content_type="application/json"
    )


def _parquet(job: ScriptedJob) -> bytes:
    file = io.BytesIO()
    outputs = pa.array(job.outputs, pa.large_string())
    pq.write_table(pa.table({"outputs": outputs}), file)
    return file.getvalue()
