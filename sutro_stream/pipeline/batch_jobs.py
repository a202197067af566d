"""A batch's job on a deployment: made or found again, followed, fetched, given up."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import anyio
from anyio import to_thread

from sutro_stream.deployments.deployment import Deployment
from sutro_stream.deployments.kept_results import KeptResults
from sutro_stream.deployments.outputs import Outputs, kept_outputs, outputs_of
from sutro_stream.deployments.sent_jobs import SentBatch, SentJobs
from sutro_stream.errors import (
    EngineError,
    NotFoundError,
    ServiceError,
    UncertainSubmissionError,
    WorkChangedError,
    is_fatal,
)
from sutro_stream.flow.meter import Meter
from sutro_stream.flow.retry import RetryPolicy, is_retryable
from sutro_stream.pipeline.encoded_rows import EncodedRows
from sutro_stream.pipeline.job_batches import JobBatch
from sutro_stream.values.job import JobState
from sutro_stream.values.outcomes import ErrorKind, RowError
from sutro_stream.wire.responses import JobInfo
from sutro_stream.wire.submission import Submission
from sutro_stream.wire.submission_body import submission_body

_ONCE = RetryPolicy(attempts=1)
_GIVE_UP_S = 5.0
_LOOK_AGAIN_S = 0.3
_CONFLICT = 409


class _LostError(EngineError):
    """A job has neither answers nor a reason of its own to have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchAnswers:
    """What came of a batch's job.

    Attributes:
        offsets: The rows that were sent, by offset within the batch, ascending.
        outputs: A cell for each of them, or why there is none.
        is_old: Whether an earlier run had got them already.
    """

    offsets: Sequence[int]
    outputs: Outputs | RowError
    is_old: bool = False

    @property
    def is_kept(self) -> bool:
        """Whether they are there for a later run as well."""
        return isinstance(self.outputs, Outputs) and self.outputs.is_kept


@dataclass(slots=True, kw_only=True)
class BatchJobs:
    """Makes jobs of batches, and gets their answers.

    Concurrency: one event loop; as many batches at once as there are slots.
    """

    deployment: Deployment
    submission: Submission
    sent: SentJobs
    results: KeptResults
    slots: anyio.Semaphore
    poll_s: float
    meter: Meter
    has_accepted: bool = False

    @asynccontextmanager
    async def answers(
        self, job_batch: JobBatch, wanted: Collection[int]
    ) -> AsyncIterator[BatchAnswers]:
        """Wait until the deployment has answered the rows wanted, at least one.

        Cancellation: the job is cancelled, within seconds.

        Raises:
            EngineError: The run cannot go on.
            WorkChangedError: A job of an earlier run has other rows.
            StoreError: What was sent cannot be noted.
        """
        async with AsyncExitStack() as stack:
            async with self.slots:
                found = await self._found(stack, job_batch, wanted)
            yield found

    async def forget(self, job_batch: JobBatch) -> None:
        """Nothing more is expected of a batch's job, as when all is recorded."""
        first_index = job_batch.first_index
        # First the results, which mean nothing to another job of the same rows.
        if self.results.place(first_index) is not None:
            await to_thread.run_sync(self.results.drop, first_index)
        self.sent.ended(first_index)

    async def _found(
        self, stack: AsyncExitStack, job_batch: JobBatch, wanted: Collection[int]
    ) -> BatchAnswers:
        rows = job_batch.rows()
        while True:
            old = self._remembered(job_batch, rows)
            if old is not None and not _has_all(old, rows, wanted):
                await self.forget(job_batch)
                old = None
            batch = old or self._prepared(job_batch, rows, wanted)
            offsets = _offsets(batch, rows)
            place = self.results.place(job_batch.first_index)
            if old is not None and place is not None:
                kept = kept_outputs(place, rows=len(offsets))
                fetched = await stack.enter_async_context(kept)
                if fetched is not None:
                    return BatchAnswers(offsets=offsets, outputs=fetched, is_old=True)
            outputs = await self._outputs(stack, batch, rows.chosen(offsets), old)
            if outputs is not None:
                return BatchAnswers(offsets=offsets, outputs=outputs)
            # What an earlier run had made is not there any more.
            await self.forget(job_batch)

    def _remembered(self, job_batch: JobBatch, rows: EncodedRows) -> SentBatch | None:
        batch = self.sent.get(job_batch.first_index)
        if batch is None:
            return None
        offsets = _offsets(batch, rows)
        inside = not offsets or offsets[-1] < len(rows)
        if not inside or batch.digest != rows.chosen(offsets).digest():
            raise WorkChangedError(
                f"the rows from {job_batch.first_index} on are not those that an "
                "earlier run has submitted: the input changed; restore it, or start "
                "afresh (--restart)",
                differences=("rows",),
            )
        return batch

    def _prepared(
        self, job_batch: JobBatch, rows: EncodedRows, wanted: Collection[int]
    ) -> SentBatch:
        offsets = sorted(wanted)
        is_all = len(offsets) == len(rows.sendable())
        batch = SentBatch(
            first_index=job_batch.first_index,
            offsets=None if is_all else offsets,
            digest=rows.chosen(offsets).digest(),
            key=str(uuid.uuid4()),
        )
        self.sent.sent(batch)
        return batch

    async def _outputs(
        self,
        stack: AsyncExitStack,
        batch: SentBatch,
        rows: EncodedRows,
        old: SentBatch | None,
    ) -> Outputs | RowError | None:
        """The answers, or why there are none; `None` for a job to be made anew."""
        is_old = old is not None
        self.meter.started_request()
        try:
            async with self._giving_up(batch.first_index):
                made = await self._made(batch, rows, is_old=is_old)
            if isinstance(made, RowError):
                return made
            try:
                return await self._answered(stack, batch, made, len(rows))
            except _LostError as error:
                lost = RowError(kind=ErrorKind.JOB_FAILED, message=str(error))
                return None if is_old else lost
        finally:
            self.meter.ended_request()

    async def _answered(
        self, stack: AsyncExitStack, batch: SentBatch, job_id: str, rows: int
    ) -> Outputs | RowError:
        """What came of a job, once it has ended."""
        try:
            async with self._giving_up(batch.first_index):
                await self.deployment.wait(job_id, poll_s=self.poll_s)
            job = await self.deployment.job(job_id)
            if job.state is JobState.SUCCEEDED:
                return await self._fetched(stack, job, batch.first_index, rows)
        except NotFoundError as error:
            raise _LostError(f"job {job_id} is not there any more: {error}") from error
        if job.state is JobState.CANCELLED:
            raise _LostError(f"job {job_id} was cancelled")
        reason = f"job {job_id} failed: {job.failure or 'no reason is given'}"
        return RowError(kind=ErrorKind.JOB_FAILED, message=reason)

    async def _fetched(
        self, stack: AsyncExitStack, job: JobInfo, first_index: int, rows: int
    ) -> Outputs | RowError:
        self.meter.input_tokens += job.input_tokens or 0
        self.meter.output_tokens += job.output_tokens or 0
        place = self.results.place(first_index)
        fetching = outputs_of(self.deployment, job.job_id, rows=rows, keep_at=place)
        outputs = await stack.enter_async_context(fetching)
        if outputs.rows == rows:
            return outputs
        message = (
            f"job {job.job_id} of {rows} rows has {outputs.rows} results; which belong "
            "to which rows cannot be told"
        )
        return RowError(kind=ErrorKind.BAD_REPLY, message=message)

    async def _made(
        self, batch: SentBatch, rows: EncodedRows, *, is_old: bool
    ) -> str | RowError:
        """The ID of the job, or why there is none."""
        if batch.job_id is not None:
            return batch.job_id
        body = submission_body(self.submission, rows.listed())
        try:
            job_id = await self.deployment.submit_body(body, batch.key, was_sent=is_old)
        except UncertainSubmissionError as error:
            if error.is_traceable:
                raise
            return RowError(kind=ErrorKind.UNREACHABLE, message=str(error))
        except ServiceError as error:
            # The same submission may be taken later.
            if is_retryable(error) and error.status != _CONFLICT:
                raise
            self.sent.ended(batch.first_index)
            # A deployment that has taken nothing yet will not take the rest either.
            if is_fatal(error) or not self.has_accepted:
                raise
            return RowError(kind=ErrorKind.REJECTED, message=str(error))
        self.has_accepted = True
        self.sent.accepted(batch.first_index, job_id)
        return job_id

    @asynccontextmanager
    async def _giving_up(self, first_index: int) -> AsyncIterator[None]:
        """Cancel the job of a batch if what is inside does not come to its end."""
        try:
            yield
        except BaseException:
            with anyio.move_on_after(_GIVE_UP_S, shield=True), suppress(EngineError):
                await self._give_up(first_index)
            raise

    async def _give_up(self, first_index: int) -> None:
        """Cancel a job whose answers nobody waits for any more."""
        batch = self.sent.get(first_index)
        if batch is None:
            return
        deployment, job_id = self.deployment.retrying(_ONCE), batch.job_id
        if job_id is None:
            job_id = await self._traced(deployment, batch.key)
        # One that has ended keeps its results, for a later run.
        if job_id is not None and await deployment.cancel(job_id):
            self.sent.ended(first_index)

    async def _traced(self, deployment: Deployment, key: str) -> str | None:
        """The job of a submission that was being sent just now."""
        while True:
            found = await deployment.submission(key)
            if found is None or found.job_id is not None or found.is_retryable:
                return None if found is None else found.job_id
            await anyio.sleep(_LOOK_AGAIN_S)


def _offsets(batch: SentBatch, rows: EncodedRows) -> Sequence[int]:
    return rows.sendable() if batch.offsets is None else batch.offsets


def _has_all(batch: SentBatch, rows: EncodedRows, wanted: Collection[int]) -> bool:
    """Whether all rows that are wanted are among those that were sent."""
    offsets = _offsets(batch, rows)
    return len(offsets) == len(rows) or set(wanted) <= set(offsets)
