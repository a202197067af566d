"""Rows to Parquet, with every column in its own type."""

from __future__ import annotations

from contextlib import suppress
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from sutro_stream.errors import ConfigurationError
from sutro_stream.formats.format import WriteOptions

# Against snappy: a sixth slower to write, text a third to a half smaller; a run
# waits for a model, not for this.
_COMPRESSION = "zstd"


class ParquetEncoder:
    """Collects rows to row groups, of which at most one is held.

    Concurrency: see `Encoder`.
    """

    def __init__(
        self, file: IO[bytes], schema: pa.Schema, options: WriteOptions
    ) -> None:
        """See `Encode`."""
        self._options = options
        self._schema = _with_wide_indices(schema)
        self._is_widened = not self._schema.equals(schema)
        self._held: list[pa.RecordBatch] = []
        self._rows = 0
        self._bytes = 0
        try:
            self._writer = pq.ParquetWriter(
                file, self._schema, compression=_COMPRESSION
            )
        except pa.ArrowNotImplementedError as error:
            reason = str(error).partition("\n")[0]
            message = f"a column does not fit into Parquet: {reason}"
            raise ConfigurationError(message) from error

    def write(self, records: pa.RecordBatch) -> None:
        """See `Encoder`."""
        if self._is_widened:
            records = records.cast(self._schema)
        self._hold(records)
        while self._rows >= self._options.row_group_rows:
            self._write_group(self._options.row_group_rows)
        if self._bytes >= self._options.row_group_bytes:
            self._write_group(self._rows)

    def finish(self) -> None:
        """See `Encoder`."""
        if self._rows:
            self._write_group(self._rows)
        self._writer.close()

    def abandon(self) -> None:
        """See `Encoder`."""
        with suppress(Exception):
            self._writer.close()
        # Otherwise it tries once more when it is collected, and cannot.
        self._writer.is_open = False

    def _hold(self, records: pa.RecordBatch) -> None:
        self._held.append(records)
        self._rows += records.num_rows
        self._bytes += records.nbytes

    def _write_group(self, rows: int) -> None:
        table = pa.Table.from_batches(self._held, self._schema)
        self._writer.write_table(table.slice(0, rows), row_group_size=rows)
        self._held, self._rows, self._bytes = [], 0, 0
        for records in table.slice(rows).to_batches():
            self._hold(records)


def _with_wide_indices(schema: pa.Schema) -> pa.Schema:
    """Let every dictionary outgrow the one of the first rows.

    Indices of 8 or 16 bits fit the dictionary of one record batch; readers join
    those of a whole file, and fail when they no longer fit.
    """
    for at, field in enumerate(schema):
        schema = schema.set(at, field.with_type(_widened(field.type)))
    return schema


def _widened(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return pa.dictionary(pa.int32(), kind.value_type, kind.ordered)
    if pa.types.is_list(kind):
        return pa.list_(_widened_field(kind.value_field))
    if pa.types.is_large_list(kind):
        return pa.large_list(_widened_field(kind.value_field))
    if pa.types.is_struct(kind):
        return pa.struct([_widened_field(field) for field in kind])
    return kind


def _widened_field(field: pa.Field) -> pa.Field:
    return field.with_type(_widened(field.type))
