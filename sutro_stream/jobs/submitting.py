"""From a request's body to an accepted job."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from anyio import CancelScope, to_thread

from sutro_stream.errors import ConfigurationError
from sutro_stream.jobs.config import Quota
from sutro_stream.jobs.datasets import DatasetStore
from sutro_stream.jobs.folder import DataFolder
from sutro_stream.jobs.intake import ArrayBody, Body, open_body, take_rows
from sutro_stream.jobs.intake_workers import IntakeWorkers
from sutro_stream.jobs.targets import Target, Targets
from sutro_stream.values.catalogue import ModelKind
from sutro_stream.values.job import (
    InputKind,
    Job,
    JobInput,
    JobSpec,
    JobState,
    RunType,
)
from sutro_stream.wire.api_error import ApiError, invalid
from sutro_stream.wire.submission import Submission, parse_submission

_DATASET = "dataset-"
_ADDRESSES = ("http://", "https://")


class Submitter:
    """Checks what is asked and brings its rows into the job's folder.

    Nothing is stored in the database here: that is what accepts a job.
    """

    def __init__(
        self,
        *,
        targets: Targets,
        datasets: DatasetStore,
        folder: DataFolder,
        quotas: Mapping[int, Quota],
        workers: IntakeWorkers,
    ) -> None:
        self._targets = targets
        self._workers = workers
        self._datasets = datasets
        self._folder = folder
        self._quotas = quotas

    async def prepare(self, account: str, path: Path) -> Job:
        """The job that a body asks for, with its folder.

        Args:
            account: Whose it will be.
            path: File of the body.

        Cancellation: its folder is removed.

        Raises:
            ApiError: It cannot be accepted; says why.
            StoreError: Its rows cannot be written.
        """
        body = await open_body(path, workers=self._workers)
        # Megabytes of fields, or a schema that has much to count, take their time.
        asked = await to_thread.run_sync(parse_submission, body.fields)
        target = await to_thread.run_sync(
            lambda: self._targets.named(asked.model, account=account)
        )
        source = _source(body)
        _check(asked, target, source)
        if source.kind is InputKind.DATASET:
            # Another account's is not found, now and not in an hour.
            await to_thread.run_sync(
                self._datasets.files, account, str(source.reference)
            )
        job = Job(
            job_id=f"job-{uuid.uuid4()}",
            spec=self._spec(account, asked, target, source),
            state=JobState.QUEUED,
            created_at=datetime.now(UTC),
        )
        if isinstance(body.inputs, ArrayBody):
            rows = await self._take_rows(job, path, body.inputs, target)
            job = replace(job, rows=rows)
        return job

    async def drop(self, job: Job) -> None:
        """Remove what `prepare` has made."""
        with CancelScope(shield=True):
            await to_thread.run_sync(self._folder.job(job.job_id).remove)

    async def _take_rows(
        self, job: Job, path: Path, array: ArrayBody, target: Target
    ) -> int:
        files = self._folder.job(job.job_id)
        function = target.function
        try:
            await to_thread.run_sync(files.root.mkdir)
            stored = await take_rows(
                path,
                array,
                files.rows,
                workers=self._workers,
                declared=None if function is None else function.inputs,
                most_rows=self._quotas[job.spec.priority].rows,
            )
        except BaseException:
            # Refused, or the client left: nobody will ask for these rows.
            await self.drop(job)
            raise
        return stored.rows

    def _spec(
        self, account: str, asked: Submission, target: Target, source: JobInput
    ) -> JobSpec:
        function = target.function if target.is_published else None
        try:
            sampling = target.sampling(asked.sampling_params)
        except ConfigurationError as error:
            raise invalid(str(error)) from error
        return JobSpec(
            account=account,
            model=asked.model or self._targets.default,
            input=source,
            function=None if function is None else function.name,
            revision=None if function is None else function.revision,
            priority=asked.priority,
            run_type=RunType.ESTIMATE if asked.cost_estimate else RunType.FULL,
            column=None if source.kind is InputKind.ROWS else asked.column_name,
            id_column=asked.id_column_name,
            system_prompt=asked.system_prompt,
            json_schema=asked.json_schema,
            sampling_params=sampling.given(),
            seed_per_row=asked.seed_per_row,
            truncate_rows=asked.truncate_rows,
            name=asked.name,
            description=asked.description,
        )


def _source(body: Body) -> JobInput:
    inputs = body.inputs
    if isinstance(inputs, ArrayBody):
        return JobInput(kind=InputKind.ROWS)
    if inputs.startswith(_DATASET):
        return JobInput(kind=InputKind.DATASET, reference=inputs)
    if inputs.lower().startswith(_ADDRESSES):
        return JobInput(kind=InputKind.URL, reference=inputs)
    raise invalid(
        "inputs: a string must be a dataset ID (dataset-...) or an address that "
        "begins with http:// or https://"
    )


def _check(asked: Submission, target: Target, source: JobInput) -> None:
    """Refuse what does not go together.

    Raises:
        ApiError: 422, names the field.
    """
    if target.is_published:
        _check_function(asked, target, source)
    if target.model.kind is ModelKind.EMBEDDING:
        for field in ("system_prompt", "json_schema", "sampling_params"):
            if getattr(asked, field):
                raise invalid(
                    f"{field}: must be left out, the model {target.model.name!r} makes "
                    "embeddings"
                )
    if source.kind is InputKind.ROWS and asked.id_column_name is not None:
        raise invalid(
            "id_column_name: is for inputs given as an address or a dataset, whose "
            "columns have names"
        )
    if source.kind is InputKind.DATASET:
        if target.function is None and asked.column_name is None:
            raise invalid("column_name: is required for a dataset")
        if asked.priority != 1:
            raise invalid("job_priority: must be 1 for a dataset")


def _check_function(asked: Submission, target: Target, source: JobInput) -> None:
    name = "" if target.function is None else target.function.name
    for field in ("system_prompt", "json_schema", "column_name"):
        if getattr(asked, field) is not None:
            raise invalid(
                f"{field}: must be left out, it comes from the Function {name!r}"
            )
    if source.kind is InputKind.DATASET:
        raise ApiError(
            422,
            "unsupported_input",
            f"inputs: the Function {name!r} does not take datasets; send rows or the "
            "address of a CSV or Parquet file",
        )
