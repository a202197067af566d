"""JSON: an object a line, one behind the other, or in one array.

The whole file is looked at for its columns and their types before the first row, since
a name may come late, and a value be of another kind than those before. Both passes are
`msgspec`'s where all is as it was; where it is not, line by line.

A value that is no object is a refused row, as is what is no JSON; a text is a row with
the one column `text`. `NaN` is null.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import IO, Any, TypeAlias

import msgspec
import orjson
import pyarrow as pa

from sutro_stream.formats.cells import check_types, json_column, json_values
from sutro_stream.formats.chunks import assemble, bad_row, with_broken_cells
from sutro_stream.formats.csv_options import CsvOptions
from sutro_stream.formats.format import NO_COLUMNS, Format, Told, WriteOptions
from sutro_stream.formats.json_records import Broken, Value, Values, open_values
from sutro_stream.formats.json_types import (
    MIXED,
    MisfitError,
    fitting,
    plain_text,
    record,
    settled,
    sound,
    together,
    type_of,
)
from sutro_stream.storage.stored import StoredFile, file_error
from sutro_stream.values.outcomes import RowError
from sutro_stream.values.rows import Refused, RowBatch

_Types: TypeAlias = dict[str, pa.DataType]

TEXT_COLUMN = "text"
"""Of rows that are texts."""

_MOST_COLUMNS = 20_000
# Bounds the Python values alive at once; fewer rows are not faster.
_SLICE_ROWS = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonTable:
    """A `TableFile` of JSON."""

    file: StoredFile
    options: CsvOptions
    told: Told
    types: _Types
    schema: pa.Schema
    hidden: pa.Schema = NO_COLUMNS
    row_count: int | None = None
    ambiguous: frozenset[str] = frozenset()

    def batches(
        self, columns: Sequence[str], *, first_row: int, chunk_rows: int
    ) -> Generator[RowBatch, None, None]:
        """See `TableFile`."""
        del chunk_rows
        types = {name: self.types[name] for name in columns}
        rows = _Rows(self.file, types)
        with open_values(self.file, self.options) as portions:
            for portion in portions:
                batch, broken = rows.of(portion, first_row)
                first_row += len(batch)
                if self.options.encoding_errors == "replace":
                    self.told.replaced += len(broken)
                    broken.clear()
                yield from with_broken_cells(self.file, batch, broken, self.options)


def look(file: StoredFile, options: CsvOptions, told: Told) -> JsonTable:
    """See `Look`."""
    seen = _Seen(file)
    with open_values(file, options) as portions:
        for portion in portions:
            seen.look(portion)
    types = {name: settled(kind) for name, kind in seen.types.items()}
    for name in (name for name, kind in types.items() if kind == MIXED):
        told(
            f"{file.label}: column {name!r} has values of different kinds, read as text"
        )
    schema = _plain_schema(types)
    return JsonTable(file=file, options=options, told=told, types=types, schema=schema)


class _Seen:
    """The columns of what was looked at, and their types."""

    def __init__(self, file: StoredFile) -> None:
        self._file = file
        self.types: _Types = {}
        self._decoder = _decoder({}, is_all=True)

    def look(self, values: Values) -> None:
        """Look at more values.

        Raises:
            SourceError: They have too many names.
        """
        if values.lines is not None and _decoded(self._decoder, values) is not None:
            return
        known = len(self.types), [*self.types.values()]
        for value in values.each():
            if isinstance(value, Broken):
                continue
            row, _ = sound(_object(value.value))
            for name, cell in (row or {}).items():
                before = self.types.get(name, pa.null())
                self.types[name] = together(before, type_of(cell))
        if len(self.types) > _MOST_COLUMNS:
            raise file_error(self._file, f"more than {_MOST_COLUMNS} columns")
        if known != (len(self.types), [*self.types.values()]):
            self._decoder = _decoder(self.types, is_all=True)


class _Rows:
    """Values as rows with these columns."""

    def __init__(self, file: StoredFile, types: _Types) -> None:
        self._file = file
        self._types = types
        self._schema = _plain_schema(types)
        self._decoder = _decoder(types, is_all=False)
        self._fitting = {name: fitting(kind) for name, kind in types.items()}
        members = [f"m{at}" for at in range(len(types))]
        # Of a single one it would give no tuple.
        self._members = attrgetter(*members, *members[:1]) if members else None
        # What the decoder cannot make of a value as it stands.
        self._unfitted = [
            name
            for name, kind in types.items()
            if kind == MIXED or pa.types.is_nested(kind)
        ]

    def of(self, values: Values, first_row: int) -> tuple[RowBatch, list[Refused]]:
        """The rows, and cells with bytes that are no text, which are replaced."""
        broken: list[Refused] = []
        refused: list[Refused] = []
        records = self._at_once(values)
        if records is None:
            records = self._one_by_one(values, refused, broken)
        batch = RowBatch(records=records, first_index=first_row, refused=tuple(refused))
        return batch, broken

    def _at_once(self, values: Values) -> pa.RecordBatch | None:
        """`None` where not all is as it was said to be."""
        found = _decoded(self._decoder, values) if values.lines is not None else None
        if found is None:
            return None
        cells = zip(*map(self._members, found), strict=True) if self._members else ()
        columns: list[pa.Array] = []
        try:
            for field, column in zip(self._schema, cells, strict=False):
                fitted = self._fitting[field.name]
                each = map(fitted, column) if field.name in self._unfitted else column
                columns.append(pa.array(each, field.type, size=len(column)))
        except (MisfitError, pa.ArrowInvalid, UnicodeEncodeError):
            return None
        return assemble(columns, self._schema, rows=len(found))

    def _one_by_one(
        self, values: Values, refused: list[Refused], broken: list[Refused]
    ) -> pa.RecordBatch:
        cells: dict[str, list[Any]] = {name: [] for name in self._types}
        rows = 0
        for offset, value in enumerate(values.each()):
            rows += 1
            row = None if isinstance(value, Broken) else _object(value.value)
            if row is None:
                reason = value.reason if isinstance(value, Broken) else "not an object"
                refused.append(
                    (offset, bad_row(self._file, f"{value.place}: {reason}"))
                )
            for name, column in cells.items():
                cell, was_sound = sound(None if row is None else row.get(name))
                if not was_sound:
                    broken.append((offset, self._not_text(value, name)))
                try:
                    column.append(self._fitting[name](cell))
                except MisfitError:
                    column.append(None)
                    refused.append((offset, self._misfit(value, name)))
        columns = [pa.array(cells[each.name], each.type) for each in self._schema]
        return assemble(columns, self._schema, rows=rows)

    def _not_text(self, value: Value | Broken, name: str) -> RowError:
        reason = f"{value.place}, column {name!r}: not all of it is text"
        return bad_row(self._file, reason, name)

    def _misfit(self, value: Value | Broken, name: str) -> RowError:
        kind = self._schema.field(name).type
        reason = (
            f"{value.place}, column {name!r}: the value is not {kind}, as others are"
        )
        return bad_row(self._file, reason, name)


def _plain_schema(types: _Types) -> pa.Schema:
    return pa.schema([(name, plain_text(kind)) for name, kind in types.items()])


def _decoder(types: _Types, *, is_all: bool) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(record(types, is_all=is_all))


def _decoded(decoder: msgspec.json.Decoder[Any], values: Values) -> list[Any] | None:
    """The objects of whole lines, `None` where some are not as expected."""
    try:
        found: list[Any] = decoder.decode_lines(values.lines or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    # Two in one line are not two rows.
    return found if len(found) == values.count() else None


def _object(value: Any) -> dict[str, Any] | None:
    if isinstance(value, str):
        return {TEXT_COLUMN: value}
    return value if isinstance(value, dict) else None


class _LinesEncoder:
    """See `Encoder`. A null is `null`; what JSON lacks is in `cells`."""

    _title = "JSON Lines"

    def __init__(
        self, file: IO[bytes], schema: pa.Schema, options: WriteOptions
    ) -> None:
        del options
        check_types(schema, json_column, self._title)
        self._file = file
        self._names = schema.names

    def write(self, records: pa.RecordBatch) -> None:
        for start in range(0, records.num_rows, _SLICE_ROWS):
            self._file.write(self._lines(records.slice(start, _SLICE_ROWS)))

    def finish(self) -> None:
        """Every line is written already."""

    def abandon(self) -> None:
        """There is nothing to let go of."""

    def _lines(self, records: pa.RecordBatch) -> bytearray:
        columns = [json_values(column) for column in records.columns]
        lines = bytearray()
        for cells in zip(*columns, strict=True):
            # Copied at once: results of orjson kept side by side make the heap
            # grow and shrink for each of them, at fifty times the cost.
            lines += orjson.dumps(
                dict(zip(self._names, cells, strict=False)),
                option=orjson.OPT_APPEND_NEWLINE,
            )
        return lines


class _ArrayEncoder(_LinesEncoder):
    """The same lines in an array."""

    _title = "JSON"
    _before = b"[\n"

    def _lines(self, records: pa.RecordBatch) -> bytearray:
        lines = super()._lines(records)
        before, self._before = self._before, b",\n"
        return bytearray(before + lines[:-1].replace(b"\n", b",\n"))

    def finish(self) -> None:
        self._file.write(b"[]\n" if self._before == b"[\n" else b"\n]\n")


JSONL = Format(
    name="jsonl",
    title="JSON Lines",
    suffixes=(".jsonl", ".ndjson", ".jsonlines"),
    written=(".jsonl", ".ndjson"),
    magic=b'{"',
    look=look,
    encode=_LinesEncoder,
)

JSON = Format(
    name="json",
    title="JSON",
    suffixes=(".json",),
    written=(".json",),
    magic=b"[",
    look=look,
    encode=_ArrayEncoder,
)
