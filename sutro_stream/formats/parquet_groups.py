"""The rows of a Parquet file's row groups, some at a time.

A few KB can hold GB: what stands in a dictionary once can be the value of every row,
and nothing in a footer tells how large it is. So of large columns the dictionary is
looked at before rows are read, and how many rows are read at a time follows from its
longest value, and from what the rows before took.

What cannot be cut is held whole: a page, and a row. One row that takes next to no room
on disk and fills the memory is refused, where its footer tells. Values that are much
larger than those before them, in no dictionary, may come up to 4,096 at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sutro_stream.formats.chunks import CHUNK_BYTES, assemble, plain

# Rows that are read together, at most; more are hardly faster.
_MOST_ROWS = 4096
_FIRST_ROWS = 64
# Where a repetition takes no room on disk.
_FEW_ROWS = 32
_MOST_CHUNKS = 8
# What values of dictionaries may take in the rows that are read together.
_SHARED_BYTES = 32 << 20
# Text that people write is packed to a tenth, what a bomb is made of to a thousandth.
_BULKY_BYTES = 64 << 20
_BULKY_RATIO = 100
_VALUE_BYTES = 8
_DICTIONARIES = frozenset({"PLAIN_DICTIONARY", "RLE_DICTIONARY"})


class UnreadableError(Exception):
    """No more can be read.

    Attributes:
        reason: As a sentence without the file's name; `None` where nothing tells.
    """

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason


class RowGroups:
    """Reads row groups of an open file.

    pyarrow ends the process over a column's metadata that it cannot make sense of,
    encrypted ones among them; opening such a column is an error like others. So
    metadata is looked at where the column was opened before, and not otherwise.

    Concurrency: of one thread.
    """

    def __init__(
        self,
        parquet: Any,
        with_dictionaries: Callable[[Sequence[int]], Any],
        *,
        schema: pa.Schema,
        places: Sequence[int],
        chunk_rows: int,
    ) -> None:
        """Nothing is read.

        Args:
            parquet: The file, a `ParquetFile`.
            with_dictionaries: Opens it once more, so that the columns with these
                numbers come as dictionaries; called once at most.
            schema: Of the columns to read, of plain types.
            places: Of these among all columns, ascending; at least one.
            chunk_rows: Most rows of a batch.

        Raises:
            UnreadableError: The file has other columns than it says.
        """
        self._parquet, self._schema = parquet, schema
        self._most_rows = min(chunk_rows, _MOST_ROWS)
        self._with_dictionaries = with_dictionaries
        self._coded: Any = None
        leaves = _leaves(parquet.schema_arrow)
        if sum(map(len, leaves)) != parquet.metadata.num_columns:
            raise UnreadableError("damaged Parquet file: its columns make no sense")
        self._leaves = [leaves[place] for place in places]
        self._all_leaves = [leaf for some in self._leaves for leaf in some]
        columns = {leaf: parquet.schema.column(leaf) for leaf in self._all_leaves}
        self._texts = frozenset(
            leaf
            for leaf, column in columns.items()
            if column.physical_type == "BYTE_ARRAY"
        )
        self._flat = frozenset(
            leaf for leaf, column in columns.items() if not column.max_repetition_level
        )

    def rows(self) -> Iterator[pa.RecordBatch]:
        """All rows, in batches that may be small.

        Raises:
            UnreadableError: They cannot be read on, or are other than announced; behind
                the rows before.
        """
        read = 0
        for number in range(self._parquet.metadata.num_row_groups):
            for batch in self._batches(number):
                read += batch.num_rows
                yield batch
        _check_rows("the file", self._parquet.metadata.num_rows, read)

    def _batches(self, number: int) -> Iterator[pa.RecordBatch]:
        chunks = self._chunks(number)
        rows = self._parquet.metadata.row_group(number).num_rows
        read = 0
        if rows > 0:
            most = self._most(number, rows, chunks)
            size = sum(chunk.total_uncompressed_size for chunk in chunks.values())
            stride = min(_FIRST_ROWS, most, _fitting(size, rows))
            for batch in self._read(number, stride):
                read += batch.num_rows
                fitting = _fitting(batch.nbytes, batch.num_rows)
                stride = min(2 * stride, most, fitting)
                self._parquet.reader.set_batch_size(stride)
                yield batch
        held = (chunks[leaf].num_values for leaf in self._flat)
        for each in (read, *held):
            _check_rows(f"row group {number}", rows, each)

    def _read(self, number: int, stride: int) -> Iterator[pa.RecordBatch]:
        """The rows in plain types: so many, and then as many as the reader is told."""
        found = self._batches_of(number, self._all_leaves, stride)
        while True:
            try:
                batch = next(found, None)
                if batch is None:
                    return
                columns = [
                    column if column.type == field.type else _cast(column, field.type)
                    for column, field in zip(batch.columns, self._schema, strict=True)
                ]
                made = assemble(columns, self._schema, rows=batch.num_rows)
            except Exception as error:
                raise UnreadableError(self._encrypted(number, error)) from error
            yield made

    def _encrypted(self, number: int, error: Exception) -> str | None:
        """Which columns cannot be read for that, if it is."""
        if "decrypt" not in str(error):
            return None
        names = []
        for field, leaves in zip(self._schema, self._leaves, strict=True):
            try:
                next(self._batches_of(number, leaves, 0), None)
            except Exception:  # noqa: BLE001 - whatever it is, the column is one
                names.append(repr(field.name))
        return f"column {', '.join(names)} is encrypted, and cannot be read"

    def _chunks(self, number: int) -> dict[int, Any]:
        """Metadata of the columns as they are stored."""
        try:
            # No rows: the columns are opened, and nothing is read.
            next(self._batches_of(number, self._all_leaves, 0), None)
        except Exception as error:
            raise UnreadableError(self._encrypted(number, error)) from error
        group = self._parquet.metadata.row_group(number)
        return {leaf: group.column(leaf) for leaf in self._all_leaves}

    def _batches_of(self, number: int, leaves: Sequence[int], rows: int) -> Any:
        return self._parquet.reader.iter_batches(
            rows, [number], column_indices=leaves, use_threads=False
        )

    def _most(self, number: int, rows: int, chunks: dict[int, Any]) -> int:
        """Rows that may be read together, whichever of the values they have."""
        size = sum(chunk.total_uncompressed_size for chunk in chunks.values())
        most = min(rows, self._most_rows, _MOST_CHUNKS * _fitting(size, rows))
        # Bytes of a row in a column, at most: no value is larger than its dictionary.
        worst: dict[int, float] = {}
        for leaf, chunk in chunks.items():
            bulk = self._bulk(leaf, chunk)
            if bulk:
                most = min(most, _FEW_ROWS)
                self._check_row(leaf, chunk, bulk / rows)
            if leaf in self._texts and not _DICTIONARIES.isdisjoint(chunk.encodings):
                values = max(chunk.num_values / rows, 1.0)
                worst[leaf] = chunk.total_uncompressed_size * values
        together = sum(worst.values())
        for leaf in sorted(worst, key=worst.__getitem__, reverse=True):
            if most * together <= _SHARED_BYTES:
                break
            size = chunks[leaf].total_uncompressed_size
            known = worst[leaf] * self._longest(number, leaf, size) / max(size, 1)
            self._check_row(leaf, chunks[leaf], known)
            together += known - worst[leaf]
        return min(most, max(int(_SHARED_BYTES / max(together, 1.0)), 1))

    def _check_row(self, leaf: int, chunk: Any, size: float) -> None:
        """Refuse a row that needs so much memory, and next to none on disk."""
        if size > max(_BULKY_BYTES, _BULKY_RATIO * chunk.total_compressed_size):
            place = next(at for at, some in enumerate(self._leaves) if leaf in some)
            name, packed = self._schema.names[place], chunk.total_compressed_size
            raise UnreadableError(
                f"column {name!r}: {packed:,} bytes unpack to about {size:,.0f} for "
                "one row, which is too much"
            )

    def _bulk(self, leaf: int, chunk: Any) -> int:
        """Bytes of a column in which something must repeat; 0 for others."""
        if leaf not in self._texts and leaf in self._flat:
            return 0
        size: int = chunk.total_uncompressed_size
        if leaf not in self._flat:
            size = max(size, chunk.num_values * _VALUE_BYTES)
        is_bulky = size > max(_BULKY_BYTES, _BULKY_RATIO * chunk.total_compressed_size)
        # There a repetition takes no room before it is packed, either.
        return size if is_bulky or "DELTA_BYTE_ARRAY" in chunk.encodings else 0

    def _longest(self, number: int, leaf: int, size: int) -> int:
        """Bytes of the longest value in a dictionary; `size` if it cannot be told."""
        if self._coded is None:
            self._coded = self._with_dictionaries(sorted(self._texts))
        reader = self._coded.reader
        try:
            for batch in reader.iter_batches(1, [number], [leaf], use_threads=False):
                values = _dictionary(batch.column(0))
                if len(values):
                    return int(pc.max(pc.binary_length(values)).as_py())
                # It comes with the first value that refers to it.
                reader.set_batch_size(_MOST_ROWS)
        except Exception:  # noqa: BLE001 - reading the column tells what is wrong
            return size
        return size


def checked_rows(metadata: Any) -> int:
    """Rows of a file, by what its footer says of its row groups.

    Raises:
        UnreadableError: It says something else of the file.
    """
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    rows: int = sum(group.num_rows for group in groups)
    _check_rows("the file", metadata.num_rows, rows)
    return rows


def _check_rows(place: str, announced: int, held: int) -> None:
    if held != announced:
        reason = f"{place} announces {announced} rows, and holds {held}"
        raise UnreadableError(f"damaged Parquet file: {reason}")


def _fitting(size: int, rows: int) -> int:
    """Rows of a chunk, when so many have that size."""
    return max(1, CHUNK_BYTES * rows // max(size, 1))


def _leaves(schema: pa.Schema) -> list[range]:
    """Numbers of the columns as they are stored, of each column of a schema."""
    found, start = [], 0
    for field in schema:
        end = start + _width(field.type)
        found.append(range(start, end))
        start = end
    return found


def _width(kind: pa.DataType) -> int:
    if isinstance(kind, pa.BaseExtensionType):
        return _width(kind.storage_type)
    if not kind.num_fields:
        return 1
    return sum(_width(kind.field(at).type) for at in range(kind.num_fields))


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return plain(column).cast(kind)


def _dictionary(column: pa.Array) -> pa.Array:
    """The dictionary of a column that is one, however deep it lies."""
    while not pa.types.is_dictionary(column.type):
        is_struct = pa.types.is_struct(column.type)
        column = column.field(0) if is_struct else column.values
    return column.dictionary
