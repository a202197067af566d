"""The consumer's end of an open pipeline."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Generic, Self, TypeVar

import anyio
import pyarrow as pa
from anyio.abc import ObjectReceiveStream

from sutro_stream.flow.meter import Statistics
from sutro_stream.values.layout import Batch, Layout, Shape

ItemT = TypeVar("ItemT")


class Results(Generic[ItemT]):
    """What comes out of a pipeline, as an asynchronous iterator.

    Not taking the next item stops the pipeline up to its reader, within its
    windows. An error of the run leaves the surrounding `async with`; iteration
    ends normally only when every row has come out.

    Concurrency: one task iterates. Rows are handed out once, by whichever of the
    two iterators asks.

    Attributes:
        shape: What the batches are.
    """

    def __init__(
        self,
        stream: ObjectReceiveStream[Batch],
        shape: Shape,
        *,
        finished: anyio.Event,
        statistics: Callable[[], Statistics],
    ) -> None:
        """Made by `Pipeline.open`."""
        self._stream = stream
        self.shape = shape
        self._finished = finished
        self._statistics = statistics
        self._items: Iterator[Any] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ItemT:
        while True:
            for item in self._items:
                typed: ItemT = item
                return typed
            batch = await self.next_batch()
            if batch is None:
                raise StopAsyncIteration
            self._items = batch.items()

    async def next_batch(self) -> Batch | None:
        """The next batch as the last stage made it, `None` at the end."""
        try:
            return await self._stream.receive()
        except anyio.EndOfStream:
            # A failing stage closes its stream before its error arrives here. The
            # event comes only if all stages ended well; a cancellation otherwise.
            await self._finished.wait()
            return None

    def batches(
        self, columns: Sequence[str] | None = None
    ) -> AsyncIterator[pa.RecordBatch]:
        """The results as Arrow record batches, of any size, in stream order.

        Args:
            columns: Input columns to keep, in this order; `None` keeps all.

        Raises:
            ConfigurationError: A column does not exist, or has the name of one
                that the results add.
        """
        return self._tables(self.shape.layout(columns))

    def statistics(self) -> Statistics:
        """The run's counters now; also after the last item."""
        return self._statistics()

    async def _tables(self, layout: Layout) -> AsyncIterator[pa.RecordBatch]:
        while (batch := await self.next_batch()) is not None:
            yield layout.records(batch)
