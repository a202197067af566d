"""A pipeline that ends in a file: straight into it, or by way of the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import anyio
import pyarrow as pa

from sutro_stream.errors import ConfigurationError, RunStoppedError
from sutro_stream.flow.groups import single_error
from sutro_stream.flow.meter import Meter, Statistics
from sutro_stream.flow.stage import Columns
from sutro_stream.ledger.ledger import Ledger, OpenMode
from sutro_stream.pipeline.open_ledgers import open_ledgers, recordings
from sutro_stream.pipeline.reassembly import Portion, Reassembly
from sutro_stream.pipeline.recorded_step import RecordedStep
from sutro_stream.pipeline.report import RunReport, report_of
from sutro_stream.pipeline.row_format import RowFormat, TableFormat
from sutro_stream.pipeline.wiring import PreparedRun
from sutro_stream.sinks.sink import Sink, StagedWriter, Writer
from sutro_stream.values.layout import Batch, Layout, Shape
from sutro_stream.values.outcomes import Outcome, OutcomeBatch
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch

OnProgress: TypeAlias = Callable[[Statistics], None] | None
FormatOf: TypeAlias = Callable[[Shape], RowFormat]
Prepare: TypeAlias = Callable[[Columns], AbstractAsyncContextManager[PreparedRun]]

# Rows of a table that is read back from the ledger.
_ROWS_PER_READ = 4_096
# Outcomes leave the window a few at a time; a table for each few would cost
# several times the rows themselves.
_ROWS_PER_WRITE = 1_000


class OutputFile:
    """Collects batches into tables worth writing.

    Concurrency: one task.
    """

    def __init__(self, writer: Writer, layout: Layout, meter: Meter | None) -> None:
        """Args: `meter` counts the rows where nothing is asked; `None` elsewhere."""
        self._writer = writer
        self._layout = layout
        self._meter = meter
        self._pending: list[Batch] = []
        self._pending_rows = 0
        self.rows = 0

    async def add(self, batch: Batch) -> None:
        """Take a batch; writes when enough rows have come together."""
        self._pending.append(batch)
        self._pending_rows += len(batch)
        if self._meter is not None and isinstance(batch, PromptBatch | RowBatch):
            refused = batch.errors() if isinstance(batch, RowBatch) else batch.refused
            self._meter.failures.update(error.kind for error in refused.values())
            self._meter.answered += len(batch) - len(refused)
        if self._pending_rows >= _ROWS_PER_WRITE:
            await self.flush()

    async def flush(self) -> None:
        """Write what has come together."""
        pending, self._pending = self._pending, []
        self.rows += self._pending_rows
        self._pending_rows = 0
        for batch in _joined(pending):
            await self._writer.write(self._layout.records(batch))


class FailuresFile:
    """Collects input rows without an answer.

    Concurrency: one task.
    """

    def __init__(self, writer: Writer, layout: Layout) -> None:
        self._writer = writer
        self._layout = layout

    async def add(
        self, rows: pa.RecordBatch, offsets: Sequence[int], outcomes: Sequence[Outcome]
    ) -> None:
        """Take those of the rows at `offsets` whose outcome is a failure."""
        failed = [
            offset
            for offset, outcome in zip(offsets, outcomes, strict=True)
            if outcome.error is not None
        ]
        if failed:
            batch = RowBatch(records=rows.take(pa.array(failed)), first_index=0)
            await self._writer.write(self._layout.records(batch))

    async def finish(self) -> None:
        """Put the file in place."""
        await self._writer.finish()


def _joined(batches: list[Batch]) -> list[Batch]:
    """The same rows in the same order, with neighbours of one input batch joined."""
    joined: list[Batch] = []
    for _, group in groupby(batches, key=_origin):
        members = list(group)
        outcomes = [member for member in members if isinstance(member, OutcomeBatch)]
        joined += [OutcomeBatch.join(outcomes)] if len(outcomes) > 1 else members
    return joined


def _origin(batch: Batch) -> int:
    return id(batch.prompts) if isinstance(batch, OutcomeBatch) else id(batch)


@dataclass(frozen=True, slots=True)
class FilePipeline:
    """A pipeline that ends in a file.

    Where an engine answers, a ledger beside the file keeps what was answered until
    the file is complete: a run that was interrupted goes on where it stopped.

    Attributes:
        prepare: Opens and binds the pipeline for the columns wanted.
        sink: The file.
        form: How results look in it, by the shape of the stream; `None` for input
            columns with what the results add. A form of one's own needs ordered
            results and the engine's call as the last stage.
    """

    prepare: Prepare
    sink: Sink
    form: FormatOf | None = None

    @property
    def ledger_path(self) -> Path:
        """Where the ledger lies while the file is not complete."""
        return self.sink.path.with_name(f"{self.sink.path.name}.ledger")

    async def run(
        self,
        *,
        mode: OpenMode = OpenMode.RESUME,
        keep_ledger: bool = False,
        leave_log: bool = False,
        failures_to: Sink | None = None,
        on_progress: OnProgress = None,
    ) -> RunReport:
        """Run to the end; the file appears whole, or not at all.

        A run that stopped before its end (the budget is spent, or the endpoint was
        away for longer than its patience) is reported as incomplete; its ledger
        stays, and there is no file yet.

        Args:
            mode: What becomes of answers that an interrupted run has left.
            keep_ledger: Whether the ledger stays when the file is complete. It stays
                as well where rows failed that a later run asks again.
            leave_log: See `Ledger.finish`, for one that stays.
            failures_to: File for the input rows without an answer, which is valid
                input for another run; written in any case, in the order of the
                results. `None` for none.
            on_progress: Called several times a second with the run's counters.

        Cancellation: everything stops; the final name is untouched, and what was
        answered stays in the ledger.

        Raises:
            SinkError: The output cannot be written.
            StoreError: The ledger cannot be used, by a second run for example.
            WorkChangedError: The ledger belongs to other work.
            SutroStreamError: As `Pipeline.open`.
        """
        kept = self.sink.columns
        wanted = None if kept is None or failures_to is not None else frozenset(kept)
        async with AsyncExitStack() as stack:
            run = await stack.enter_async_context(self.prepare(wanted))
            run.meter.is_timed = "seconds" in _details(self.sink)
            self._check(run, has_failures=failures_to is not None)
            form = self._form(run.shape, keeps_all=failures_to is not None)
            writer = await stack.enter_async_context(self.sink.open(form.schema))
            ledgers: Mapping[int, Ledger] = {}
            if any(isinstance(step, RecordedStep) for step in run.steps):
                opening = open_ledgers(run, self.ledger_path, mode)
                ledgers = await stack.enter_async_context(opening)
            try:
                if _is_filed(run):
                    filing = _Filing(run, ledgers, form, writer)
                    rows = await filing.run(failures_to, on_progress)
                else:
                    rows = await _stream(
                        run, self.sink, writer, ledgers, failures_to, on_progress
                    )
            except RunStoppedError as error:
                for ledger in ledgers.values():
                    ledger.stay()
                path = self.sink.path
                return report_of(run.statistics(), path=path, rows=0, stopped=error)
            report = report_of(run.statistics(), path=self.sink.path, rows=rows)
            remove = not keep_ledger and not report.rows_to_ask_again
            for ledger in ledgers.values():
                await ledger.finish(remove=remove, leave_log=leave_log)
            return report

    def _check(self, run: PreparedRun, *, has_failures: bool) -> None:
        if has_failures and _last_call(run) is None:
            raise ConfigurationError(
                "failures_to needs the call of the engine as the last stage"
            )
        if self.form is not None and not _is_filed(run):
            raise ConfigurationError(
                "a form of one's own needs ordered results, and the call of the "
                "engine as the last stage"
            )

    def _form(self, shape: Shape, *, keeps_all: bool) -> RowFormat:
        if self.form is not None:
            return self.form(shape)
        layout = shape.layout(self.sink.columns, _details(self.sink))
        return TableFormat(shape, layout, keeps_all=keeps_all)


def _details(sink: Sink) -> Sequence[str]:
    """What else the file tells of each answer; not every sink knows of it."""
    details: Sequence[str] = getattr(sink, "details", ())
    return details


def _is_filed(run: PreparedRun) -> bool:
    """Whether the file can be made from the ledger alone, in input order."""
    last = _last_call(run)
    return last is not None and last.is_ordered and not last.keeps_answers


def _last_call(run: PreparedRun) -> RecordedStep | None:
    """The last stage if it asks an engine."""
    last = run.steps[-1] if run.steps else None
    return last if isinstance(last, RecordedStep) else None


@asynccontextmanager
async def _failures_file(
    run: PreparedRun, sink: Sink | None
) -> AsyncIterator[FailuresFile | None]:
    if sink is None:
        yield None
        return
    inputs = Shape(kind=RowBatch, rows=run.shape.rows)
    layout = inputs.layout(sink.columns)
    async with sink.open(layout.schema) as writer:
        yield FailuresFile(writer, layout)


async def _stream(
    run: PreparedRun,
    sink: Sink,
    writer: Writer,
    ledgers: Mapping[int, Ledger],
    failures_to: Sink | None,
    on_progress: OnProgress,
) -> int:
    """Write what comes out of the last stage as it comes; the number of rows."""
    layout = run.shape.layout(sink.columns, _details(sink))
    # Where nothing is asked, what is written is what becomes of a row.
    output = OutputFile(writer, layout, None if ledgers else run.meter)
    async with (
        _failures_file(run, failures_to) as failures,
        run.start(on_progress, recordings=recordings(ledgers)) as results,
    ):
        while (batch := await results.next_batch()) is not None:
            await output.add(batch)
            if failures is not None and isinstance(batch, OutcomeBatch):
                rows = batch.prompts.rows.records
                await failures.add(rows, batch.offsets, batch.outcomes)
        if failures is not None:
            await failures.finish()
        await output.flush()
        await _put_in_place(writer, run, ledgers)
    return output.rows


async def _put_in_place(
    writer: Writer, run: PreparedRun, ledgers: Mapping[int, Ledger]
) -> None:
    """Give a file its final name, known to the ledger before.

    So a run that is killed behind that moment is known to be complete by the next one.
    The input is looked at once more: a file made of one that was changed meanwhile
    does not get its name.
    """
    if ledgers:
        await run.reader.identity()
        if isinstance(writer, StagedWriter):
            await ledgers[max(ledgers)].note_output(await writer.stage())
    await writer.finish()


class _Filing:
    """A run whose outcomes go into the ledger in any order, and in order into files.

    The files are written while the run still asks, as far as all rows before have
    their outcome. A row that takes long holds up nothing but the files: what has no
    room in memory behind it is read back from the ledger.
    """

    def __init__(
        self,
        run: PreparedRun,
        ledgers: Mapping[int, Ledger],
        form: RowFormat,
        writer: Writer,
    ) -> None:
        self._run = run
        self._ledgers = ledgers
        self._last = len(run.steps) - 1
        self._ledger = ledgers[self._last]
        self._form = form
        self._writer = writer
        self._outcomes = Reassembly()
        self._is_asked = False
        self._news = anyio.Event()

    async def run(self, failures_to: Sink | None, on_progress: OnProgress) -> int:
        """Ask and write; the number of rows."""
        with single_error():
            async with (
                _failures_file(self._run, failures_to) as failures,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(self._write, failures)
                await self._ask(on_progress)
                # The ledger says so if a row has no outcome: no file is cut short.
                self._outcomes.end()
                self._is_asked = True
                self._news.set()
        return self._outcomes.next_index

    async def _ask(self, on_progress: OnProgress) -> None:
        ledger, form, outcomes = self._ledger, self._form, self._outcomes

        async def spool(batch: PromptBatch) -> None:
            kept = form.kept(batch)
            await ledger.spool(batch.first_index, kept)
            outcomes.expect(batch.first_index, kept)

        handed = recordings(self._ledgers)
        handed[self._last] = replace(
            handed[self._last], spool=spool, is_ordered_elsewhere=True
        )
        async with self._run.start(on_progress, recordings=handed) as results:
            while (batch := await results.next_batch()) is not None:
                if isinstance(batch, OutcomeBatch):
                    outcomes.add(batch)
                    if outcomes.is_ready:
                        self._news.set()

    async def _write(self, failures: FailuresFile | None) -> None:
        while (portion := await self._next()) is not None:
            if portion.kept is not None:
                await self._add(portion.kept, portion.outcomes, failures)
                continue
            span = range(portion.first_index, portion.first_index + portion.rows)
            batches = self._ledger.batches(rows=_ROWS_PER_READ, span=span)
            async for _, kept, outcomes in batches:
                await self._add(kept, outcomes, failures)
        if failures is not None:
            await failures.finish()
        await _put_in_place(self._writer, self._run, self._ledgers)

    async def _next(self) -> Portion | None:
        """The next rows to write, `None` behind the last."""
        while (portion := self._outcomes.take()) is None and not self._is_asked:
            self._news = anyio.Event()
            await self._news.wait()
        return portion

    async def _add(
        self,
        kept: pa.RecordBatch,
        outcomes: Sequence[Outcome],
        failures: FailuresFile | None,
    ) -> None:
        await self._writer.write(self._form.records(kept, outcomes))
        if failures is not None:
            await failures.add(kept, range(kept.num_rows), outcomes)
