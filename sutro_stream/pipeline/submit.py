"""The stage that submits rows to a deployment: a job for each batch of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from anyio import CancelScope, Semaphore, to_thread
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from sutro_stream.deployments.deployment import Deployment
from sutro_stream.deployments.kept_results import KeptResults
from sutro_stream.deployments.sent_jobs import SentJobs
from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.meter import Meter
from sutro_stream.flow.outcome_store import Recording
from sutro_stream.flow.retry import RetryPolicy
from sutro_stream.flow.stage import Columns, RunContext
from sutro_stream.ledger.ledger import Ledger, OpenMode
from sutro_stream.pipeline.batch_jobs import BatchJobs
from sutro_stream.pipeline.job_batches import Cutter
from sutro_stream.pipeline.recorded_step import UNRECORDED
from sutro_stream.pipeline.row_json import RowJson
from sutro_stream.pipeline.submission_run import SubmissionRun
from sutro_stream.values.fingerprint import fingerprint
from sutro_stream.values.instructions import Instructions, PromptForm
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import OutcomeBatch, Result
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.sampling import SamplingParams
from sutro_stream.values.schema import OutputSchema
from sutro_stream.wire.submission import PRIORITIES, Submission

# Some five minutes: a deployment that is restarted by hand is waited for.
PATIENCE = RetryPolicy(attempts=60, first_delay_s=0.5, longest_delay_s=10.0)
"""When requests of a run are sent again, if the user says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submit:
    """Send rows or prompts to a deployment, in jobs of many rows.

    Its attributes are the arguments of `pipeline.api.submit`, parsed, and described
    there.
    """

    deployment: Deployment
    model: str | None = None
    batch_rows: int = 1000
    batch_bytes: int = 8 << 20
    concurrency: int = 4
    ordered: bool = True
    priority: int = 1
    sampling: SamplingParams = SamplingParams()
    send_instructions: bool = True
    columns: Sequence[str] | None = None
    output_schema: OutputSchema | None = None
    seed_per_row: bool = False
    truncate_rows: bool = False
    name: str | None = None
    poll_s: float = 5.0
    retry: RetryPolicy = PATIENCE

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        for name in ("batch_rows", "batch_bytes", "concurrency"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be at least 1")
        if self.priority not in PRIORITIES:
            raise ConfigurationError("priority must be 0 or 1")
        if not self.poll_s > 0:
            raise ConfigurationError("poll_s must be above 0")

    @property
    def yields(self) -> type[Result]:
        return Result

    def columns_needed(self, wanted: Columns) -> Columns:
        """See `Stage`: whether rows are sent or prompts is not known yet."""
        if wanted is None or self.columns is None:
            return None
        return wanted | set(self.columns)

    def bind(self, shape: Shape, context: RunContext) -> SubmitStep:
        given, rows = shape.instructions, shape.rows
        schema = None
        if shape.kind is PromptBatch and given is not None:
            instructions = self._instructions(given)
            reader = RowJson.of_prompts()
            if self.send_instructions:
                schema = instructions.schema
        else:
            rows, row_batches = shape.as_rows()
            names = rows.names if self.columns is None else list(self.columns)
            if not names:
                raise ConfigurationError("submit: the rows have no column to send")
            instructions = Instructions(
                model=self.model, schema=self.output_schema, sampling=self.sampling
            )
            reader = RowJson.of_rows(rows, names, row_batches)
        return SubmitStep(
            stage=self,
            shape=Shape(kind=OutcomeBatch, rows=rows, instructions=instructions),
            reader=reader,
            submission=Submission(
                model=instructions.model,
                system_prompt=instructions.system_prompt,
                json_schema=None if schema is None else schema.definition,
                sampling_params=instructions.sampling.given(),
                priority=self.priority,
                seed_per_row=self.seed_per_row,
                truncate_rows=self.truncate_rows,
                name=self.name,
            ),
            meter=context.meter,
        )

    def _instructions(self, given: Instructions) -> Instructions:
        """What is asked of prompts that bring some."""
        if self.output_schema is not None:
            raise ConfigurationError(
                "output_schema is for rows; prompts bring their schema with them"
            )
        if given.form is not PromptForm.TEXT or given.examples:
            raise ConfigurationError(
                "submit: a deployment takes prompts that are texts; chat messages, "
                "images and a Function's examples are for infer (--engine)"
            )
        own = given if self.send_instructions else Instructions(schema=given.schema)
        return replace(
            own,
            model=self.model or given.model,
            sampling=own.sampling.merged(self.sampling),
        )


@dataclass(slots=True, kw_only=True)
class SubmitStep:
    """One run of `Submit`; its submission is what all jobs share."""

    stage: Submit
    shape: Shape
    reader: RowJson
    submission: Submission
    meter: Meter
    sent: SentJobs = field(default_factory=SentJobs)
    results: KeptResults = field(default_factory=KeptResults)
    # Results lie in a file for each job.
    keeps_answers: bool = True
    needs_memory: bool = False

    @property
    def schema(self) -> OutputSchema | None:
        """What answers must meet, `None` for text."""
        instructions = self.shape.instructions
        return None if instructions is None else instructions.schema

    @property
    def identity(self) -> Mapping[str, str]:
        """See `Step`; batches of other sizes would not find earlier jobs."""
        asked = self.submission
        schema = self.schema
        parts = {
            "model": asked.model or "the deployment's own",
            "system prompt": fingerprint(asked.system_prompt),
            "output schema": fingerprint(schema and schema.definition),
            "sampling parameters": fingerprint(asked.sampling_params),
            "what is sent": self.reader.what,
            "size of jobs": f"{self.stage.batch_rows} rows, {self.stage.batch_bytes} B",
        }
        if asked.seed_per_row:
            parts["seeds"] = "one for each row"
        return parts

    @property
    def is_ordered(self) -> bool:
        return self.stage.ordered

    @property
    def is_waiting(self) -> bool:
        return not self.sent.is_empty

    @asynccontextmanager
    async def beside(
        self, ledger: Ledger, path: Path, mode: OpenMode
    ) -> AsyncIterator[None]:
        """See `RecordedStep`: the list of jobs that are out, and results that came."""
        restart = mode is OpenMode.RESTART
        jobs, results = Path(f"{path}-jobs"), Path(f"{path}-results")

        def opened() -> None:
            self.results.open(results, restart=restart)
            self.sent.open(jobs, restart=restart)

        def closed(*, remove: bool) -> None:
            # Without its list, a folder of results is nothing.
            self.results.close(remove=remove)
            self.sent.close(remove=remove)

        await to_thread.run_sync(opened)
        try:
            yield
        finally:
            with CancelScope(shield=True):
                remove = ledger.is_done_with
                await to_thread.run_sync(partial(closed, remove=remove))

    async def __call__(
        self,
        source: ObjectReceiveStream[Any],
        sink: ObjectSendStream[Any],
        recording: Recording = UNRECORDED,
    ) -> None:
        """See `RecordedStep`; what is still running there is cancelled."""
        stage = self.stage
        jobs = BatchJobs(
            deployment=stage.deployment.retrying(stage.retry),
            submission=self.submission,
            sent=self.sent,
            results=self.results,
            slots=Semaphore(stage.concurrency),
            poll_s=stage.poll_s,
            meter=self.meter,
        )
        self.meter.concurrency = stage.concurrency
        ordered = stage.ordered and not recording.is_ordered_elsewhere
        in_memory = 2 * stage.concurrency if ordered else stage.concurrency + 1
        run = SubmissionRun(
            reader=self.reader,
            cutter=Cutter(most_rows=stage.batch_rows, most_bytes=stage.batch_bytes),
            jobs=jobs,
            live=Semaphore(in_memory),
            ordered=ordered,
            schema=self.schema,
            meter=self.meter,
            recording=recording,
        )
        await run.run(source, sink)
