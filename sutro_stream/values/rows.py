"""Rows on their way in: Arrow chunks that know where they stand in the input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from sutro_stream.values.outcomes import RowError

Refused: TypeAlias = tuple[int, RowError]
"""Offset of a row in its batch, and what is wrong with it.

With a `field` in the error, the cell of that column holds what could be made of it, and
whoever does not use it need not refuse the row; without, all of its cells are null.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One input row.

    Attributes:
        index: 0-based position in the stream.
        values: Python values by column name.
        error: Why it could not be read as it should be, `None` when it was.
    """

    index: int
    values: Mapping[str, Any]
    error: RowError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowBatch:
    """Consecutive rows, column-wise.

    Attributes:
        records: The values; every batch of one stream has the same schema.
        first_index: 0-based position of the first row in the stream.
        refused: What could not be read as it should be, by offset.
    """

    records: pa.RecordBatch
    first_index: int
    refused: tuple[Refused, ...] = ()

    def __len__(self) -> int:
        return int(self.records.num_rows)

    def slice(self, start: int, rows: int) -> RowBatch:
        """Some of the rows, with their own indices; nothing is copied."""
        records = self.records.slice(start, rows)
        end = start + records.num_rows
        return RowBatch(
            records=records,
            first_index=self.first_index + start,
            refused=tuple(
                (offset - start, error)
                for offset, error in self.refused
                if start <= offset < end
            ),
        )

    def items(self) -> Iterator[Row]:
        """The rows one by one, as Python values."""
        errors = self.errors() if self.refused else {}
        for offset, values in enumerate(self.records.to_pylist()):
            index = self.first_index + offset
            yield Row(index=index, values=values, error=errors.get(offset))

    def errors(self) -> dict[int, RowError]:
        """The first reason of each refused row, by offset."""
        reasons: dict[int, RowError] = {}
        for offset, error in self.refused:
            reasons.setdefault(offset, error)
        return reasons

    def values_at(self, offset: int) -> dict[str, Any]:
        """Python values of the row at `offset` within this batch."""
        records = self.records
        return {
            name: records.column(position)[offset].as_py()
            for position, name in enumerate(records.schema.names)
        }
