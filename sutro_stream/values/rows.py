"""Rows on their way in: Arrow chunks that know where they stand in the input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One input row.

    Attributes:
        index: 0-based position in the stream.
        values: Python values by column name.
    """

    index: int
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowBatch:
    """Consecutive rows, column-wise.

    Attributes:
        records: The values; every batch of one stream has the same schema.
        first_index: 0-based position of the first row in the stream.
    """

    records: pa.RecordBatch
    first_index: int

    def __len__(self) -> int:
        return int(self.records.num_rows)

    def items(self) -> Iterator[Row]:
        """The rows one by one, as Python values."""
        for index, values in enumerate(self.records.to_pylist(), self.first_index):
            yield Row(index=index, values=values)

    def values_at(self, offset: int) -> dict[str, Any]:
        """Python values of the row at `offset` within this batch."""
        records = self.records
        return {
            name: records.column(position)[offset].as_py()
            for position, name in enumerate(records.schema.names)
        }
