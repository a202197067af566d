"""Parquet, in bounded memory whatever its row groups are."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from sutro_stream.errors import SourceError
from sutro_stream.formats.chunks import conform, plain_schema
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.format import NO_COLUMNS, Format, Told
from sutro_stream.formats.parquet_open import BROKEN, opened
from sutro_stream.formats.parquet_runs import run_batches
from sutro_stream.storage.files import LocalFile
from sutro_stream.storage.stored import StoredFile, file_error, unreadable
from sutro_stream.values.rows import RowBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetTable:
    """A `TableFile` of Parquet."""

    file: LocalFile
    schema: pa.Schema
    row_count: int
    hidden: pa.Schema = NO_COLUMNS
    ambiguous: frozenset[str] = frozenset()

    def batches(
        self, columns: Sequence[str], *, first_row: int, chunk_rows: int
    ) -> Generator[RowBatch, None, None]:
        """See `TableFile`."""
        file = self.file
        schema = plain_schema(self.schema.field(name) for name in columns)

        def error(reason: str, row_index: int | None) -> SourceError:
            return file_error(file, reason, row_index=row_index)

        opening = partial(opened, file, columns=len(columns))
        try:
            with closing(run_batches(file, opening, schema.names, chunk_rows)) as found:
                for batch in found:
                    records = conform(
                        batch, schema, first_row=first_row, error=error, is_sound=True
                    )
                    yield RowBatch(records=records, first_index=first_row)
                    first_row += batch.num_rows
        except BROKEN as broken:
            if isinstance(broken, OSError) and broken.errno is not None:
                raise unreadable(file.label, broken) from broken
            reason = f"damaged Parquet file: no more can be read after row {first_row}"
            raise error(reason, first_row) from broken


def look(file: StoredFile, options: CsvOptions, told: Told) -> ParquetTable:
    """See `Look`."""
    del options, told
    if not isinstance(file, LocalFile):
        raise NotImplementedError
    with opened(file) as parquet:
        return ParquetTable(
            file=file,
            schema=plain_schema(parquet.schema_arrow),
            row_count=parquet.metadata.num_rows,
        )


PARQUET = Format(
    name="parquet",
    title="Parquet",
    suffixes=(".parquet", ".pq", ".parq"),
    media_types=(
        "application/vnd.apache.parquet",
        "application/x-parquet",
        "application/parquet",
    ),
    magic=b"PAR1",
    is_packed=False,
    look=look,
)
