"""Rows from Parquet files."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sutro_stream.errors import SourceError
from sutro_stream.formats.chunks import (
    CHUNK_ROWS,
    check_chunk_rows,
    conform,
    plain_schema,
    project,
    quoted,
    there_are,
)
from sutro_stream.formats.parquet_runs import run_batches
from sutro_stream.sources.source import Reader
from sutro_stream.sources.threaded import ReadPlan, open_threaded
from sutro_stream.storage.files import LocalFile, Paths, describe, find_files
from sutro_stream.storage.stored import unreadable
from sutro_stream.values.rows import RowBatch

PARQUET_SUFFIXES = (".parquet", ".pq")

_MAGIC = b"PAR1"
_ENCRYPTED_MAGIC = b"PARE"
_MIN_FILE_BYTES = 12
_COLUMN_BUFFER_BYTES = 256 << 10
_MIN_COLUMN_BUFFER_BYTES = 64 << 10
_ALL_BUFFERS_BYTES = 16 << 20
_BROKEN = (pa.ArrowException, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetSource:
    """Rows of Parquet files, in bounded memory whatever their row groups are.

    Attributes:
        paths: A file, a glob, a folder, or a list of them. Columns of several files
            are matched by name; numbers may differ in width.
        columns: Columns to read, `None` for all.
        chunk_rows: Most rows of a chunk; large rows make smaller chunks.
    """

    paths: Paths
    columns: Sequence[str] | None = None
    chunk_rows: int = CHUNK_ROWS

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigurationError: A value is out of range.
        """
        check_chunk_rows(self.chunk_rows)

    @property
    def name(self) -> str:
        """See `Source`."""
        return describe(self.paths)

    def open(
        self, columns: frozenset[str] | None
    ) -> AbstractAsyncContextManager[Reader]:
        """See `Source`."""
        return open_threaded(
            partial(self._prepare, columns),
            chunk_rows=self.chunk_rows,
            may_be_empty=False,
            name=self.name,
        )

    def _prepare(self, asked: frozenset[str] | None) -> ReadPlan:
        files = find_files(self.paths, suffixes=PARQUET_SUFFIXES, kind="Parquet")
        return plan_parquet(
            files, declared=self.columns, asked=asked, chunk_rows=self.chunk_rows
        )


def plan_parquet(
    files: Sequence[LocalFile],
    *,
    declared: Sequence[str] | None,
    asked: frozenset[str] | None,
    chunk_rows: int,
) -> ReadPlan:
    """Look at all footers and prepare one pass over the rows. Blocking.

    Args:
        files: At least one.
        declared: Columns the user restricted the source to, `None` for all.
        asked: Columns the pipeline needs, `None` for all.
        chunk_rows: Most rows of a chunk.

    Raises:
        SourceError: A file is not Parquet, or the files do not agree.
    """
    kept: list[str] = []
    schemas: list[pa.Schema] = []
    row_count = 0
    for file in files:
        with _opened(file) as parquet:
            schema = parquet.schema_arrow
            if not schemas:
                kept = project(
                    schema.names, declared=declared, asked=asked, error=file.error
                )
            missing = [name for name in kept if name not in schema.names]
            if missing:
                raise file.error(
                    f"no column {quoted(missing)} as in {files[0].label} "
                    f"({there_are(schema.names)})"
                )
            project(
                schema.names, declared=None, asked=frozenset(kept), error=file.error
            )
            schemas.append(plain_schema(schema.field(name) for name in kept))
            row_count += parquet.metadata.num_rows
    schema = _common_schema(files, schemas)
    return ReadPlan(
        schema=schema,
        row_count=row_count,
        batches=_batches(files, schema, chunk_rows=chunk_rows),
        files=files,
        reading="parquet",
    )


def _common_schema(
    files: Sequence[LocalFile], schemas: Sequence[pa.Schema]
) -> pa.Schema:
    """The schema that the values of all files fit."""

    def merge(merged: pa.Schema, following: tuple[LocalFile, pa.Schema]) -> pa.Schema:
        file, schema = following
        fields = []
        for field in merged:
            pair = [pa.schema([field]), pa.schema([schema.field(field.name)])]
            try:
                unified = pa.unify_schemas(pair, promote_options="permissive")
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                raise file.error(
                    f"column {field.name!r} is {schema.field(field.name).type}, "
                    f"but {field.type} in the files before it"
                ) from None
            fields.append(unified.field(0))
        return pa.schema(fields)

    return reduce(merge, zip(files[1:], schemas[1:], strict=True), schemas[0])


def _batches(
    files: Sequence[LocalFile], schema: pa.Schema, *, chunk_rows: int
) -> Generator[RowBatch, None, None]:
    first_row = 0
    for file in files:
        for batch in _file_batches(file, schema, chunk_rows, first_row):
            yield RowBatch(records=batch, first_index=first_row)
            first_row += batch.num_rows


def _file_batches(
    file: LocalFile, schema: pa.Schema, chunk_rows: int, first_row: int
) -> Iterator[pa.RecordBatch]:
    def error(reason: str, row_index: int | None) -> SourceError:
        return file.error(reason, row_index=row_index)

    opened = partial(_opened, file, columns=len(schema))
    try:
        with closing(run_batches(file, opened, schema.names, chunk_rows)) as batches:
            for batch in batches:
                yield conform(
                    batch, schema, first_row=first_row, error=error, is_sound=True
                )
                first_row += batch.num_rows
    except _BROKEN as broken:
        if isinstance(broken, OSError) and broken.errno is not None:
            raise unreadable(file.label, broken) from broken
        reason = f"damaged Parquet file: no more can be read after row {first_row}"
        raise file.error(reason, row_index=first_row) from broken


@contextmanager
def _opened(file: LocalFile, *, columns: int = 1) -> Iterator[Any]:
    # Every column read has a buffer of its own, in each of two readers.
    buffer_bytes = max(
        _MIN_COLUMN_BUFFER_BYTES,
        min(_COLUMN_BUFFER_BYTES, _ALL_BUFFERS_BYTES // max(columns, 1)),
    )
    try:
        _check_magic(file)
        parquet = pq.ParquetFile(file.path, pre_buffer=False, buffer_size=buffer_bytes)
    except _BROKEN as broken:
        if isinstance(broken, OSError) and broken.errno is not None:
            raise unreadable(file.label, broken) from broken
        reason = "not a readable Parquet file: its footer is damaged or encrypted"
        raise file.error(reason) from broken
    with parquet:
        yield parquet


def _check_magic(file: LocalFile) -> None:
    size = file.path.stat().st_size
    if size == 0:
        raise file.error("the file is empty (0 bytes)")
    with file.path.open("rb") as raw:
        start = raw.read(4)
        raw.seek(max(size - 4, 0))
        end = raw.read(4)
    if _ENCRYPTED_MAGIC in (start, end):
        raise file.error("encrypted Parquet files cannot be read")
    if start != _MAGIC:
        raise file.error("not a Parquet file")
    if end != _MAGIC or size < _MIN_FILE_BYTES:
        raise file.error("the Parquet file is cut off: its end is missing")
