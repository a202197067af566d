"""Deployments and their databases, and jobs to put into them."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sutro_stream.functions.registry import FunctionRegistry
from sutro_stream.jobs.config import ServiceConfig
from sutro_stream.jobs.database import Database
from sutro_stream.jobs.result_table import Selection
from sutro_stream.jobs.service import Service, open_service
from sutro_stream.testing import ScriptedChatServer
from sutro_stream.values.catalogue import Catalogue, Model
from sutro_stream.values.endpoint import Endpoint
from sutro_stream.values.job import InputKind, Job, JobInput, JobSpec, JobState

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class HandClock:
    """A clock that somebody moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> HandClock:
    """The time that the stores see."""
    return HandClock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """An empty database."""
    with Database(tmp_path / "data" / "deployment.sqlite") as opened:
        yield opened


@pytest.fixture
def new_job() -> Callable[..., Job]:
    """Makes queued jobs, each a second younger than the one before."""
    numbers = itertools.count(1)

    def make(
        account: str = "alice",
        *,
        source: JobInput | None = None,
        created_at: datetime | None = None,
        **spec: Any,
    ) -> Job:
        number = next(numbers)
        return Job(
            job_id=f"job-{number:04d}",
            spec=JobSpec(
                account=account,
                model="m",
                input=source or JobInput(kind=InputKind.ROWS),
                **spec,
            ),
            state=JobState.QUEUED,
            created_at=created_at or START + timedelta(seconds=number),
        )

    return make


QUALIFIER: Mapping[str, Any] = {
    "name": "lead-qualifier",
    "model": "m",
    "inputs": [
        {"name": "query"},
        {"name": "region", "required": False, "default": "anywhere"},
    ],
    "prompt_template": "{{ query }} in {{ region }}",
    "system_prompt": "Qualify.",
    "sampling_params": {"temperature": 0},
}


def _catalogue(server: ScriptedChatServer, **model: Any) -> Catalogue:
    """One model, `m`, answered by a scripted server, also by its usual alias."""
    entry = Model(
        name="m", endpoints=(Endpoint(url=server.base_url),), concurrency=8, **model
    )
    return Catalogue(models={"m": entry}, aliases={"gpt-oss-20b": "m"})


@dataclass
class Bench:
    """An open deployment, and short ways to use it."""

    service: Service
    uploads: Path
    _count: list[int] = field(default_factory=lambda: [0])

    async def submit(
        self,
        inputs: Any,
        *,
        account: str = "alice",
        key: str | None = None,
        **fields: Any,
    ) -> Job:
        """Submit a body."""
        self._count[0] += 1
        body = self.uploads / f"body-{self._count[0]}"
        body.write_text(json.dumps({"inputs": inputs, **fields}))
        return await self.service.submit(account, body, key)

    async def ended(self, job: Job) -> Job:
        """The job when it has reached a final state."""
        ended = await self.when(job, *[state for state in JobState if state.is_final])
        print(ended.state, ended.failure)  # noqa: T201 - shown where a test fails
        return ended

    async def when(self, job: Job, *states: JobState) -> Job:
        """The job when it is in one of some states."""
        account = job.spec.account
        with self.service.watch(job.job_id) as news:
            while True:
                found = await self.service.job(account, job.job_id)
                if found.state in states:
                    return found
                await news.next(10)

    async def results(self, job: Job, *, inputs: bool = False) -> dict[str, Any]:
        """The columns of a job's results."""
        file = await self.service.results(job.spec.account, job.job_id)
        text = b"".join(file.json(Selection(inputs=inputs)))
        columns: dict[str, Any] = json.loads(text)
        return columns


@asynccontextmanager
async def _deployment(
    folder: Path, models: Catalogue, **config: Any
) -> AsyncIterator[Bench]:
    """Open a deployment in a folder."""
    settings = ServiceConfig(data_dir=folder / "data", catalogue=models)
    async with open_service(replace(settings, **config)) as service:
        yield Bench(service, folder)


@pytest.fixture
def catalogue() -> Callable[..., Catalogue]:
    """Makes the catalogue of one model, `m`, on a scripted server."""
    return _catalogue


@pytest.fixture
def deployment() -> Any:
    """Opens a deployment in a folder."""
    return _deployment


@pytest.fixture
def publish() -> Callable[..., None]:
    """Publishes `lead-qualifier`, with changes, in a deployment's folder."""

    def publish(folder: Path, *, account: str = "alice", **changes: Any) -> None:
        registry = FunctionRegistry(folder / "data" / "functions")
        registry.publish(account, {**QUALIFIER, **changes})

    return publish
