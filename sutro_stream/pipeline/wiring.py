"""A pipeline that runs: one task for each step, between source and consumer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

import anyio
from anyio.abc import ObjectReceiveStream, ObjectSendStream, TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from sutro_stream.flow.groups import single_error
from sutro_stream.flow.meter import Meter, Statistics
from sutro_stream.flow.outcome_store import Recording
from sutro_stream.flow.stage import Step
from sutro_stream.pipeline.recorded_step import RecordedStep
from sutro_stream.pipeline.results import Results
from sutro_stream.pipeline.sifting import Sieve
from sutro_stream.sources.source import Reader
from sutro_stream.values.layout import Batch, Shape

_Link: TypeAlias = tuple[
    MemoryObjectSendStream[Batch], MemoryObjectReceiveStream[Batch]
]

_PROGRESS_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRun:
    """A pipeline that fits together, before its first row."""

    reader: Reader
    steps: tuple[Step, ...]
    shape: Shape
    meter: Meter
    sieve: Sieve

    def statistics(self) -> Statistics:
        """The run's counters now."""
        return self.meter.statistics(anyio.current_time())

    @asynccontextmanager
    async def start(
        self,
        on_progress: Callable[[Statistics], None] | None = None,
        *,
        recordings: Mapping[int, Recording] = MappingProxyType({}),
    ) -> AsyncIterator[Results[Any]]:
        """Run all stages until the context is left, telling several times a second.

        Steps that get answers are handed their `recordings`, by their place.
        """
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
                    yield self._start_steps(tasks, links, recordings)
                    tasks.cancel_scope.cancel()
        finally:
            # A task that was cancelled before its first step closed nothing.
            for sink, source in links:
                sink.close()
                source.close()

    def _start_steps(
        self,
        tasks: TaskGroup,
        links: Sequence[_Link],
        recordings: Mapping[int, Recording],
    ) -> Results[Any]:
        crew = _Crew(size=len(links), finished=anyio.Event())
        (first, source), *others = links
        tasks.start_soon(crew.read, self, first)
        for at, (step, (sink, following)) in enumerate(
            zip(self.steps, others, strict=True)
        ):
            work: Callable[..., Awaitable[None]] = step
            if at in recordings and isinstance(step, RecordedStep):
                work = partial(step, recording=recordings[at])
            tasks.start_soon(crew.run, work, source, sink)
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

    async def read(self, run: PreparedRun, sink: ObjectSendStream[Batch]) -> None:
        reader, meter, sieve = run.reader, run.meter, run.sieve
        async with sink:
            while (read := await reader.read()) is not None:
                try:
                    for batch in sieve.sift(read, meter):
                        meter.rows_read += len(batch)
                        await sink.send(batch)
                except anyio.BrokenResourceError:
                    break
        self._one_ended()

    async def run(
        self,
        step: Callable[..., Awaitable[None]],
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
