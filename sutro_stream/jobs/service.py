"""A deployment: everything that its surface can ask for."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread

from sutro_stream.errors import SutroStreamError
from sutro_stream.flow.groups import single_error
from sutro_stream.functions.registry import FunctionRegistry
from sutro_stream.jobs.activity import Activity
from sutro_stream.jobs.artifacts import Workshop
from sutro_stream.jobs.config import ServiceConfig
from sutro_stream.jobs.database import Database
from sutro_stream.jobs.datasets import DatasetStore
from sutro_stream.jobs.engines import EnginePool, EnginesFor, engines_for
from sutro_stream.jobs.execution import JobExecution
from sutro_stream.jobs.folder import DataFolder
from sutro_stream.jobs.function_runs import FunctionRun, FunctionRuns
from sutro_stream.jobs.health import Health, Monitor
from sutro_stream.jobs.intake_workers import IntakeWorkers
from sutro_stream.jobs.keys import KeyStore
from sutro_stream.jobs.model_slots import ModelSlots
from sutro_stream.jobs.progress import Bulletin, Watch
from sutro_stream.jobs.results_file import JobResultsFile
from sutro_stream.jobs.retention import keep_clean, sweep
from sutro_stream.jobs.runner import Runner
from sutro_stream.jobs.store import JobStore
from sutro_stream.jobs.submissions import (
    Reservation,
    ReservationKind,
    SubmissionStatus,
    SubmissionStore,
    digest_of,
    job_of,
)
from sutro_stream.jobs.submitting import Submitter
from sutro_stream.jobs.targets import Targets
from sutro_stream.jobs.traces import JobTraces
from sutro_stream.telemetry.tracing import NO_TRACING, Tracing
from sutro_stream.values.dataset import Dataset, DatasetField, DatasetFile
from sutro_stream.values.job import Job, JobProgress, JobState, RunType
from sutro_stream.wire.api_error import ApiError, not_found
from sutro_stream.wire.cursor import Cursor
from sutro_stream.wire.idempotency import in_progress
from sutro_stream.wire.presign import sign, verify


@asynccontextmanager
async def open_service(
    config: ServiceConfig,
    *,
    engines_for: EnginesFor = engines_for,
    tracing: Tracing = NO_TRACING,
) -> AsyncIterator[Service]:
    """Open a deployment and work on its jobs while the context is entered.

    Args:
        config: How it is set up.
        engines_for: What serves a model.
        tracing: Where spans of jobs go.

    Cancellation: jobs stop where they are; the next opening goes on with them.

    Raises:
        StoreInUseError: Another process serves the same folder.
        StoreError: The folder cannot be used.
    """
    folder = DataFolder(config.data_dir)
    async with AsyncExitStack() as stack:
        stack.enter_context(single_error())
        await to_thread.run_sync(folder.prepare)
        stack.enter_context(folder.locked())
        secret = await to_thread.run_sync(folder.secret)
        database = stack.enter_context(Database(folder.database))
        engines = await stack.enter_async_context(EnginePool(engines_for=engines_for))
        service = Service(
            config,
            database=database,
            engines=engines,
            workers=await stack.enter_async_context(IntakeWorkers()),
            secret=secret,
            tracing=tracing,
        )
        await to_thread.run_sync(service.sweep)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        stack.callback(tasks.cancel_scope.cancel)
        service.start(tasks)
        yield service


class Service:
    """See `server.deployment.Deployment`.

    Concurrency: one event loop, any number of tasks.
    """

    def __init__(
        self,
        config: ServiceConfig,
        *,
        database: Database,
        engines: EnginePool,
        workers: IntakeWorkers,
        secret: bytes,
        tracing: Tracing,
    ) -> None:
        """Made by `open_service`."""
        self.config = config
        self.folder = DataFolder(config.data_dir)
        self._secret = secret
        self._workers = workers
        self._workshop = Workshop()
        self._bulletin = Bulletin()
        self._keys = KeyStore(database)
        self._jobs = JobStore(database)
        self._submissions = SubmissionStore(database)
        self._datasets = DatasetStore(database, self.folder.datasets)
        targets = Targets(config.catalogue, FunctionRegistry(self.folder.functions))
        slots, activity = ModelSlots(), Activity()
        self._submitter = Submitter(
            targets=targets,
            datasets=self._datasets,
            folder=self.folder,
            quotas=config.quotas,
            workers=workers,
        )
        self._functions = FunctionRuns(
            config=config,
            targets=targets,
            engines=engines,
            slots=slots,
            activity=activity,
        )
        self._runner = Runner(
            store=self._jobs,
            execution=JobExecution(
                config=config,
                targets=targets,
                datasets=self._datasets,
                engines=engines,
                slots=slots,
                activity=activity,
            ),
            folder=self.folder,
            bulletin=self._bulletin,
            traces=JobTraces(tracing),
            places=config.max_running_jobs,
        )
        self._monitor = Monitor(
            config,
            store=self._jobs,
            engines=engines,
            slots=slots,
            activity=activity,
            ended=self._runner.ended,
        )

    def sweep(self) -> None:
        """Remove what an earlier process left half done. Blocking; before `start`."""
        sweep(self.folder, self._jobs)
        self._submissions.end_leases()

    def start(self, tasks: anyio.abc.TaskGroup) -> None:
        """Work on jobs, and remove old ones, in a task group."""
        tasks.start_soon(self._runner.run)
        tasks.start_soon(self._monitor.lag.run)
        tasks.start_soon(self._workers.keep_few)
        if self.config.retention_days is not None:
            keep = partial(
                keep_clean,
                self.folder,
                jobs=self._jobs,
                submissions=self._submissions,
                days=self.config.retention_days,
            )
            tasks.start_soon(keep)

    async def health(self) -> Health:
        """See `Monitor.health`."""
        return await self._monitor.health()

    async def check_room(self, needed_bytes: int = 0) -> None:
        """See `jobs.disk_space.check_room`."""
        await self._monitor.check_room(needed_bytes)

    # Accounts.

    def account_of(self, key: str) -> str | None:
        """Whose key this is, `None` for nobody's."""
        return self._keys.account_of(key)

    # Submissions.

    async def submit(
        self, account: str, body: Path, idempotency_key: str | None
    ) -> Job:
        """Accept a job; it is stored durably when this returns.

        Args:
            account: Whose it is.
            body: File of the request's body.
            idempotency_key: The same key with the same body is the same job.

        Raises:
            ApiError: It is not accepted; says why.
            StoreError: It cannot be kept.
        """
        await self.check_room()
        reservation = None
        if idempotency_key is not None:
            digest = await to_thread.run_sync(digest_of, body)
            reservation = await to_thread.run_sync(
                self._submissions.reserve, account, idempotency_key, digest
            )
            if reservation.kind is not ReservationKind.NEW:
                return await self._earlier(account, reservation)
        try:
            job = await self._submitter.prepare(account, body)
            return await self._accept(job, reservation)
        except SutroStreamError as error:
            if reservation is not None:
                await to_thread.run_sync(self._submissions.failed, reservation, error)
            raise

    async def submission(self, account: str, key: str) -> SubmissionStatus:
        """What became of a submission with a key of its own."""
        found = await to_thread.run_sync(self._submissions.status, account, key)
        if found is None:
            raise not_found("the submission", code="submission_not_found")
        return found

    async def _accept(self, job: Job, reservation: Reservation | None) -> Job:
        add = partial(self._jobs.add, job, reservation=reservation)
        try:
            is_kept = await to_thread.run_sync(add)
        except BaseException:
            # Not kept, or cancelled before it could be: its rows are of no use.
            await self._submitter.drop(job)
            raise
        if not is_kept:
            await self._submitter.drop(job)
            raise in_progress()
        self._runner.add(job)
        return job

    async def _earlier(self, account: str, reservation: Reservation) -> Job:
        return await self.job(account, job_of(reservation))

    # Jobs.

    async def job(self, account: str, job_id: str) -> Job:
        """The account's job.

        Raises:
            ApiError: 404, there is none, or its time is over.
        """
        found = await to_thread.run_sync(
            lambda: self._jobs.get(job_id, account=account)
        )
        if found is None:
            raise await to_thread.run_sync(self._missing, account, job_id)
        return found

    async def jobs(
        self, account: str, limit: int | None, cursor: Cursor | None
    ) -> tuple[Sequence[Job], Cursor | None]:
        """Jobs of an account, newest first, and where the next page begins."""
        most = None if limit is None else limit + 1
        found = await to_thread.run_sync(
            lambda: self._jobs.list(account, limit=most, before=cursor)
        )
        if limit is None or len(found) <= limit:
            return found, None
        page = found[:limit]
        last = page[-1]
        return page, Cursor(created_at=last.created_at, job_id=last.job_id)

    async def cancel(self, account: str, job_id: str) -> tuple[bool, Job]:
        """End a job; whether it had not ended by itself, and how it stands."""
        found = await to_thread.run_sync(
            lambda: self._jobs.cancelling(job_id, account=account)
        )
        if found is None:
            raise await to_thread.run_sync(self._missing, account, job_id)
        if found.state is not JobState.CANCELLING:
            return False, found
        await self._runner.cancel(job_id)
        return True, found

    def progress(self, job: Job) -> JobProgress:
        """How far a job is."""
        live = self._runner.progress(job.job_id)
        if live is not None and not job.state.is_final:
            return live
        is_done = job.state is JobState.SUCCEEDED and job.spec.run_type is RunType.FULL
        return JobProgress(
            rows=(job.rows or 0) if is_done else 0,
            input_tokens=job.input_tokens or 0,
            output_tokens=job.output_tokens or 0,
        )

    def watch(self, job_id: str) -> AbstractContextManager[Watch]:
        """Be told of a job's changes while the context is entered."""
        return self._bulletin.watch(job_id)

    async def results(self, account: str, job_id: str) -> JobResultsFile:
        """What a job has come to.

        Raises:
            ApiError: 404 for no such job, 409 when there are no results.
        """
        job = await self.job(account, job_id)
        if job.spec.run_type is RunType.ESTIMATE:
            raise ApiError(
                409, "no_results", f"{job_id} is a cost estimate and has no results"
            )
        if job.state is not JobState.SUCCEEDED:
            raise ApiError(
                409,
                "not_succeeded",
                f"{job_id} is {job.state}; only a job that has SUCCEEDED has results",
            )
        return JobResultsFile(
            self.folder.job(job_id), job_id=job_id, workshop=self._workshop
        )

    def sign(self, *, method: str, key: str, expires_at: int) -> str:
        """See `wire.presign.sign`."""
        return sign(self._secret, method=method, key=key, expires_at=expires_at)

    def verify(self, signature: str, *, method: str, key: str, expires_at: int) -> bool:
        """See `wire.presign.verify`."""
        return verify(
            self._secret,
            signature,
            method=method,
            key=key,
            expires_at=expires_at,
            now=time.time(),
        )

    def _missing(self, account: str, job_id: str) -> ApiError:
        if self._jobs.was_removed(job_id, account=account):
            return ApiError(
                404, "expired", f"{job_id} is over; what belonged to it was removed"
            )
        return not_found(f"the job {job_id}", code="job_not_found")

    # Functions.

    async def run_function(
        self,
        account: str,
        name: str,
        given: Mapping[str, Any] | str,
        *,
        confidence: bool,
    ) -> FunctionRun:
        """See `FunctionRuns.run`."""
        return await self._functions.run(
            account, name, given, wants_confidence=confidence
        )

    # Datasets.

    async def create_dataset(self, account: str) -> str:
        """Make an empty dataset; its ID."""
        return await to_thread.run_sync(self._datasets.create, account)

    async def add_dataset_file(
        self, account: str, dataset_id: str, name: str, path: Path
    ) -> DatasetFile:
        """See `DatasetStore.add_file`."""
        return await to_thread.run_sync(
            self._datasets.add_file, account, dataset_id, name, path
        )

    async def datasets(self, account: str) -> Sequence[Dataset]:
        """Datasets of an account, newest first."""
        return await to_thread.run_sync(self._datasets.list, account)

    async def dataset_files(
        self, account: str, dataset_id: str
    ) -> tuple[Sequence[DatasetFile], Sequence[DatasetField]]:
        """Files of a dataset in the order of upload, and their columns."""
        return await to_thread.run_sync(self._datasets.contents, account, dataset_id)

    async def dataset_file(self, account: str, dataset_id: str, name: str) -> Path:
        """See `DatasetStore.file_path`."""
        return await to_thread.run_sync(
            self._datasets.file_path, account, dataset_id, name
        )
