"""Jobs worked on, as many at once as there are places."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import anyio
from anyio import CancelScope, to_thread

from sutro_stream.errors import EngineError, SinkError, StoreError, SutroStreamError
from sutro_stream.jobs.discretion import without_addresses
from sutro_stream.jobs.folder import DataFolder
from sutro_stream.jobs.progress import Bulletin, LiveProgress
from sutro_stream.jobs.queue import JobQueue
from sutro_stream.jobs.store import JobStore, JobTotals
from sutro_stream.jobs.traces import JobTrace, JobTraces
from sutro_stream.values.job import Job, JobProgress, JobState, RunType

_LOG = logging.getLogger(__name__)
_NO_FILES = (
    "the deployment could not keep the job's files; its operator finds the reason in "
    "the log under the job's ID"
)
_INTERNAL = "an internal error; the operator finds it in the log under the job's ID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """What a job has come to.

    Attributes:
        totals: Its numbers, all runs together.
        failure: Why it has failed although its run came to its end, `None` when it
            has not.
    """

    totals: JobTotals
    failure: str | None = None


class Execution(Protocol):
    """Does the work of one job."""

    async def run(
        self,
        job: Job,
        live: LiveProgress,
        running: Callable[[int | None], Awaitable[None]],
    ) -> Ending:
        """Run a job to its end, going on where an earlier process stopped.

        Args:
            job: Accepted, not final.
            live: Where its counters go.
            running: To be called once the first row is about to be asked, with the
                number of rows if that is known.

        Cancellation: everything stops; what was answered is kept.

        Raises:
            SutroStreamError: The job has failed; the message is for its owner.
        """


@dataclass(slots=True, eq=False)
class _Live:
    progress: LiveProgress
    trace: JobTrace | None = None
    scope: CancelScope = field(default_factory=CancelScope)
    is_cancelled: bool = False


class Runner:
    """Takes jobs through their states.

    Each state is stored before anyone can see it. A job that this process does not
    live to end stays as it is stored, and the next process goes on with it.

    Attributes:
        ended: Jobs that have ended since the runner was made, by state.

    Concurrency: one event loop.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        execution: Execution,
        folder: DataFolder,
        bulletin: Bulletin,
        traces: JobTraces,
        places: int,
    ) -> None:
        """Idle.

        Args:
            store: Where jobs are kept.
            execution: Does their work.
            folder: Where their files are.
            bulletin: Is told of each change.
            traces: Is told of the work.
            places: Most jobs worked on at once.
        """
        self._store = store
        self._execution = execution
        self._folder = folder
        self._bulletin = bulletin
        self._traces = traces
        self._queue = JobQueue(places)
        self._live: dict[str, _Live] = {}
        self._wake = anyio.Event()
        self.ended: Counter[JobState] = Counter()

    def add(self, job: Job) -> None:
        """Work on a job when its turn comes."""
        self._traces.submitted(job.job_id)
        self._queue.add(job)
        self._wake.set()

    def progress(self, job_id: str) -> JobProgress | None:
        """Counters of a job that is worked on, `None` for any other."""
        live = self._live.get(job_id)
        return None if live is None else live.progress.now

    async def cancel(self, job_id: str) -> None:
        """End a job that is stored as one to be cancelled.

        At once if its turn has not come; else what it does stops, and it is
        cancelled soon after.
        """
        self._bulletin.announce(job_id)
        if self._queue.withdraw(job_id):
            self._traces.withdrawn(job_id)
            await self._cancelled(job_id)
        elif (live := self._live.get(job_id)) is not None:
            live.is_cancelled = True
            live.scope.cancel()
        else:
            # It came to its end between the two, and left what was stored alone.
            await self._cancelled(job_id)

    async def run(self) -> None:
        """Work until cancelled; first on what earlier processes have left.

        Cancellation: jobs stop where they are and keep what is answered.
        """
        for job in await to_thread.run_sync(self._store.unfinished):
            if job.state is JobState.CANCELLING:
                await self._cancelled(job.job_id)
            else:
                self.add(job)
        async with anyio.create_task_group() as tasks:
            while True:
                await self._wake.wait()
                self._wake = anyio.Event()
                while (job_id := self._queue.take()) is not None:
                    changed = partial(self._changed, job_id)
                    live = self._live[job_id] = _Live(LiveProgress(changed))
                    tasks.start_soon(self._work, job_id, live)

    async def _work(self, job_id: str, live: _Live) -> None:
        try:
            with self._traces.working(job_id) as live.trace:
                with live.scope:
                    await self._carry_through(job_id, live.trace, live.progress)
                if live.is_cancelled:
                    await self._cancelled(job_id)
        finally:
            del self._live[job_id]
            self._queue.ended(job_id)
            self._wake.set()
            self._bulletin.announce(job_id)

    async def _carry_through(
        self, job_id: str, trace: JobTrace, progress: LiveProgress
    ) -> None:
        job = await to_thread.run_sync(self._store.get, job_id)
        if job is None or not await to_thread.run_sync(self._store.started, job_id):
            return
        trace.known(job)
        self._bulletin.announce(job_id)
        names = {"job_id": job_id, "account": job.spec.account}

        async def running(rows: int | None) -> None:
            step = partial(self._store.running, job_id, rows=rows)
            await to_thread.run_sync(step)
            trace.running()
            self._bulletin.announce(job_id)

        try:
            ending = await self._execution.run(job, progress, running)
        except (SinkError, StoreError):
            # Their messages are for the operator: they name folders of the server.
            _LOG.exception("files of job %s could not be used", job_id, extra=names)
            await self._failed(job_id, _NO_FILES)
        except EngineError as error:
            _LOG.warning("job %s failed: %s", job_id, error, extra=names)
            await self._failed(job_id, without_addresses(str(error)))
        except SutroStreamError as error:
            await self._failed(job_id, str(error))
        except Exception:  # noqa: BLE001 - one job must not end all others
            _LOG.exception("job %s ended in an internal error", job_id, extra=names)
            await self._failed(job_id, _INTERNAL)
        else:
            await self._ended(job, ending)

    async def _ended(self, job: Job, ending: Ending) -> None:
        # A cancellation that comes from here on comes too late; one that was stored
        # before is seen by the store, which then changes nothing.
        files, failure = self._folder.job(job.job_id), ending.failure
        if failure is not None:
            await self._failed(job.job_id, failure, ending.totals)
            return
        is_full = job.spec.run_type is RunType.FULL
        with CancelScope(shield=True):
            if await to_thread.run_sync(
                self._store.succeeded, job.job_id, ending.totals
            ):
                self._note_end(job.job_id, JobState.SUCCEEDED, ending.totals)
                clean = files.drop_work if is_full else files.remove
                await to_thread.run_sync(clean)

    async def _failed(
        self, job_id: str, reason: str, totals: JobTotals | None = None
    ) -> None:
        totals = totals or JobTotals()
        step = partial(self._store.failed, job_id, reason, totals=totals)
        with CancelScope(shield=True):
            if await to_thread.run_sync(step):
                self._note_end(job_id, JobState.FAILED, totals, reason)
                await to_thread.run_sync(self._folder.job(job_id).remove)

    async def _cancelled(self, job_id: str) -> None:
        with CancelScope(shield=True):
            if await to_thread.run_sync(self._store.cancelled, job_id):
                self._note_end(job_id, JobState.CANCELLED)
                await to_thread.run_sync(self._folder.job(job_id).remove)
        self._bulletin.announce(job_id)

    def _changed(self, job_id: str) -> None:
        self._bulletin.announce(job_id)
        live = self._live[job_id]
        if live.trace is not None:
            live.trace.progress(live.progress.now.rows)

    def _note_end(
        self,
        job_id: str,
        state: JobState,
        totals: JobTotals | None = None,
        failure: str | None = None,
    ) -> None:
        self.ended[state] += 1
        live = self._live.get(job_id)
        if live is not None and live.trace is not None:
            live.trace.ended(state, totals or JobTotals(), failure)
        _LOG.info("job %s is %s", job_id, state, extra={"job_id": job_id})
