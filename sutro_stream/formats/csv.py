"""CSV and its like: every cell is the text in the file.

Read in blocks of whole records, see `csv_blocks`; how a file is written, `csv_dialect`
finds out; where records end, `csv_records` knows.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from sutro_stream.formats.csv_blocks import CsvBlocks
from sutro_stream.formats.csv_dialect import Dialect, find_dialect
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.format import NO_COLUMNS, Format, Told
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

    @property
    def schema(self) -> pa.Schema:
        """See `TableFile`."""
        return pa.schema([(name, pa.string()) for name in self.dialect.names])

    @property
    def hidden(self) -> pa.Schema:
        """See `TableFile`."""
        return NO_COLUMNS

    @property
    def row_count(self) -> int | None:
        """See `TableFile`."""
        return None

    @property
    def ambiguous(self) -> frozenset[str]:
        """See `TableFile`."""
        return self.dialect.ambiguous

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
    return CsvTable(file=file, options=options, told=told, dialect=dialect)


CSV = Format(
    name="csv",
    title="CSV",
    suffixes=(".csv", ".tsv", ".tab", ".psv"),
    media_types=("text/csv", "application/csv", "text/tab-separated-values"),
    look=look,
)
