"""One job's work: the library's own pipeline, from its rows to its results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias
from zlib import crc32

from anyio import to_thread

from sutro_stream.engines.confidence import scoring
from sutro_stream.engines.engine import Engine
from sutro_stream.engines.fair_share import FairShareEngine
from sutro_stream.engines.request_counts import CountedEngine
from sutro_stream.engines.truncation import truncating
from sutro_stream.errors import (
    ConfigurationError,
    StopReason,
    StoreError,
    WorkChangedError,
)
from sutro_stream.flow.budget import Budget, BudgetMeter
from sutro_stream.flow.meter import Statistics
from sutro_stream.jobs.activity import Activity
from sutro_stream.jobs.config import ServiceConfig
from sutro_stream.jobs.cost import price
from sutro_stream.jobs.datasets import DatasetStore
from sutro_stream.jobs.discretion import without_addresses
from sutro_stream.jobs.engines import EnginePool, alternatives
from sutro_stream.jobs.estimating import estimate_job
from sutro_stream.jobs.folder import DataFolder, JobFolder
from sutro_stream.jobs.inputs import count_rows, open_source, preparing, prompting
from sutro_stream.jobs.model_slots import ModelSlots
from sutro_stream.jobs.progress import LiveProgress
from sutro_stream.jobs.result_form import JobResults, ResultColumns
from sutro_stream.jobs.runner import Ending
from sutro_stream.jobs.store import JobTotals
from sutro_stream.jobs.tally import Tally
from sutro_stream.jobs.targets import Target, Targets
from sutro_stream.jobs.token_quota import TokenQuotaEngine
from sutro_stream.ledger.inspection import inspect
from sutro_stream.pipeline.file_pipeline import FilePipeline
from sutro_stream.pipeline.infer import Infer
from sutro_stream.pipeline.pipeline import Pipeline
from sutro_stream.sinks.files import FileSink
from sutro_stream.values.catalogue import Model, ModelKind
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.job import Job, JobProgress, JobSpec, RunType
from sutro_stream.values.layout import Shape

# A prototype gets nearly all slots that come free, and production never none.
_WEIGHTS = {0: 16.0, 1: 1.0}
_USUAL_ANSWER_TOKENS = 512

Running: TypeAlias = Callable[[int | None], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """A job with all that its names stand for."""

    job: Job
    target: Target
    instructions: Instructions
    files: JobFolder

    @property
    def spec(self) -> JobSpec:
        return self.job.spec

    @property
    def model(self) -> Model:
        return self.target.model

    @property
    def answer_room(self) -> int:
        """Tokens to keep for an answer where rows are cut to fit."""
        if self.model.kind is ModelKind.EMBEDDING:
            return 0
        wanted = self.instructions.sampling.answer_limit
        return wanted or self.model.max_output_tokens or _USUAL_ANSWER_TOKENS


class JobExecution:
    """See `Execution`; shares each model's slots fairly among all jobs."""

    def __init__(
        self,
        *,
        config: ServiceConfig,
        targets: Targets,
        datasets: DatasetStore,
        engines: EnginePool,
        slots: ModelSlots,
        activity: Activity,
    ) -> None:
        self._config = config
        self._folder = DataFolder(config.data_dir)
        self._targets = targets
        self._datasets = datasets
        self._engines = engines
        self._slots = slots
        self._activity = activity

    async def run(self, job: Job, live: LiveProgress, running: Running) -> Ending:
        """See `Execution`."""
        target = await to_thread.run_sync(self._targets.of_job, job.spec)
        files = self._folder.job(job.job_id)
        work = _Work(
            job=job,
            target=target,
            instructions=_instructions(job, target),
            files=files,
        )
        config = self._config
        await to_thread.run_sync(lambda: files.root.mkdir(exist_ok=True))
        source = await open_source(
            job.spec, files, urls=config.urls, datasets=self._datasets
        )
        rows = await count_rows(source) if job.rows is None else job.rows
        self._check_quota(job, rows)
        before = preparing(job.spec, flatten_newlines=config.flatten_newlines)
        prompts = await prompting(job.spec, target, source, work.instructions)
        pipeline = Pipeline[Any](source, (*before, prompts))
        await running(rows)
        if job.spec.run_type is RunType.ESTIMATE:
            return await estimate_job(
                job,
                target,
                pipeline,
                work.instructions,
                answer_room=work.answer_room,
                tokenizer=await self._engines.tokenizer(work.model),
                live=live,
            )
        live.begin(await to_thread.run_sync(_earlier, files))
        return await self._ask(work, pipeline, live)

    def _check_quota(self, job: Job, rows: int) -> None:
        quota = self._config.quotas[job.spec.priority]
        if rows > quota.rows:
            raise ConfigurationError(
                f"the input has {rows} rows, and a job of priority "
                f"{job.spec.priority} may have {quota.rows}"
            )

    async def _ask(
        self, work: _Work, pipeline: Pipeline[Any], live: LiveProgress
    ) -> Ending:
        engine = await self._engines.engine(work.model)
        slots = self._slots.of(work.model, engine)
        tenant = (work.spec.account, work.spec.priority)
        counts = self._activity.of(work.model.name)
        done = counts.job()
        tallies: list[Tally] = []

        def form(shape: Shape) -> Tally:
            tallies.append(Tally(JobResults(shape, _columns(work))))
            return tallies[-1]

        def progress(statistics: Statistics) -> None:
            live.take(statistics)
            done.take(statistics)

        with slots.joined(tenant, weight=_WEIGHTS[work.spec.priority]) as joined:
            quota = self._config.quotas[work.spec.priority]
            counted = CountedEngine(engine, counts.requests)
            shared = FairShareEngine(counted, slots, joined)
            spent = BudgetMeter(Budget(tokens=quota.tokens), started_s=0.0)
            asked = await self._asked(work, TokenQuotaEngine(shared, spent))
            infer = Infer(
                engine=asked,
                concurrency=slots.capacity,
                # A job waits for its endpoint without end.
                patience_s=None,
                seed_per_row=work.spec.seed_per_row,
                # Who reads a job's messages has no such options.
                advises=False,
            )
            filing = FilePipeline(
                (pipeline | infer).prepare,
                FileSink(work.files.results, format="parquet"),
                form,
            )
            try:
                # The ledger goes when the job's end is stored: a crash between the
                # two must not ask everything again.
                report = await filing.run(
                    keep_ledger=True, leave_log=True, on_progress=progress
                )
            except WorkChangedError as error:
                raise ConfigurationError(
                    "the deployment was changed while the job was under way "
                    f"({', '.join(error.differences)}); submit it again"
                ) from error
        done.rows(report.rows_answered, report.rows_failed)
        if report.stop_reason is StopReason.BUDGET:
            return Ending(
                totals=JobTotals(),
                failure=f"the job may use {quota.tokens} tokens, which it has after "
                f"{report.rows_answered + report.rows_failed} rows",
            )
        if report.stopped is not None:
            failure = without_addresses(report.stopped)
            return Ending(totals=JobTotals(), failure=failure)
        return _ending(work.model, tallies[-1])

    async def _asked(self, work: _Work, engine: Engine) -> Engine:
        """The engine with what the job wants beside plain answers."""
        model = work.model
        if (field := work.target.confidence_field) is not None:
            engine = scoring(engine, field, alternatives=alternatives(model))
        if not work.spec.truncate_rows:
            return engine
        return truncating(
            engine,
            tokenizer=await self._engines.tokenizer(model),
            context_window=model.window,
            answer_room=work.answer_room,
        )


def _instructions(job: Job, target: Target) -> Instructions:
    instructions = target.instructions(job.spec)
    sampling = instructions.sampling
    if job.spec.seed_per_row and sampling.seed is None:
        # Of the job, so that a restart goes on with the same seeds.
        sampling = replace(sampling, seed=crc32(job.job_id.encode()) >> 1)
    if target.model.logprobs and sampling.logprobs is None:
        sampling = replace(sampling, logprobs=0)
    return replace(instructions, sampling=sampling)


def _columns(work: _Work) -> ResultColumns:
    target = work.target
    return ResultColumns(
        id_column=work.spec.id_column,
        kind=target.model.kind,
        reasoning=target.model.reasoning,
        logprobs=target.model.logprobs,
        confidence_field=target.confidence_field,
    )


def _earlier(files: JobFolder) -> JobProgress:
    """What runs of earlier processes have used."""
    ledger = Path(f"{files.results}.ledger")
    with suppress(StoreError):
        if ledger.exists():
            found = inspect(ledger).statistics
            return JobProgress(
                input_tokens=found.input_tokens, output_tokens=found.output_tokens
            )
    return JobProgress()


def _ending(model: Model, tally: Tally) -> Ending:
    failure = None
    reason = tally.usual_failure()
    if reason is not None and tally.failed_rows == tally.rows:
        failure = "no row was answered; most of them: "
        failure += without_addresses(reason.message)
    totals = JobTotals(
        rows=tally.rows,
        failed_rows=tally.failed_rows,
        input_tokens=tally.input_tokens,
        output_tokens=tally.output_tokens,
        cost_usd=price(
            model, tally.input_tokens, tally.output_tokens, tally.cached_tokens
        ),
        answered_by=tally.answered_by,
        note=_cut_note(tally.cut) if tally.cut else None,
    )
    return Ending(totals=totals, failure=failure)


def _cut_note(rows: int) -> str:
    answers = "1 answer was" if rows == 1 else f"{rows:,} answers were"
    return f"{answers} cut off at the token limit; max_tokens gives more room"
