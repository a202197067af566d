"""Rows to CSV, as RFC 4180 quotes it, in UTF-8 with a header.

A null is an empty cell and an empty text is `""`, so readers that care can tell
them apart. In a file of one column a null is `""` too: an empty line would be no
row at all. All text is quoted; numbers and truth values are not, NaN and
infinities are `nan` and `inf`. Arrays and objects are JSON text. Other types are
written as in JSON Lines (see `cells`), except that decimals stay numbers.

Lines end in a single line feed, which every reader takes; line ends inside cells
stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.csv as pa_csv

from sutro_stream.formats.cells import (
    check_types,
    is_nested,
    json_column,
    json_texts,
)
from sutro_stream.sinks.files import staged
from sutro_stream.sinks.sink import Writer


@dataclass(frozen=True, slots=True)
class CsvSink:
    """A CSV file; compressed when its name ends in `.gz`.

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
        return staged(self.path, schema, _CsvEncoder, gzipped=gzipped)


class _CsvEncoder:
    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._is_single = len(schema) == 1
        kinds = check_types(schema, self._cells, "CSV")
        self._schema = pa.schema(list(zip(schema.names, kinds, strict=True)))
        self._writer = pa_csv.CSVWriter(file, self._schema)

    def write(self, records: pa.RecordBatch) -> None:
        columns = [self._cells(column) for column in records.columns]
        self._writer.write(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def finish(self) -> None:
        self._writer.close()

    def abandon(self) -> None:
        """There is nothing to let go of."""

    def _cells(self, column: pa.Array) -> pa.Array:
        cells = _plain(column)
        if self._is_single:
            cells = cells.cast(pa.large_string()).fill_null("")
        return cells


def _plain(column: pa.Array) -> pa.Array:
    """The cells in types that the CSV writer knows."""
    kind = column.type
    if pa.types.is_decimal(kind):
        return column
    if pa.types.is_dictionary(kind):
        return _plain(column.dictionary_decode())
    if is_nested(kind):
        return json_texts(column)
    cells = json_column(column)
    if pa.types.is_string_view(cells.type):
        return cells.cast(pa.large_string())
    return cells
