"""How the results of a run look in its file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pyarrow as pa

from sutro_stream.values.layout import Layout, Shape
from sutro_stream.values.outcomes import Outcome
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch


class RowFormat(Protocol):
    """Makes rows of a file from input that was kept and from outcomes.

    Concurrency: called by one task at a time, and quick; no method waits.
    """

    @property
    def schema(self) -> pa.Schema:
        """Of the file."""

    def kept(self, prompts: PromptBatch) -> pa.RecordBatch:
        """What has to be remembered of some rows until their outcomes are there.

        One row for each prompt, in order; the same columns for every batch.
        """

    def records(
        self, kept: pa.RecordBatch, outcomes: Sequence[Outcome]
    ) -> pa.RecordBatch:
        """Rows of the file.

        Args:
            kept: As returned by `kept`, of consecutive rows.
            outcomes: One for each.
        """


class TableFormat:
    """The form of a layout: input columns, then what the results add."""

    def __init__(self, shape: Shape, layout: Layout, *, keeps_all: bool) -> None:
        """Of a run whose last stage sends `shape`.

        With `keeps_all`, input columns are remembered that do not go into the file.
        """
        inputs = Shape(kind=RowBatch, rows=shape.rows)
        self._layout = layout
        self._inputs = inputs.layout(None if keeps_all else layout.kept)

    @property
    def schema(self) -> pa.Schema:
        return self._layout.schema

    def kept(self, prompts: PromptBatch) -> pa.RecordBatch:
        """See `RowFormat`: input columns."""
        return self._inputs.records(prompts.rows)

    def records(
        self, kept: pa.RecordBatch, outcomes: Sequence[Outcome]
    ) -> pa.RecordBatch:
        return self._layout.answered(kept, outcomes)
