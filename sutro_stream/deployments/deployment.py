"""A Sutro deployment, hosted or one's own, as an object."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from functools import partial
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import hdrs

from sutro_stream.deployments.artifact import ArtifactDownload
from sutro_stream.deployments.exchange import (
    Call,
    Exchange,
    any_failure,
    is_no_conflict,
    persist,
)
from sutro_stream.deployments.failures import was_not_taken
from sutro_stream.deployments.following import OnProgress, ProgressLines, follow
from sutro_stream.deployments.submitting import KeyMemory, Submitting, look_up
from sutro_stream.errors import EngineError
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.wire import routes
from sutro_stream.wire.responses import (
    JobInfo,
    ProgressUpdate,
    Quota,
    SubmissionInfo,
    json_fields,
    parse_cancelled,
    parse_job,
    parse_jobs,
    parse_quotas,
    parse_status,
)
from sutro_stream.wire.result_columns import (
    ResultsLink,
    parse_results,
    parse_results_link,
)
from sutro_stream.wire.submission import Submission
from sutro_stream.wire.submission_body import Body, reference_body, submission_body

_STATUS_TIMEOUT_S = 30.0
# Deployments send a line at least every fifteen seconds.
_STREAM_TIMEOUT_S = 60.0
# A Function has ninety seconds to answer.
_FUNCTION_TIMEOUT_S = 100.0
_PAGE_JOBS = 100


class Deployment:
    """Client of a deployment.

    Used inside `async with`; connections are pooled. What can be asked twice is asked
    again when it fails (busy, down, connection lost), as the policy says. Every
    method raises errors of this package: `AuthenticationError` for a wrong key,
    `QuotaError`, `RateLimitedError`, `NotFoundError` for a job that is not there or
    another account's, `ServiceError` for any other refusal, `TransportError` where
    no answer came, `ProtocolError` where it was none of a deployment's.

    Concurrency: one event loop, any number of tasks.
    """

    def __init__(
        self, api_url: str, api_key: str, *, retry: RetryPolicy | None = None
    ) -> None:
        """Describe the deployment; nothing is opened yet.

        Args:
            api_url: Its origin, with or without `/v1`; https, or http on this machine.
            api_key: Sent to it, and nowhere else.
            retry: When a failed request is sent again, `None` for the defaults.

        Raises:
            ConfigurationError: The address or the key is none.
        """
        self._exchange = Exchange(api_url, api_key)
        self._retry = retry or RetryPolicy()
        self._keys = KeyMemory()

    def __repr__(self) -> str:
        return f"<Deployment {self.name}>"

    @property
    def name(self) -> str:
        """Scheme, host and port."""
        return self._exchange.where

    async def __aenter__(self) -> Self:
        """Open the connection pool; no request is sent."""
        await self._exchange.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections; jobs go on."""
        await self._exchange.close()

    def retrying(self, retry: RetryPolicy) -> Deployment:
        """The same deployment, over the same connections, under another policy."""
        other = copy(self)
        other._retry = retry  # noqa: SLF001 - a copy of our own class
        return other

    async def submit(
        self,
        inputs: Sequence[str] | Sequence[Mapping[str, Any]] | str,
        submission: Submission | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> str:
        """Make a job, once.

        An answer that does not come is no reason to send the rows anew: the
        deployment is asked what became of them, and only if it says that nothing
        did are they sent again.

        Args:
            inputs: Prompts; rows of a Function; or the address of a CSV or Parquet
                file, or the ID of a dataset.
            submission: Model and everything else; `None` for the defaults.
            idempotency_key: A UUID under which the same submission can be repeated;
                `None` makes one.

        Returns:
            The job's ID.

        Cancellation: the job may or may not have been made; `submission` tells.

        Raises:
            UncertainSubmissionError: It is not known whether a job was made.
        """
        asked = submission or Submission()
        if isinstance(inputs, str):
            body = reference_body(asked, inputs)
        else:
            rows = b",".join(map(orjson.dumps, inputs))
            body = submission_body(asked, [rows])
        return await self.submit_body(body, idempotency_key or str(uuid.uuid4()))

    async def submit_body(
        self, body: Body, idempotency_key: str, *, was_sent: bool = False
    ) -> str:
        """Make a job of a body that is written already; see `submit`.

        Args:
            body: From `wire.submission_body`.
            idempotency_key: A UUID.
            was_sent: Whether it may have been sent before; then that is found out
                first.
        """
        submitting = Submitting(
            self._exchange, body, key=idempotency_key, memory=self._keys
        )
        return await submitting.run(self._retry, was_sent=was_sent)

    async def submission(self, idempotency_key: str) -> SubmissionInfo | None:
        """What became of a submission; `None` where none was made under this key.

        Raises:
            UncertainSubmissionError: The deployment cannot tell.
        """
        look = partial(look_up, self._exchange, idempotency_key, self._keys)
        return await persist(look, self._retry, rng=self._exchange.rng)

    async def status(self, job_id: str) -> JobInfo:
        """Where a job stands: status, and the reason if it failed."""
        path = routes.JOB_STATUS.url(job_id=job_id)
        body = await self._get(Call(path=path, timeout_s=_STATUS_TIMEOUT_S))
        return parse_status(body, job_id)

    async def job(self, job_id: str) -> JobInfo:
        """All about a job."""
        path = routes.JOB.url(job_id=job_id)
        return parse_job(await self._get(Call(path=path)))

    async def jobs(
        self, *, limit: int = _PAGE_JOBS, cursor: str | None = None
    ) -> tuple[Sequence[JobInfo], str | None]:
        """A page of the account's jobs, newest first.

        Args:
            limit: Most jobs, 1 to 100.
            cursor: Where the page before ended, `None` for the first.

        Returns:
            The jobs, and the cursor of the next page; `None` at the end.
        """
        query = {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})
        return parse_jobs(
            await self._get(Call(path=routes.LIST_JOBS.url(), query=query))
        )

    @asynccontextmanager
    async def progress(
        self, job_id: str
    ) -> AsyncIterator[AsyncIterator[ProgressUpdate]]:
        """How a job gets on, as it does: `async with deployment.progress(id) as news`.

        The stream may end before the job does; `status` tells.
        """
        path = routes.JOB_PROGRESS.url(job_id=job_id)
        call = Call(path=path, timeout_s=_STREAM_TIMEOUT_S)
        async with self._exchange.response(call) as response:
            yield ProgressLines(response)

    async def wait(
        self,
        job_id: str,
        *,
        poll_s: float = 5.0,
        on_progress: OnProgress | None = None,
    ) -> JobInfo:
        """Wait until a job has ended, well or not.

        Args:
            job_id: The job.
            poll_s: Seconds between two looks at its status; its progress, where the
                deployment streams it, tells of the end at once.
            on_progress: Called with what the progress says.
        """
        return await follow(
            partial(self.status, job_id),
            partial(self.progress, job_id),
            poll_s=poll_s,
            on_progress=on_progress,
        )

    async def cancel(self, job_id: str) -> bool:
        """Ask for a job's end.

        Returns:
            Whether it is being cancelled; `False` if it had ended.
        """
        path = routes.CANCEL_JOB.url(job_id=job_id)
        return parse_cancelled(
            await self._get(Call(path=path, timeout_s=_STATUS_TIMEOUT_S))
        )

    async def results(
        self,
        job_id: str,
        *,
        include_inputs: bool = False,
        include_cumulative_logprobs: bool = False,
    ) -> Mapping[str, Sequence[Any]]:
        """The columns of a job's results, in the order of its rows.

        All of them are in memory; `download_results` is for many.

        Args:
            job_id: A job that has succeeded.
            include_inputs: Whether with the prompts.
            include_cumulative_logprobs: Whether with the log-probabilities.
        """
        asked = {
            "job_id": job_id,
            "include_inputs": include_inputs,
            "include_cumulative_logprobs": include_cumulative_logprobs,
        }
        call = Call(
            path=routes.JOB_RESULTS.url(),
            method=hdrs.METH_POST,
            body=(orjson.dumps(asked),),
        )
        return parse_results(await self._get(call, only_if=any_failure))

    async def download_results(
        self,
        job_id: str,
        path: str | PathLike[str],
        *,
        include_inputs: bool = False,
        include_cumulative_logprobs: bool = False,
    ) -> None:
        """Store a job's results as a Parquet file.

        A download that is cut goes on where it stopped. The API key is not sent to
        wherever the file lies.

        Args:
            job_id: A job that has succeeded.
            path: The file; one that is there is replaced.
            include_inputs: Whether with the prompts.
            include_cumulative_logprobs: Whether with the log-probabilities.

        Cancellation: what has come stays under the path.

        Raises:
            SinkError: It cannot be stored.
        """
        query = {
            "format": "parquet",
            "include_inputs": str(include_inputs).lower(),
            "include_cumulative_logprobs": str(include_cumulative_logprobs).lower(),
        }
        call = Call(path=routes.RESULTS_URL.url(job_id=job_id), query=query)

        async def link() -> ResultsLink:
            return parse_results_link(await self._exchange.send(call))

        await ArtifactDownload(self._exchange, link, Path(path)).run(self._retry)

    async def run_function(
        self,
        name: str,
        given: Mapping[str, Any] | str,
        *,
        confidence_scoring: bool = True,
    ) -> Mapping[str, Any]:
        """Ask a published Function about one input, and wait for its answer.

        Sent again only where the deployment did not take it up.

        Args:
            name: Of the Function.
            given: Values by field, or the only text input itself.
            confidence_scoring: Whether confidence is asked for.

        Returns:
            The response: `output`, `confidence`, `usage`, `function`, `request_id`.
        """
        asked: dict[str, Any] = {"input": given}
        if not confidence_scoring:
            asked["confidence_scoring"] = False
        call = Call(
            path=routes.RUN_FUNCTION.url(name=name),
            method=hdrs.METH_POST,
            body=(orjson.dumps(asked),),
            timeout_s=_FUNCTION_TIMEOUT_S,
        )
        body = await self._get(call, only_if=was_not_taken)
        return json_fields(body, what="Function's answer")

    async def quotas(self) -> Sequence[Quota]:
        """What one job may be, by priority."""
        return parse_quotas(await self._get(Call(path=routes.QUOTAS.url())))

    async def _get(
        self, call: Call, *, only_if: Callable[[EngineError], bool] = is_no_conflict
    ) -> bytes:
        return await persist(
            partial(self._exchange.send, call),
            self._retry,
            rng=self._exchange.rng,
            only_if=only_if,
        )
