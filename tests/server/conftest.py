"""A deployment in memory, and a client of the server in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp.test_utils import TestClient, TestServer

from sutro_stream.flow.loop_lag import LagSummary
from sutro_stream.jobs.activity import ModelActivity
from sutro_stream.jobs.artifacts import Workshop
from sutro_stream.jobs.config import ServiceConfig
from sutro_stream.jobs.disk_space import insufficient_storage
from sutro_stream.jobs.folder import DataFolder
from sutro_stream.jobs.health import Health, ModelHealth
from sutro_stream.jobs.results_file import JobResultsFile
from sutro_stream.server.routing import application_of
from sutro_stream.settings.deployment import DeploymentSettings
from sutro_stream.values.catalogue import Catalogue, Model
from sutro_stream.values.dataset import Dataset, DatasetField, DatasetFile
from sutro_stream.values.function import Function
from sutro_stream.values.job import (
    InputKind,
    Job,
    JobInput,
    JobProgress,
    JobSpec,
    JobState,
)
from sutro_stream.values.outcomes import Usage
from sutro_stream.wire import presign
from sutro_stream.wire.api_error import ApiError, not_found
from sutro_stream.wire.cursor import Cursor

KEY = "sk_live_of_alice"
AUTHORIZED = {"Authorization": f"Key {KEY}"}
JOB_ID = "job-11111111-2222-3333-4444-555555555555"
_SECRET = b"s" * 32
_NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class FakeRun:
    """What a Function answered."""

    function: Function
    model: str = "m"
    answered_by: str | None = None
    output: Any = None
    confidence: float | None = None
    usage: Usage = field(default_factory=lambda: Usage(input_tokens=3, output_tokens=2))
    cost_usd: float = 0.0


@dataclass(frozen=True, kw_only=True)
class FakeStatus:
    """What became of a submission."""

    state: str = "ACCEPTED"
    retryable: bool = False
    job_id: str | None = JOB_ID
    detail: str | None = None


class FakeNews:
    """News as the test says: one item for each call that waits."""

    def __init__(self, deployment: FakeDeployment) -> None:
        self._deployment = deployment

    async def next(self, timeout_s: float) -> bool:
        """Take the next step of the script; without one, wait for ever."""
        assert timeout_s > 5
        if not self._deployment.steps:
            await anyio.sleep_forever()
        step = self._deployment.steps.pop(0)
        if step is None:
            return False
        self._deployment.job_now, self._deployment.progress_now = step
        return True


class FakeDeployment:
    """Everything that the server calls, in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = DataFolder(folder)
        self.folder.prepare()
        self.job_now = Job(
            job_id=JOB_ID,
            spec=JobSpec(
                account="alice", model="m", input=JobInput(kind=InputKind.ROWS)
            ),
            state=JobState.QUEUED,
            created_at=_NOON,
        )
        self.progress_now = JobProgress()
        self.steps: list[tuple[Job, JobProgress] | None] = []
        self.failure: Exception | None = None
        self.accepts = True
        self.bodies: list[bytes] = []
        self.idempotency_keys: list[str | None] = []
        self.function_calls: list[tuple[str, object, bool]] = []
        self.pages: list[tuple[int | None, Cursor | None]] = []
        self.uploaded: dict[str, bytes] = {}
        self.workshop = Workshop()
        self.free_bytes = 5 << 30
        self.activity = ModelActivity()

    def ended(self, state: JobState, **fields: Any) -> Job:
        """Let the job be final."""
        self.job_now = replace(
            self.job_now, state=state, completed_at=_NOON, rows=3, **fields
        )
        return self.job_now

    def account_of(self, key: str) -> str | None:
        return "alice" if key == KEY else None

    async def health(self) -> Health:
        self._fail()
        return Health(
            jobs={JobState.RUNNING: 2},
            ended={JobState.FAILED: 1},
            models={
                "m": ModelHealth(
                    engine="open",
                    slots=8,
                    limit=6,
                    used=5,
                    waiting=40,
                    activity=self.activity,
                )
            },
            lag=LagSummary(p50_s=0.0012, p99_s=0.03, max_s=0.25),
            disk_free_bytes=self.free_bytes,
            disk_floor_bytes=1 << 30,
        )

    async def check_room(self, needed_bytes: int = 0) -> None:
        if self.free_bytes - needed_bytes < 1 << 30:
            raise insufficient_storage()

    async def submit(
        self, account: str, body: Path, idempotency_key: str | None
    ) -> Job:
        assert account == "alice"
        self._fail()
        assert body.parent == self.folder.uploads
        self.bodies.append(body.read_bytes())
        self.idempotency_keys.append(idempotency_key)
        return self.job_now

    async def submission(self, account: str, key: str) -> FakeStatus:
        assert (account, bool(key)) == ("alice", True)
        return FakeStatus()

    async def job(self, account: str, job_id: str) -> Job:
        self._fail()
        if (account, job_id) != ("alice", JOB_ID):
            raise not_found(f"job {job_id}", code="job_not_found")
        return self.job_now

    async def jobs(
        self, account: str, limit: int | None, cursor: Cursor | None
    ) -> tuple[Sequence[Job], Cursor | None]:
        assert account == "alice"
        self.pages.append((limit, cursor))
        if limit is None:
            return [self.job_now] * 100, None
        if cursor is not None:
            return [], None
        return [self.job_now], Cursor(created_at=_NOON, job_id=JOB_ID)

    async def cancel(self, account: str, job_id: str) -> tuple[bool, Job]:
        return self.accepts, await self.job(account, job_id)

    def progress(self, job: Job) -> JobProgress:
        assert job is self.job_now
        return self.progress_now

    @contextmanager
    def watch(self, job_id: str) -> Iterator[FakeNews]:
        assert job_id == JOB_ID
        yield FakeNews(self)

    async def results(self, account: str, job_id: str) -> JobResultsFile:
        job = await self.job(account, job_id)
        if job.state is not JobState.SUCCEEDED:
            raise ApiError(409, "job_not_succeeded", f"job {job_id} is {job.state}")
        return JobResultsFile(
            self.folder.job(JOB_ID), job_id=JOB_ID, workshop=self.workshop
        )

    def sign(self, *, method: str, key: str, expires_at: int) -> str:
        return presign.sign(_SECRET, method=method, key=key, expires_at=expires_at)

    def verify(self, signature: str, *, method: str, key: str, expires_at: int) -> bool:
        return presign.verify(
            _SECRET,
            signature,
            method=method,
            key=key,
            expires_at=expires_at,
            now=datetime.now(UTC).timestamp(),
        )

    async def run_function(
        self,
        account: str,
        name: str,
        given: Mapping[str, Any] | str,
        *,
        confidence: bool,
    ) -> FakeRun:
        assert account == "alice"
        self._fail()
        self.function_calls.append((name, given, confidence))
        function = Function.validate({"name": name, "inputs": [{"name": "query"}]})
        return FakeRun(
            function=replace(function, revision=7),
            output={"label": "yes"},
            confidence=0.5 if confidence else None,
        )

    async def create_dataset(self, account: str) -> str:
        assert account == "alice"
        return "dataset-1"

    async def add_dataset_file(
        self, account: str, dataset_id: str, name: str, path: Path
    ) -> DatasetFile:
        assert (account, dataset_id) == ("alice", "dataset-1")
        self._fail()
        self.uploaded[name] = path.read_bytes()
        return self._dataset_file(name)

    async def datasets(self, account: str) -> Sequence[Dataset]:
        return [
            Dataset(
                dataset_id="dataset-1",
                account=account,
                created_at=_NOON,
                updated_at=_NOON,
            )
        ]

    async def dataset_files(
        self, account: str, dataset_id: str
    ) -> tuple[Sequence[DatasetFile], Sequence[DatasetField]]:
        assert (account, dataset_id) == ("alice", "dataset-1")
        files = [self._dataset_file(name) for name in self.uploaded]
        return files, [DatasetField(name="prompt", type="string")]

    async def dataset_file(self, account: str, dataset_id: str, name: str) -> Path:
        assert (account, dataset_id) == ("alice", "dataset-1")
        path = self.folder.datasets / "kept"
        path.write_bytes(self.uploaded[name])
        return path

    def _dataset_file(self, name: str) -> DatasetFile:
        return DatasetFile(
            file_id="file-1",
            name=name,
            uploaded_at=_NOON,
            rows=1,
            size_bytes=len(self.uploaded[name]),
        )

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def fake(tmp_path: Path) -> FakeDeployment:
    """The deployment behind the server; a test says what it does."""
    return FakeDeployment(tmp_path / "data")


@pytest.fixture
def settings(tmp_path: Path) -> DeploymentSettings:
    """A small limit for bodies, and one model."""
    catalogue = Catalogue(models={"m": Model(name="m")}, aliases={"gpt": "m"})
    return DeploymentSettings(
        service=ServiceConfig(
            data_dir=tmp_path / "data", catalogue=catalogue, max_body_bytes=1000
        )
    )


@pytest.fixture
async def client(
    fake: FakeDeployment, settings: DeploymentSettings
) -> AsyncIterator[TestClient[Any, Any]]:
    """A client with a key, of a server on the loopback address."""
    server = TestServer(application_of(fake, settings))
    async with TestClient(server, headers=AUTHORIZED) as client:
        yield client


@pytest.fixture
async def stranger(
    client: TestClient[Any, Any],
) -> AsyncIterator[TestClient[Any, Any]]:
    """A client of the same server without a key."""
    same: TestClient[Any, Any] = TestClient(client.server)
    async with same:
        yield same


@pytest.fixture
def job_id() -> str:
    """The one job there is."""
    return JOB_ID


@pytest.fixture
def succeeded(fake: FakeDeployment) -> pa.Table:
    """The job has succeeded; these are its results."""
    table = pa.table(
        {
            "inputs": pa.array(["a", "b", "c"], pa.large_string()),
            "outputs": pa.array(["A", None, "C"], pa.large_string()),
        }
    )
    folder = fake.folder.job(JOB_ID).root
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "results.parquet")
    fake.ended(JobState.SUCCEEDED)
    return table
