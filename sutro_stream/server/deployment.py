"""What the handlers need of a deployment; `jobs.service` is the one there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from sutro_stream.jobs.health import Health
from sutro_stream.jobs.results_file import JobResultsFile
from sutro_stream.values.dataset import Dataset, DatasetField, DatasetFile
from sutro_stream.values.function import Function
from sutro_stream.values.job import Job, JobProgress
from sutro_stream.values.outcomes import Usage
from sutro_stream.wire.cursor import Cursor


class News(Protocol):
    """Tells of changes of one job."""

    async def next(self, timeout_s: float) -> bool:
        """Wait for a change since the last call; whether there was one."""


class FunctionRun(Protocol):
    """The answer of a Function; see `wire.replies.function_run`."""

    @property
    def function(self) -> Function: ...
    @property
    def model(self) -> str: ...
    @property
    def answered_by(self) -> str | None: ...
    @property
    def output(self) -> Any: ...
    @property
    def confidence(self) -> float | None: ...
    @property
    def usage(self) -> Usage: ...
    @property
    def cost_usd(self) -> float: ...


class SubmissionStatus(Protocol):
    """What became of a submission; see `wire.replies.submission_status`."""

    @property
    def state(self) -> str: ...
    @property
    def retryable(self) -> bool: ...
    @property
    def job_id(self) -> str | None: ...
    @property
    def detail(self) -> str | None: ...


class Deployment(Protocol):
    """Everything that a request can ask for.

    What does not exist for an account is an `ApiError` with status 404.
    """

    def account_of(self, key: str) -> str | None: ...

    async def health(self) -> Health: ...

    async def check_room(self, needed_bytes: int = 0) -> None: ...

    async def submit(
        self, account: str, body: Path, idempotency_key: str | None
    ) -> Job: ...

    async def submission(self, account: str, key: str) -> SubmissionStatus: ...

    async def job(self, account: str, job_id: str) -> Job: ...

    async def jobs(
        self, account: str, limit: int | None, cursor: Cursor | None
    ) -> tuple[Sequence[Job], Cursor | None]: ...

    async def cancel(self, account: str, job_id: str) -> tuple[bool, Job]: ...

    def progress(self, job: Job) -> JobProgress: ...

    def watch(self, job_id: str) -> AbstractContextManager[News]: ...

    async def results(self, account: str, job_id: str) -> JobResultsFile: ...

    def sign(self, *, method: str, key: str, expires_at: int) -> str: ...

    def verify(
        self, signature: str, *, method: str, key: str, expires_at: int
    ) -> bool: ...

    async def run_function(
        self,
        account: str,
        name: str,
        given: Mapping[str, Any] | str,
        *,
        confidence: bool,
    ) -> FunctionRun: ...

    async def create_dataset(self, account: str) -> str: ...

    async def add_dataset_file(
        self, account: str, dataset_id: str, name: str, path: Path
    ) -> DatasetFile: ...

    async def datasets(self, account: str) -> Sequence[Dataset]: ...

    async def dataset_files(
        self, account: str, dataset_id: str
    ) -> tuple[Sequence[DatasetFile], Sequence[DatasetField]]: ...

    async def dataset_file(self, account: str, dataset_id: str, name: str) -> Path: ...
