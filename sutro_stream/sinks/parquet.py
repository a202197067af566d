"""Rows to Parquet, with every column in its own type."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from sutro_stream.errors import ConfigurationError
from sutro_stream.formats.format import WriteOptions
from sutro_stream.formats.parquet_encoder import ParquetEncoder
from sutro_stream.sinks.files import staged
from sutro_stream.sinks.sink import Writer


@dataclass(frozen=True, slots=True)
class ParquetSink:
    """A Parquet file; nested and dictionary columns stay what they are.

    A row group ends at whichever limit comes first, and the rows of at most one
    are held in memory.

    Attributes:
        path: The final name.
        columns: Input columns to keep, in this order; `None` keeps all.
        details: What else is told of each answer; see `values.details`.
        row_group_rows: Rows in one row group; fewer only in the last, or where
            the limit in bytes ends it.
        row_group_bytes: Bytes of rows, before encoding, that end a row group.
    """

    path: Path
    _: KW_ONLY
    columns: Sequence[str] | None = None
    details: Sequence[str] = ()
    row_group_rows: int = 50_000
    row_group_bytes: int = 64 * 2**20

    def __post_init__(self) -> None:
        if self.row_group_rows < 1 or self.row_group_bytes < 1:
            message = "row_group_rows and row_group_bytes must be at least 1"
            raise ConfigurationError(message)

    def open(self, schema: pa.Schema) -> AbstractAsyncContextManager[Writer]:
        options = WriteOptions(
            row_group_rows=self.row_group_rows, row_group_bytes=self.row_group_bytes
        )
        encode = partial(ParquetEncoder, options=options)
        return staged(self.path, schema, encode)
