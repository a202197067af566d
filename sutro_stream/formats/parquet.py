"""Parquet: row groups one after the other, of each some rows at a time.

How much of one is held, `parquet_groups` says. Columns are read by their place, since
several may have one name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from os import fsencode
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sutro_stream.errors import SourceError
from sutro_stream.formats.chunks import (
    assemble,
    bad_row,
    distinct,
    joined,
    plain_schema,
    sound_text,
    with_broken_cells,
)
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.format import NO_COLUMNS, Format, Told
from sutro_stream.formats.parquet_encoder import ParquetEncoder
from sutro_stream.formats.parquet_groups import RowGroups, UnreadableError, checked_rows
from sutro_stream.storage.files import LocalFile
from sutro_stream.storage.stored import StoredFile, file_error, unreadable
from sutro_stream.values.rows import Refused, RowBatch

_MAGIC = b"PAR1"
_ENCRYPTED_MAGIC = b"PARE"
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"PK\3\4": "zip"}
_MIN_FILE_BYTES = 12
_COLUMN_BUFFER_BYTES = 256 << 10
_MIN_COLUMN_BUFFER_BYTES = 64 << 10
_ALL_BUFFERS_BYTES = 16 << 20
# What pandas calls an index without a name.
_INDEX_NAME = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetTable:
    """A `TableFile` of Parquet.

    Attributes:
        names: Of all columns as they lie in the file, hidden ones too.
    """

    file: StoredFile
    options: CsvOptions
    told: Told
    names: Sequence[str]
    schema: pa.Schema
    hidden: pa.Schema
    ambiguous: frozenset[str]
    row_count: int

    def batches(
        self, columns: Sequence[str], *, first_row: int, chunk_rows: int
    ) -> Generator[RowBatch, None, None]:
        """See `TableFile`."""
        row = 0
        with closing(self._records(columns, chunk_rows)) as found:
            while True:
                try:
                    records = next(found, None)
                except UnreadableError as broken:
                    raise self._error(broken, row, first_row + row) from broken
                if records is None:
                    return
                yield from self._checked(records, row, first_row)
                row += records.num_rows

    def _records(
        self, columns: Sequence[str], chunk_rows: int
    ) -> Generator[pa.RecordBatch, None, None]:
        """All rows, and whether they can be used was not looked at.

        Raises:
            UnreadableError: No more can be read; all rows before were delivered.
        """
        wanted = frozenset(columns)
        places = [at for at, name in enumerate(self.names) if name in wanted]
        fields = {field.name: field for field in (*self.schema, *self.hidden)}
        with ExitStack() as stack:
            width = len(places)
            parquet = stack.enter_context(_opened(self.file, columns=width))
            if not places:
                yield from _counted(parquet.metadata, chunk_rows)
                return
            groups = RowGroups(
                parquet,
                lambda coded: stack.enter_context(
                    _opened(
                        self.file,
                        columns=width,
                        metadata=parquet.metadata,
                        read_dictionary=coded,
                    )
                ),
                schema=pa.schema([fields[self.names[place]] for place in places]),
                places=places,
                chunk_rows=chunk_rows,
            )
            for records in joined(groups.rows(), max_rows=chunk_rows):
                yield records.select(list(columns))

    def _checked(
        self, records: pa.RecordBatch, row: int, first_row: int
    ) -> Iterator[RowBatch]:
        """The rows, with what they have that is no value refused."""
        columns: list[pa.Array] = []
        refused: list[Refused] = []
        for name, column in zip(records.schema.names, records.columns, strict=True):
            found, offsets, what = self._sound(column)
            columns.append(found)
            for offset in offsets:
                reason = f"row {row + offset}, column {name!r}: {what}"
                refused.append((offset, bad_row(self.file, reason, name)))
        rows = RowBatch(
            records=assemble(columns, records.schema, rows=records.num_rows),
            first_index=first_row + row,
        )
        yield from with_broken_cells(self.file, rows, refused, self.options)

    def _sound(self, column: pa.Array) -> tuple[pa.Array, list[int], str]:
        """The column, offsets of cells that are not as they were, and why."""
        if not (
            pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        ):
            return *_without_broken(column), f"no value of {column.type}"
        found, offsets = sound_text(column)
        if offsets and self.options.encoding_errors == "replace":
            self.told.replaced += len(offsets)
            offsets = []
        elif offsets:
            self.told(
                f"{self.file.label}: not all of its text is UTF-8; --encoding-errors "
                "replace reads the rest of it"
            )
        return found, offsets, "not UTF-8 text"

    def _error(self, broken: UnreadableError, row: int, row_index: int) -> SourceError:
        cause = broken.__cause__
        if isinstance(cause, OSError) and cause.errno is not None:
            return unreadable(self.file.label, cause)
        reason = f"damaged Parquet file: no more can be read after row {row}"
        return file_error(self.file, broken.reason or reason, row_index=row_index)


def _counted(metadata: Any, chunk_rows: int) -> Iterator[pa.RecordBatch]:
    """Rows without columns."""
    rows = checked_rows(metadata)
    for start in range(0, rows, chunk_rows):
        yield assemble([], NO_COLUMNS, rows=min(chunk_rows, rows - start))


def _without_broken(column: pa.Array) -> tuple[pa.Array, list[int]]:
    """The column with null where a value was none of its type, and where that is."""

    def is_broken(offset: int) -> bool:
        try:
            # What a slice refers to would be looked at as a whole.
            column.take(pa.array([offset])).validate(full=True)
        except pa.ArrowInvalid:
            return True
        return False

    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        places = range(len(column))
        offsets = [offset for offset in places if is_broken(offset)]
        broken = frozenset(offsets)
        kept = [None if offset in broken else offset for offset in places]
        return column.take(pa.array(kept, pa.int64())), offsets
    return column, []


@contextmanager
def _opened(file: StoredFile, *, columns: int = 1, **options: Any) -> Iterator[Any]:
    """A Parquet file, as pyarrow opens it.

    Raises:
        SourceError: It is none, or damaged where it is looked at first.
    """
    # Every column has a buffer of its own.
    buffer_bytes = max(
        _MIN_COLUMN_BUFFER_BYTES,
        min(_COLUMN_BUFFER_BYTES, _ALL_BUFFERS_BYTES // max(columns, 1)),
    )
    with ExitStack() as stack:
        try:
            raw = stack.enter_context(_raw(file))
            _check_magic(file, raw)
            parquet = pq.ParquetFile(
                raw,
                pre_buffer=False,
                buffer_size=buffer_bytes,
                page_checksum_verification=True,
                **options,
            )
        except SourceError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise unreadable(file.label, error) from error
            reason = "not a readable Parquet file: its footer is damaged or encrypted"
            raise file_error(file, reason) from error
        yield stack.enter_context(parquet)


def _raw(file: StoredFile) -> pa.NativeFile:
    # Without Python in between, reading takes a tenth less.
    if isinstance(file, LocalFile):
        return pa.OSFile(fsencode(file.path))
    return pa.PythonFile(file.open(), mode="r")


def _check_magic(file: StoredFile, raw: pa.NativeFile) -> None:
    size = raw.size()
    start = raw.read(len(_MAGIC))
    raw.seek(max(size - len(_MAGIC), 0))
    end = raw.read(len(_MAGIC))
    if size == 0:
        raise file_error(file, "the file is empty (0 bytes)")
    if _ENCRYPTED_MAGIC in (start, end):
        raise file_error(file, "encrypted Parquet files cannot be read")
    for magic, packer in _PACKED.items():
        if start.startswith(magic):
            raise file_error(file, f"it is packed with {packer}; unpack it first")
    if start != _MAGIC:
        raise file_error(file, "not a Parquet file")
    if end != _MAGIC or size < _MIN_FILE_BYTES:
        raise file_error(file, "the Parquet file is cut off: its end is missing")


def _hidden(schema: pa.Schema) -> frozenset[str]:
    """Columns that pandas made of an index without a name."""
    try:
        pandas = json.loads((schema.metadata or {})[b"pandas"])
        columns = pandas["index_columns"]
        return frozenset(name for name in columns if _INDEX_NAME.fullmatch(str(name)))
    except (KeyError, TypeError, ValueError):
        return frozenset()


def look(file: StoredFile, options: CsvOptions, told: Told) -> ParquetTable:
    """See `Look`."""
    with _opened(file) as parquet:
        schema, row_count = parquet.schema_arrow, parquet.metadata.num_rows
    found, ambiguous = distinct(schema.names, label=file.label, told=told)
    names = [str(name) for name in found]
    hidden = _hidden(schema)
    fields = [field.with_name(name) for field, name in zip(schema, names, strict=True)]
    return ParquetTable(
        file=file,
        options=options,
        told=told,
        names=names,
        schema=plain_schema(field for field in fields if field.name not in hidden),
        hidden=plain_schema(field for field in fields if field.name in hidden),
        ambiguous=ambiguous,
        row_count=row_count,
    )


PARQUET = Format(
    name="parquet",
    title="Parquet",
    # Behind the plain ones, what packs the pages inside.
    suffixes=(
        ".parquet",
        ".pq",
        ".parq",
        ".parquet.gzip",
        ".parquet.gz",
        ".parquet.snappy",
        ".parquet.zst",
        ".parquet.brotli",
    ),
    written=(".parquet",),
    magic=_MAGIC,
    is_packed=False,
    look=look,
    encode=ParquetEncoder,
)
