"""Rows to JSON Lines: one object a line, UTF-8, each cell by its type.

Arrays and objects are native JSON and a null is `null`. What becomes of types
that JSON lacks is in `cells`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import IO

import orjson
import pyarrow as pa

from sutro_stream.formats.cells import check_types, json_column, json_values
from sutro_stream.sinks.files import staged
from sutro_stream.sinks.sink import Writer

# Bounds the Python values alive at once; fewer rows are not faster.
_SLICE_ROWS = 1_024


@dataclass(frozen=True, slots=True)
class JsonlSink:
    """A JSON Lines file; compressed when its name ends in `.gz`.

    Attributes:
        path: The final name.
        columns: Input columns to keep, in this order; `None` keeps all.
        details: What else is told of each answer; see `values.details`.
    """

    path: Path
    _: KW_ONLY
    columns: Sequence[str] | None = None
    details: Sequence[str] = ()

    def open(self, schema: pa.Schema) -> AbstractAsyncContextManager[Writer]:
        gzipped = self.path.suffix.lower() == ".gz"
        return staged(self.path, schema, _JsonlEncoder, gzipped=gzipped)


class _JsonlEncoder:
    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        check_types(schema, json_column, "JSON Lines")
        self._file = file
        self._names = schema.names

    def write(self, records: pa.RecordBatch) -> None:
        for start in range(0, records.num_rows, _SLICE_ROWS):
            self._file.write(self._lines(records.slice(start, _SLICE_ROWS)))

    def finish(self) -> None:
        """Every line is written already."""

    def abandon(self) -> None:
        """There is nothing to let go of."""

    def _lines(self, records: pa.RecordBatch) -> bytearray:
        columns = [json_values(column) for column in records.columns]
        lines = bytearray()
        for cells in zip(*columns, strict=True):
            # Copied at once: results of orjson kept side by side make the heap
            # grow and shrink for each of them, at fifty times the cost.
            lines += orjson.dumps(
                dict(zip(self._names, cells, strict=False)),
                option=orjson.OPT_APPEND_NEWLINE,
            )
        return lines
