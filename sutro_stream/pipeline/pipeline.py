"""Composition: a source, the stages behind it, and perhaps a file at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import anyio

from sutro_stream.flow.meter import Meter
from sutro_stream.flow.stage import Columns, RunContext, Stage, Step
from sutro_stream.ledger.ledger import OpenMode
from sutro_stream.pipeline.file_pipeline import FilePipeline
from sutro_stream.pipeline.open_ledgers import open_ledgers, recordings
from sutro_stream.pipeline.results import Results
from sutro_stream.pipeline.row_stages import MapStep
from sutro_stream.pipeline.sifting import Sieve
from sutro_stream.pipeline.wiring import PreparedRun
from sutro_stream.rendering.prompting import PromptStep
from sutro_stream.sinks.sink import Sink
from sutro_stream.sources.source import Source
from sutro_stream.values.layout import Shape
from sutro_stream.values.rows import RowBatch

ItemT_co = TypeVar("ItemT_co", covariant=True)
NextT = TypeVar("NextT")


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
            return FilePipeline(self.prepare, sink)
        return NotImplemented

    @asynccontextmanager
    async def open(
        self,
        *,
        columns: Sequence[str] | None = None,
        ledger: str | PathLike[str] | None = None,
        mode: OpenMode = OpenMode.RESUME,
    ) -> AsyncIterator[Results[ItemT_co]]:
        """Start the pipeline; `async with pipeline.open() as results`.

        Leaving the context, for whatever reason, stops every task and closes
        every file and connection the pipeline opened.

        Args:
            columns: Input columns wanted beside the results; `None` wants all.
            ledger: File in which answers are kept, and from which those of an
                earlier run of the same work come without a request; it stays when
                the run is over. `None` keeps nothing.
            mode: What becomes of outcomes that the ledger holds already.

        Raises:
            ConfigurationError: Stages, columns and engine do not fit together, or
                the ledger belongs to other work; nothing was sent.
            StoreError: The ledger cannot be used.
            SourceError: The input cannot be read, on entering or later.
            EngineError: No row can be answered (key, quota, endpoint gone).
        """
        wanted = None if columns is None else frozenset(columns)
        path = None if ledger is None else Path(ledger)
        async with (
            self.prepare(wanted) as run,
            open_ledgers(run, path, mode) as ledgers,
            run.start(recordings=recordings(ledgers)) as results,
        ):
            yield results

    @asynccontextmanager
    async def prepare(self, wanted: Columns) -> AsyncIterator[PreparedRun]:
        """Open the source and bind the stages; nothing is read or sent yet."""
        meter = Meter(started_s=anyio.current_time())
        for stage in reversed(self.stages):
            wanted = stage.columns_needed(wanted)
        async with self.source.open(wanted) as reader:
            meter.rows_total = reader.row_count
            meter.told = getattr(reader, "told", None)
            shape = Shape(
                kind=RowBatch,
                rows=reader.schema,
                ambiguous=getattr(reader, "ambiguous", frozenset()),
            )
            steps: list[Step] = []
            for stage in self.stages:
                steps.append(stage.bind(shape, RunContext(meter=meter)))
                shape = steps[-1].shape
            yield PreparedRun(
                reader=reader,
                steps=tuple(steps),
                shape=shape,
                meter=meter,
                sieve=Sieve(
                    name=self.source.name,
                    on_bad_row=getattr(self.source, "on_bad_row", "refuse"),
                    uses=_used(steps),
                ),
            )


def _used(steps: Sequence[Step]) -> Columns:
    """Columns that prompts are made of."""
    if any(isinstance(step, MapStep) for step in steps):
        return None
    used = [step.uses for step in steps if isinstance(step, PromptStep)]
    return frozenset().union(*used) if used else None
