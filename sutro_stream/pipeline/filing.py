"""A pipeline that ends in a file: straight into it, or by way of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from sutro_stream.errors import BudgetExhaustedError, ConfigurationError
from sutro_stream.flow.meter import Meter, Statistics
from sutro_stream.flow.stage import Columns
from sutro_stream.ledger.ledger import Ledger, OpenMode
from sutro_stream.pipeline.infer import InferStep
from sutro_stream.pipeline.keeping import keeping
from sutro_stream.pipeline.report import RunReport, report_of
from sutro_stream.pipeline.running import PreparedRun
from sutro_stream.sinks.sink import Sink, Writer
from sutro_stream.values.layout import Batch, Layout, Shape
from sutro_stream.values.outcomes import Outcome, OutcomeBatch
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch

OnProgress: TypeAlias = Callable[[Statistics], None] | None
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

    def __init__(self, writer: Writer, layout: Layout, meter: Meter) -> None:
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
        if isinstance(batch, PromptBatch):
            for error in batch.refused.values():
                self._meter.failures[error.kind] += 1
            self._meter.answered += len(batch) - len(batch.refused)
        if self._pending_rows >= _ROWS_PER_WRITE:
            await self._write()

    async def finish(self) -> None:
        """Write what is left and put the file in place."""
        await self._write()
        await self._writer.finish()

    async def _write(self) -> None:
        pending, self._pending = self._pending, []
        self.rows += self._pending_rows
        self._pending_rows = 0
        for batch in _joined(pending):
            await self._writer.write(self._layout.records(batch))


def _joined(batches: list[Batch]) -> list[Batch]:
    """The same rows in the same order, with neighbours of one input batch joined."""
    joined: list[Batch] = []
    for _, group in groupby(batches, key=_origin):
        members = list(group)
        first = members[0]
        if len(members) == 1 or not isinstance(first, OutcomeBatch):
            joined += members
            continue
        outcomes = [member for member in members if isinstance(member, OutcomeBatch)]
        joined.append(OutcomeBatch.join(outcomes))
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
    """

    prepare: Prepare
    sink: Sink

    @property
    def ledger_path(self) -> Path:
        """Where the ledger lies while the file is not complete."""
        return self.sink.path.with_name(f"{self.sink.path.name}.ledger")

    async def run(
        self,
        *,
        mode: OpenMode = OpenMode.RESUME,
        keep_ledger: bool = False,
        failures_to: Sink | None = None,
        on_progress: OnProgress = None,
    ) -> RunReport:
        """Run to the end; the file appears whole, or not at all.

        A run whose budget is spent before the end is reported as incomplete; its
        ledger stays, and there is no file yet.

        Args:
            mode: What becomes of answers that an interrupted run has left.
            keep_ledger: Whether the ledger stays when the file is complete.
            failures_to: File for the input rows without an answer, which is valid
                input for another run; written in any case. `None` for none.
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
        everything = kept is None or failures_to is not None
        wanted = None if everything or kept is None else frozenset(kept)
        async with AsyncExitStack() as stack:
            run = await stack.enter_async_context(self.prepare(wanted))
            layout = run.shape.layout(kept)
            writer = await stack.enter_async_context(self.sink.open(layout.schema))
            if not any(isinstance(step, InferStep) for step in run.steps):
                rows = await _stream(run, layout, writer, on_progress)
                return report_of(run.statistics(), path=self.sink.path, rows=rows)
            ledger = await stack.enter_async_context(
                keeping(run, self.ledger_path, mode)
            )
            try:
                if _is_filed(run) and ledger is not None:
                    filing = _Filing(run, ledger, layout, writer)
                    rows = await filing.run(failures_to, on_progress)
                elif failures_to is not None:
                    raise ConfigurationError(
                        "failures_to needs ordered results, and the call of the "
                        "engine as the last stage"
                    )
                else:
                    rows = await _stream(run, layout, writer, on_progress)
            except BudgetExhaustedError as error:
                path, stopped = self.sink.path, str(error)
                return report_of(run.statistics(), path=path, rows=0, stopped=stopped)
            if ledger is not None:
                await ledger.finish(remove=not keep_ledger)
            return report_of(run.statistics(), path=self.sink.path, rows=rows)


def _is_filed(run: PreparedRun) -> bool:
    """Whether the file can be made from the ledger alone, in input order."""
    last = run.steps[-1]
    return isinstance(last, InferStep) and last.stage.ordered


async def _stream(
    run: PreparedRun, layout: Layout, writer: Writer, on_progress: OnProgress
) -> int:
    """Write what comes out of the last stage as it comes; the number of rows."""
    output = OutputFile(writer, layout, run.meter)
    async with run.start(on_progress) as results:
        while (batch := await results.next_batch()) is not None:
            await output.add(batch)
        await output.finish()
    return output.rows


class _Filing:
    """A run whose outcomes go into the ledger in any order, and from it into files.

    A row that takes long holds up nothing: it is in the ledger when the file is
    written, and the file is written last.
    """

    def __init__(
        self, run: PreparedRun, ledger: Ledger, layout: Layout, writer: Writer
    ) -> None:
        self._run = run
        self._ledger = ledger
        self._layout = layout
        self._writer = writer

    async def run(self, failures_to: Sink | None, on_progress: OnProgress) -> int:
        """Ask, then write; the number of rows."""
        inputs = Shape(kind=RowBatch, rows=self._run.shape.rows)
        columns = None if failures_to is not None else self._layout.kept
        await self._ask(inputs.layout(columns), on_progress)
        if failures_to is None:
            return await self._write(None, None)
        rejected = inputs.layout(failures_to.columns)
        async with failures_to.open(rejected.schema) as failures:
            return await self._write(rejected, failures)

    async def _ask(self, spooled: Layout, on_progress: OnProgress) -> None:
        ledger = self._ledger

        async def spool(batch: PromptBatch) -> None:
            await ledger.spool(batch.first_index, spooled.records(batch.rows))

        context = self._run.contexts[-1]
        context.spool = spool
        context.is_ordered_elsewhere = True
        async with self._run.start(on_progress) as results:
            while await results.next_batch() is not None:
                pass
        await ledger.flush()

    async def _write(self, rejected: Layout | None, failures: Writer | None) -> int:
        rows = 0
        async for first, records, outcomes in self._ledger.batches(rows=_ROWS_PER_READ):
            await self._writer.write(self._table(first, records, outcomes))
            rows += records.num_rows
            if failures is not None and rejected is not None:
                failed = [at for at, o in enumerate(outcomes) if o.error is not None]
                if failed:
                    batch = RowBatch(
                        records=records.take(pa.array(failed)), first_index=0
                    )
                    await failures.write(rejected.records(batch))
        if failures is not None:
            await failures.finish()
        await self._writer.finish()
        return rows

    def _table(
        self, first: int, records: pa.RecordBatch, outcomes: Sequence[Outcome]
    ) -> pa.RecordBatch:
        instructions = self._run.shape.instructions
        prompts = PromptBatch(
            rows=RowBatch(records=records, first_index=first),
            texts=pa.nulls(records.num_rows, pa.large_string()),
        )
        return self._layout.records(
            OutcomeBatch(
                prompts=prompts,
                offsets=range(records.num_rows),
                outcomes=outcomes,
                structured=instructions is not None and instructions.schema is not None,
            )
        )
