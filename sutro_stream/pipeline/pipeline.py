"""Composition: a source, the stages behind it, and perhaps a file at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeVar, overload

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream, TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from sutro_stream.flow.groups import single_error
from sutro_stream.flow.meter import Meter, Statistics
from sutro_stream.flow.stage import Columns, Stage, Step
from sutro_stream.pipeline.filing import OutputFile
from sutro_stream.pipeline.report import RunReport, report_of
from sutro_stream.pipeline.results import Results
from sutro_stream.sinks.sink import Sink
from sutro_stream.sources.source import Reader, Source
from sutro_stream.values.layout import Batch, Shape
from sutro_stream.values.rows import RowBatch

ItemT_co = TypeVar("ItemT_co", covariant=True)
NextT = TypeVar("NextT")

_Link: TypeAlias = tuple[
    MemoryObjectSendStream[Batch], MemoryObjectReceiveStream[Batch]
]

_PROGRESS_INTERVAL_S = 0.2


# Without slots: `Pipeline[Row](source)` sets an attribute that typing ignores when it
# cannot, and a frozen class with slots raises something else.
@dataclass(frozen=True)
class Pipeline(Generic[ItemT_co]):
    """A source and the stages behind it; a description that can run many times.

    `pipeline | stage` and `pipeline | sink` make longer ones. The type parameter
    is what an iterator over the pipeline yields.
    """

    source: Source
    stages: tuple[Stage[Any], ...] = ()

    @overload
    def __or__(self, following: Stage[NextT]) -> Pipeline[NextT]: ...
    @overload
    def __or__(self, following: Sink) -> FilePipeline: ...
    def __or__(self, following: object) -> Pipeline[Any] | FilePipeline:
        """This pipeline, going on with another stage, or ending in a file."""
        if hasattr(following, "bind"):
            stage: Any = following
            return replace(self, stages=(*self.stages, stage))
        if hasattr(following, "path"):
            sink: Any = following
            return FilePipeline(self, sink)
        return NotImplemented

    def open(
        self, *, columns: Sequence[str] | None = None
    ) -> AbstractAsyncContextManager[Results[ItemT_co]]:
        """Start the pipeline; `async with pipeline.open() as results`.

        Leaving the context, for whatever reason, stops every task and closes
        every file and connection the pipeline opened.

        Args:
            columns: Input columns wanted beside the results; `None` wants all.

        Raises:
            ConfigurationError: Stages, columns and engine do not fit together;
                nothing was sent.
            SourceError: The input cannot be read, on entering or later.
            EngineError: No row can be answered (key, quota, endpoint gone).
        """
        return self._open(None if columns is None else frozenset(columns))

    @asynccontextmanager
    async def _open(self, wanted: Columns) -> AsyncIterator[Results[ItemT_co]]:
        async with self.prepare(wanted) as run, run.start() as results:
            yield results

    @asynccontextmanager
    async def prepare(self, wanted: Columns) -> AsyncIterator[PreparedRun]:
        """Open the source and bind the stages; nothing is read or sent yet."""
        meter = Meter(started_s=anyio.current_time())
        for stage in reversed(self.stages):
            wanted = stage.columns_needed(wanted)
        async with self.source.open(wanted) as reader:
            meter.rows_total = reader.row_count
            shape = Shape(kind=RowBatch, rows=reader.schema)
            steps: list[Step] = []
            for stage in self.stages:
                steps.append(stage.bind(shape, meter))
                shape = steps[-1].shape
            yield PreparedRun(
                reader=reader, steps=tuple(steps), shape=shape, meter=meter
            )


@dataclass(frozen=True, slots=True)
class FilePipeline:
    """A pipeline that ends in a file."""

    pipeline: Pipeline[Any]
    sink: Sink

    async def run(
        self, *, on_progress: Callable[[Statistics], None] | None = None
    ) -> RunReport:
        """Run to the end; the file appears whole, or not at all.

        Args:
            on_progress: Called several times a second with the run's counters.

        Cancellation: everything stops; the final name is untouched.

        Raises:
            SinkError: The output cannot be written.
            SutroStreamError: As `Pipeline.open`.
        """
        kept = self.sink.columns
        wanted = None if kept is None else frozenset(kept)
        async with self.pipeline.prepare(wanted) as run:
            layout = run.shape.layout(kept)
            async with self.sink.open(layout.schema) as writer:
                output = OutputFile(writer, layout, run.meter)
                async with run.start(on_progress) as results:
                    while (batch := await results.next_batch()) is not None:
                        await output.add(batch)
                    await output.finish()
            return report_of(run.statistics(), path=self.sink.path, rows=output.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRun:
    """A pipeline that fits together, before its first row."""

    reader: Reader
    steps: tuple[Step, ...]
    shape: Shape
    meter: Meter

    def statistics(self) -> Statistics:
        """The run's counters now."""
        return self.meter.statistics(anyio.current_time())

    @asynccontextmanager
    async def start(
        self, on_progress: Callable[[Statistics], None] | None = None
    ) -> AsyncIterator[Results[Any]]:
        """Run all stages until the context is left."""
        # No buffers: while a step works on one batch, its neighbour has the next
        # one ready in hand, and that is all that can be gained.
        links = [
            anyio.create_memory_object_stream[Batch](0) for _ in (None, *self.steps)
        ]
        try:
            with single_error():
                async with anyio.create_task_group() as tasks:
                    if on_progress is not None:
                        tasks.start_soon(self._report, on_progress)
                    yield self._start_steps(tasks, links)
                    tasks.cancel_scope.cancel()
        finally:
            # A task that was cancelled before its first step closed nothing.
            for sink, source in links:
                sink.close()
                source.close()

    def _start_steps(self, tasks: TaskGroup, links: Sequence[_Link]) -> Results[Any]:
        crew = _Crew(size=len(links), finished=anyio.Event())
        (first, source), *others = links
        tasks.start_soon(crew.read, self.reader, first, self.meter)
        for step, (sink, following) in zip(self.steps, others, strict=True):
            tasks.start_soon(crew.run, step, source, sink)
            source = following
        return Results(
            source, self.shape, finished=crew.finished, statistics=self.statistics
        )

    async def _report(self, on_progress: Callable[[Statistics], None]) -> None:
        while True:
            on_progress(self.statistics())
            await anyio.sleep(_PROGRESS_INTERVAL_S)


@dataclass(slots=True, kw_only=True)
class _Crew:
    """The tasks of one run, and whether they all ended well."""

    size: int
    finished: anyio.Event

    async def read(
        self, reader: Reader, sink: ObjectSendStream[Batch], meter: Meter
    ) -> None:
        async with sink:
            while (records := await reader.read()) is not None:
                batch = RowBatch(records=records, first_index=meter.rows_read)
                meter.rows_read += len(batch)
                try:
                    await sink.send(batch)
                except anyio.BrokenResourceError:
                    break
        self._one_ended()

    async def run(
        self,
        step: Step,
        source: ObjectReceiveStream[Batch],
        sink: ObjectSendStream[Batch],
    ) -> None:
        try:
            await step(source, sink)
        except* anyio.BrokenResourceError:
            # The stage behind has enough (a limit), or failed and says so itself.
            pass
        self._one_ended()

    def _one_ended(self) -> None:
        self.size -= 1
        if not self.size:
            self.finished.set()
