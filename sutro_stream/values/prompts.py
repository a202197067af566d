"""Rendered prompts, still as Arrow chunks, and the rows that did not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from sutro_stream.values.outcomes import RowError
from sutro_stream.values.rows import RowBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One rendered prompt.

    Attributes:
        index: 0-based position of its row in the stream.
        text: The user message, `None` when the row was refused.
        error: Why the row was refused, `None` when it was not.
    """

    index: int
    text: str | None
    error: RowError | None
    _rows: RowBatch = field(repr=False)
    _offset: int = field(repr=False)

    @property
    def row(self) -> dict[str, Any]:
        """The input columns of this row, as Python values."""
        return self._rows.values_at(self._offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptBatch:
    """Consecutive prompts beside the rows they were made from.

    Attributes:
        rows: The input rows, one for each prompt.
        texts: Prompts as an Arrow string array, null where the row was refused; all
            of them null where a deployment makes the prompts.
        refused: Reason by offset within this batch, for refused rows only.
    """

    rows: RowBatch
    texts: pa.Array
    refused: Mapping[int, RowError] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def first_index(self) -> int:
        """0-based position of the first row in the stream."""
        return self.rows.first_index

    def items(self) -> Iterator[Prompt]:
        """The prompts one by one."""
        first, rows, refused = self.first_index, self.rows, self.refused
        for offset, text in enumerate(self.texts.to_pylist()):
            yield Prompt(
                index=first + offset,
                text=text,
                error=refused.get(offset),
                _rows=rows,
                _offset=offset,
            )
