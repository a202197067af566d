"""Rows from Parquet files."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from functools import partial, reduce
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sutro_stream.errors import SourceError
from sutro_stream.sources.chunks import (
    CHUNK_BYTES,
    CHUNK_ROWS,
    check_chunk_rows,
    conform,
    plain,
    plain_schema,
    project,
    quoted,
    there_are,
)
from sutro_stream.sources.files import (
    InputFile,
    Paths,
    describe,
    find_files,
    unreadable,
)
from sutro_stream.sources.source import Reader
from sutro_stream.sources.threaded import ReadPlan, open_threaded

PARQUET_SUFFIXES = (".parquet", ".pq")

_MAGIC = b"PAR1"
_ENCRYPTED_MAGIC = b"PARE"
_MIN_FILE_BYTES = 12
_COLUMN_BUFFER_BYTES = 1 << 20
_MIN_COLUMN_BUFFER_BYTES = 64 << 10
_ALL_BUFFERS_BYTES = 32 << 20
_PROBE_ROWS = 16
_LARGEST_BATCH_BYTES = 64 << 20
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
    files: Sequence[InputFile],
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
    files: Sequence[InputFile], schemas: Sequence[pa.Schema]
) -> pa.Schema:
    """The schema that the values of all files fit."""

    def merge(merged: pa.Schema, following: tuple[InputFile, pa.Schema]) -> pa.Schema:
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
    files: Sequence[InputFile], schema: pa.Schema, *, chunk_rows: int
) -> Generator[pa.RecordBatch, None, None]:
    first_row = 0
    for file in files:
        with _opened(file, columns=len(schema)) as parquet:
            for batch in _file_batches(file, parquet, schema, chunk_rows, first_row):
                yield batch
                first_row += batch.num_rows


def _file_batches(
    file: InputFile,
    parquet: Any,
    schema: pa.Schema,
    chunk_rows: int,
    first_row: int,
) -> Iterator[pa.RecordBatch]:
    def error(reason: str, row_index: int | None) -> SourceError:
        return file.error(reason, row_index=row_index)

    try:
        largest = _largest_values(file, parquet.metadata, schema.names)
        for groups, rows in _strides(parquet, schema.names, chunk_rows, largest):
            for batch in parquet.iter_batches(
                rows, row_groups=groups, columns=schema.names, use_threads=False
            ):
                yield conform(batch, schema, first_row=first_row, error=error)
                first_row += batch.num_rows
    except _BROKEN as broken:
        if isinstance(broken, OSError) and broken.errno is not None:
            raise unreadable(file.label, broken) from broken
        reason = f"damaged Parquet file: no more can be read after row {first_row}"
        raise file.error(reason, row_index=first_row) from broken


def _strides(
    parquet: Any, names: Sequence[str], chunk_rows: int, largest: Sequence[int]
) -> Iterator[tuple[list[int], int]]:
    """Runs of row groups, each with the rows of it that make one chunk.

    Rows are rounded down to powers of two so that similar row groups are read in
    one go.

    Args:
        parquet: The file.
        names: Columns that are read.
        chunk_rows: Most rows of a chunk.
        largest: See `_largest_values`.
    """
    metadata = parquet.metadata
    if metadata.num_rows == 0:
        return
    least_bytes = _probe(parquet, names) if _has_dictionaries(metadata) else 0.0

    def rows(group: int) -> int:
        row_bytes = max(_row_bytes(metadata.row_group(group), names), least_bytes)
        fitting = max(1, int(CHUNK_BYTES / max(row_bytes, 1.0)))
        # Each row could be the largest one, however small they are on average.
        fitting = min(fitting, max(1, _LARGEST_BATCH_BYTES // max(largest[group], 1)))
        return min(1 << (fitting.bit_length() - 1), chunk_rows)

    for stride, groups in groupby(range(metadata.num_row_groups), key=rows):
        yield list(groups), stride


def _row_bytes(group: Any, names: Sequence[str]) -> float:
    """Uncompressed bytes of one row in the columns read, on average."""
    wanted = frozenset(names)
    columns = [group.column(at) for at in range(group.num_columns)]
    size = sum(
        column.total_uncompressed_size
        for column in columns
        if column.path_in_schema in wanted
        or column.path_in_schema.partition(".")[0] in wanted
    )
    return float(size / max(group.num_rows, 1))


def _has_dictionaries(metadata: Any) -> bool:
    group = metadata.row_group(0)
    return any(group.column(at).has_dictionary_page for at in range(group.num_columns))


def _largest_values(file: InputFile, metadata: Any, names: Sequence[str]) -> list[int]:
    """Bytes of the largest value that rows of a row group share, by row group.

    What stands in a dictionary once can be the value of every row: a file of some KB
    can hold more than there is memory in the world.
    """
    groups = range(metadata.num_row_groups)
    schema = metadata.schema.to_arrow_schema()
    texts = frozenset(name for name in names if _is_text(schema.field(name).type))
    shared = [_dictionaries(metadata.row_group(group), texts) for group in groups]
    coded = sorted({name for found in shared for name in found})
    if not coded:
        return [0] * len(groups)
    with pq.ParquetFile(
        file.path, metadata=metadata, read_dictionary=coded, pre_buffer=False
    ) as parquet:
        return [_largest_value(parquet, group, shared[group]) for group in groups]


def _largest_value(parquet: Any, group: int, columns: Sequence[str]) -> int:
    if not columns:
        return 0
    batches = parquet.iter_batches(
        1, row_groups=[group], columns=columns, use_threads=False
    )
    first = next(batches, None)
    coded = [] if first is None else first.columns
    return sum(
        pc.max(pc.binary_length(column.dictionary)).as_py() or 0
        for column in coded
        if pa.types.is_dictionary(column.type)
    )


def _dictionaries(group: Any, texts: frozenset[str]) -> list[str]:
    """Those of the columns that have a dictionary."""
    columns = [group.column(at) for at in range(group.num_columns)]
    return [
        column.path_in_schema
        for column in columns
        if column.path_in_schema in texts and column.has_dictionary_page
    ]


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (
        *(pa.types.is_string, pa.types.is_large_string),
        *(pa.types.is_binary, pa.types.is_large_binary),
    )
    return any(test(kind) for test in tests)


def _probe(parquet: Any, names: Sequence[str]) -> float:
    """Decoded bytes of one of the first rows, on average.

    With dictionaries the metadata tells the size of the distinct values only: a
    file of some KB can hold GB of repeated text.
    """
    batches = parquet.iter_batches(_PROBE_ROWS, columns=names, use_threads=False)
    batch = next(batches, None)
    if batch is None or not batch.num_rows:
        return 0.0
    size = sum(plain(column).nbytes for column in batch.columns)
    return float(size / batch.num_rows)


@contextmanager
def _opened(file: InputFile, *, columns: int = 1) -> Iterator[Any]:
    # Every column read has a buffer of its own.
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


def _check_magic(file: InputFile) -> None:
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
