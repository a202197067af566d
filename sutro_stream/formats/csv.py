"""CSV and its like: every cell is the text in the file.

Read in blocks of whole records, see `csv_blocks`; how a file is written, `csv_dialect`
finds out; where records end, `csv_records` knows.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import IO

import pyarrow as pa
import pyarrow.csv as pa_csv

from sutro_stream.formats.cells import check_types, is_nested, json_column, json_texts
from sutro_stream.formats.csv_blocks import CsvBlocks
from sutro_stream.formats.csv_dialect import Dialect, find_dialect
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.format import NO_COLUMNS, Format, Told, WriteOptions
from sutro_stream.formats.text_stream import open_text
from sutro_stream.storage.stored import StoredFile
from sutro_stream.values.rows import RowBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvTable:
    """A `TableFile` of CSV text."""

    file: StoredFile
    options: CsvOptions
    told: Told
    dialect: Dialect
    schema: pa.Schema
    ambiguous: frozenset[str]
    hidden: pa.Schema = NO_COLUMNS
    row_count: int | None = None

    def batches(
        self, columns: Sequence[str], *, first_row: int, chunk_rows: int
    ) -> Generator[RowBatch, None, None]:
        """See `TableFile`."""
        del chunk_rows
        replacing = self.options.encoding_errors == "replace"
        encoding = self.dialect.encoding
        with open_text(self.file, encoding, replacing=replacing) as stream:
            blocks = CsvBlocks(
                self.file,
                self.options,
                self.dialect,
                stream,
                told=self.told,
                first_row=first_row,
            )
            yield from blocks.batches(columns)


def look(file: StoredFile, options: CsvOptions, told: Told) -> CsvTable:
    """See `Look`."""
    dialect = find_dialect(file, options, told)
    return CsvTable(
        file=file,
        options=options,
        told=told,
        dialect=dialect,
        schema=pa.schema([(name, pa.string()) for name in dialect.names]),
        ambiguous=dialect.ambiguous,
    )


class CsvEncoder:
    """Rows as RFC 4180 quotes them, in UTF-8 with a header.

    A null is an empty cell and an empty text is `""`, so readers that care can tell
    them apart. In a file of one column a null is `""` too: an empty line would be no
    row at all. All text is quoted; numbers and truth values are not, NaN and
    infinities are `nan` and `inf`. Arrays and objects are JSON text. Other types are
    written as in JSON Lines (see `cells`), except that decimals stay numbers.

    Lines end in a single line feed, which every reader takes; line ends inside cells
    stay as they are.

    Concurrency: see `Encoder`.
    """

    def __init__(
        self, file: IO[bytes], schema: pa.Schema, options: WriteOptions
    ) -> None:
        """See `Encode`."""
        del options
        self._is_single = len(schema) == 1
        kinds = check_types(schema, self._cells, "CSV")
        self._schema = pa.schema(list(zip(schema.names, kinds, strict=True)))
        self._writer = pa_csv.CSVWriter(file, self._schema)

    def write(self, records: pa.RecordBatch) -> None:
        """See `Encoder`."""
        columns = [self._cells(column) for column in records.columns]
        self._writer.write(pa.RecordBatch.from_arrays(columns, schema=self._schema))

    def finish(self) -> None:
        """See `Encoder`."""
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


CSV = Format(
    name="csv",
    title="CSV",
    suffixes=(".csv", ".tsv", ".tab", ".psv"),
    written=(".csv",),
    look=look,
    encode=CsvEncoder,
)
