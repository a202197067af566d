"""What a chunk is: its bounds, its columns, its types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from sutro_stream.errors import ConfigurationError, SourceError
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.storage.stored import StoredFile
from sutro_stream.values.ascii import is_ascii
from sutro_stream.values.outcomes import ErrorKind, RowError
from sutro_stream.values.rows import Refused, RowBatch

CHUNK_ROWS = 16_384
"""Rows of a chunk, at most, when the user says nothing.

Short rows take some 7 % more processor time in chunks of half as many: each is handed
from thread to thread, and from stage to stage.
"""

CHUNK_BYTES = 4 << 20
"""Size of a chunk that readers aim at; one of up to twice that is left whole."""

_MAX_LISTED = 30


def check_chunk_rows(chunk_rows: int) -> None:
    """Refuse a chunk of no rows.

    Raises:
        ConfigurationError: `chunk_rows` is below 1.
    """
    if chunk_rows < 1:
        message = f"chunk_rows must be at least 1, not {chunk_rows}"
        raise ConfigurationError(message)


def slices(batch: pa.RecordBatch, *, max_rows: int) -> Iterator[pa.RecordBatch]:
    """Consecutive views of a batch, about equal where its rows are, within the bounds.

    One row, however large, is a slice of its own. Nothing is copied.
    """
    rows = batch.num_rows
    if rows == 0:
        return
    pieces = -(-rows // max_rows)
    if batch.nbytes > 2 * CHUNK_BYTES:
        pieces = max(pieces, -(-batch.nbytes // CHUNK_BYTES))
    step = -(-rows // pieces)
    for start in range(0, rows, step):
        piece = batch.slice(start, step)
        if 1 < piece.num_rows < rows and piece.nbytes > 2 * CHUNK_BYTES:
            yield from slices(piece, max_rows=max_rows)
        else:
            yield piece


def row_slices(batch: RowBatch, *, max_rows: int) -> Iterator[RowBatch]:
    """As `slices`, of rows that know where they stand."""
    start = 0
    for records in slices(batch.records, max_rows=max_rows):
        yield batch.slice(start, records.num_rows)
        start += records.num_rows


def joined(
    batches: Iterable[pa.RecordBatch], *, max_rows: int
) -> Iterator[pa.RecordBatch]:
    """The same rows in fewer batches, where these are small.

    Args:
        batches: None of more than `max_rows` rows; an error comes behind the rows
            before it.
        max_rows: Most rows of a batch.
    """
    held: list[pa.RecordBatch] = []
    rows = size = 0
    try:
        for batch in batches:
            if held and size + batch.nbytes > CHUNK_BYTES:
                yield _join(held)
                held, rows, size = [], 0, 0
            rest = batch
            if rows + batch.num_rows >= max_rows:
                room = max_rows - rows
                yield _join([*held, batch.slice(0, room)])
                rest = batch.slice(room)
                held, rows, size = [], 0, 0
            if rest.num_rows:
                held.append(rest)
                rows += rest.num_rows
                size += rest.nbytes
    except Exception:
        # Whatever ends the reading: the rows before it are delivered.
        if held:
            yield _join(held)
        raise
    if held:
        yield _join(held)


def _join(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def bad_row(file: StoredFile, reason: str, field: str | None = None) -> RowError:
    """Why a row, or its cell of a column, is refused."""
    message = f"{file.label}: {reason}"
    return RowError(kind=ErrorKind.BAD_ROW, message=message, field=field)


def with_broken_cells(
    file: StoredFile, rows: RowBatch, broken: Sequence[Refused], options: CsvOptions
) -> Iterator[RowBatch]:
    """Rows of which some cells are broken: refused, unless that ends the reading.

    Raises:
        SourceError: It ends the reading, behind the rows before.
    """
    if broken and options.encoding_errors == "stop":
        first, error = min(broken, key=lambda cell: cell[0])
        if first:
            yield rows.slice(0, first)
        row_index = rows.first_index + first
        raise SourceError(error.message, path=file.label, row_index=row_index)
    yield replace(rows, refused=(*rows.refused, *broken)) if broken else rows


def project(
    names: Sequence[str],
    *,
    declared: Sequence[str] | None,
    asked: frozenset[str] | None,
    error: Callable[[str], SourceError],
) -> list[str]:
    """The columns to read, in the order of the input.

    Args:
        names: Columns the input has.
        declared: Columns the user restricted the source to, `None` for all.
        asked: Columns the pipeline needs, `None` for all; unknown ones are left.
        error: Makes the error from a reason.

    Raises:
        SourceError: A declared column does not exist, or a column to be read
            exists twice.
    """
    if declared is not None:
        missing = [name for name in declared if name not in names]
        if missing:
            raise error(f"no column {quoted(missing)} ({there_are(names)})")
    kept = [
        name
        for name in names
        if (declared is None or name in declared) and (asked is None or name in asked)
    ]
    repeated = [name for name, count in Counter(kept).items() if count > 1]
    if repeated:
        raise error(f"more than one column is named {quoted(repeated)}")
    return kept


def distinct(
    columns: Sequence[str | None], *, label: str, told: Callable[[str], None]
) -> tuple[tuple[str | None, ...], frozenset[str]]:
    """The same names, each once; those that are empty by their place.

    Args:
        columns: As a file names them; `None` for one that is left out.
        label: The file, for messages.
        told: Takes which names are changed.

    Returns:
        The names, and those of them that several columns had.
    """
    taken = {name for name in columns if name}
    seen: Counter[str] = Counter()
    names: list[str | None] = []
    for place, column in enumerate(columns, 1):
        name = column
        if name is not None and not name:
            name = f"column_{place}"
        if name is not None and (seen[name] or (not column and name in taken)):
            count = seen[name] or 1
            while (other := f"{name}_{count + 1}") in taken:
                count += 1
            seen[name] = count + 1
            name = other
        if name is not None:
            seen[name] += 1
            taken.add(name)
        names.append(name)
    repeated = frozenset(
        name for name, count in Counter(columns).items() if name and count > 1
    )
    if repeated:
        told(
            f"{label}: more than one column is named {quoted(sorted(repeated))}; the "
            "later ones are read with _2, _3, ... behind their names"
        )
    return tuple(names), repeated


def quoted(names: Iterable[str]) -> str:
    """Column names for a message."""
    return ", ".join(repr(name) for name in names)


def there_are(names: Sequence[str]) -> str:
    """The columns an input has, for a message; cut short when there are many."""
    listed = ", ".join(names[:_MAX_LISTED])
    more = len(names) - _MAX_LISTED
    return f"columns: {listed}, and {more} more" if more > 0 else f"columns: {listed}"


def plain_type(data_type: pa.DataType) -> pa.DataType:
    """The type of the same values without an encoding of theirs.

    Dictionaries, run ends and views differ between chunks or are little supported;
    the values in them are not affected.
    """
    if pa.types.is_dictionary(data_type) or pa.types.is_run_end_encoded(data_type):
        return plain_type(data_type.value_type)
    if data_type == pa.string_view():
        return pa.string()
    if data_type == pa.binary_view():
        return pa.binary()
    if pa.types.is_struct(data_type):
        fields = (data_type.field(at) for at in range(data_type.num_fields))
        return pa.struct([_plain_field(field) for field in fields])
    if pa.types.is_map(data_type):
        key, item = plain_type(data_type.key_type), _plain_field(data_type.item_field)
        return pa.map_(key, item, keys_sorted=data_type.keys_sorted)
    if pa.types.is_fixed_size_list(data_type):
        return pa.list_(_plain_field(data_type.value_field), data_type.list_size)
    if pa.types.is_large_list(data_type):
        return pa.large_list(_plain_field(data_type.value_field))
    if pa.types.is_list(data_type):
        return pa.list_(_plain_field(data_type.value_field))
    return data_type


def plain(column: pa.Array) -> pa.Array:
    """The values of a column that is encoded as a whole, in a plain type."""
    if pa.types.is_dictionary(column.type):
        values = column.dictionary.cast(plain_type(column.type.value_type))
        return values.take(column.indices)
    if pa.types.is_run_end_encoded(column.type):
        return plain(pc.run_end_decode(column))
    return column


def sound_text(column: pa.Array) -> tuple[pa.Array, list[int]]:
    """A column of text in which all bytes are text.

    Args:
        column: Of type string or large_string; its offsets are sound.

    Returns:
        The same column where it was so; else with U+FFFD for what is no UTF-8, and the
        offsets of the values concerned.
    """
    if is_ascii(column):
        return column, []
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        is_large = pa.types.is_large_string(column.type)
        values = column.view(pa.large_binary() if is_large else pa.binary()).to_pylist()
        texts: list[str | None] = []
        broken: list[int] = []
        for offset, value in enumerate(values):
            try:
                texts.append(None if value is None else value.decode())
            except UnicodeDecodeError:
                texts.append(value.decode(errors="replace"))
                broken.append(offset)
        return pa.array(texts, column.type), broken
    return column, []


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(plain_type(field.type))


def plain_schema(fields: Iterable[pa.Field]) -> pa.Schema:
    """Nullable columns of plain types, without metadata."""
    return pa.schema([pa.field(field.name, plain_type(field.type)) for field in fields])


def assemble(
    columns: Sequence[pa.Array], schema: pa.Schema, *, rows: int
) -> pa.RecordBatch:
    """A batch of `rows` rows, also without any column."""
    if not columns:
        empty = pa.array([{}] * rows, pa.struct([]))
        return pa.RecordBatch.from_struct_array(empty)
    return pa.RecordBatch.from_arrays(list(columns), schema=schema)


def conform(
    batch: pa.RecordBatch,
    schema: pa.Schema,
    *,
    first_row: int,
    error: Callable[[str, int | None], SourceError],
) -> pa.RecordBatch:
    """The batch with exactly the columns and types of `schema`, its text valid.

    Args:
        batch: Has the columns of `schema` by name, and maybe others.
        schema: As made by `plain_schema`.
        first_row: 0-based position of the first row, for errors.
        error: Makes the error from a reason and a row.

    Raises:
        SourceError: A value does not fit its type, or text is not UTF-8.
    """
    columns = []
    for field in schema:
        column = batch.column(batch.schema.get_field_index(field.name))
        try:
            if column.type != field.type:
                column = plain(column).cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            reason = (
                f"column {field.name!r}: {column.type} values do not fit {field.type}"
            )
            raise error(reason, first_row) from None
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            raise error(*_invalid(column, field.name, first_row)) from None
        columns.append(column)
    return assemble(columns, schema, rows=batch.num_rows)


def _invalid(column: pa.Array, name: str, first_row: int) -> tuple[str, int]:
    def fails(offset: int) -> bool:
        try:
            column.slice(offset, 1).validate(full=True)
        except pa.ArrowInvalid:
            return True
        return False

    offset = next((at for at in range(len(column)) if fails(at)), 0)
    row = first_row + offset
    return (
        f"row {row}, column {name!r}: the value is broken (text that is not UTF-8?)",
        row,
    )
