"""From the last stage's batches to a file's writer."""

from __future__ import annotations

from itertools import groupby

from sutro_stream.flow.meter import Meter
from sutro_stream.sinks.sink import Writer
from sutro_stream.values.layout import Batch, Layout
from sutro_stream.values.outcomes import OutcomeBatch
from sutro_stream.values.prompts import PromptBatch

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
