"""Python rows as Arrow: the first rows set the columns, later ones keep to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
import pyarrow as pa

from sutro_stream.errors import SourceError
from sutro_stream.formats.chunks import assemble, quoted, there_are

PROMPT_COLUMN = "prompt"
"""Name of the only column of rows that are strings."""

_MISFIT = (pa.ArrowException, ValueError, TypeError, OverflowError, RecursionError)


class RowTable:
    """Turns chunks of rows into batches of one schema.

    A column has the type Arrow finds for its values in the first chunk. It is text
    when these are of several types, are all missing, or contain mappings, whose
    keys a column type would have to fix.

    Concurrency: one task.
    """

    def __init__(
        self, *, declared: Sequence[str] | None, asked: frozenset[str] | None
    ) -> None:
        self.schema = pa.schema([])
        self._declared = declared
        self._asked = asked
        self._known: frozenset[str] = frozenset()
        self._first_rows = 0

    def start(self, items: Sequence[Any]) -> pa.RecordBatch:
        """Set the schema by the first rows, and return them; there may be none.

        Raises:
            SourceError: An item is not a row, or a value cannot be represented.
        """
        rows = self._mappings(items, first_row=0)
        names = _names(rows) if self._declared is None else list(self._declared)
        self._known = frozenset(names)
        self._first_rows = len(rows)
        kept = [name for name in names if self._asked is None or name in self._asked]
        types = [_infer([row.get(name) for row in rows]) for name in kept]
        self.schema = pa.schema(list(zip(kept, types, strict=True)))
        return self._table(rows, first_row=0)

    def convert(self, items: Sequence[Any], *, first_row: int) -> pa.RecordBatch:
        """Later rows in the same schema.

        Args:
            items: The rows.
            first_row: 0-based position of the first.

        Raises:
            SourceError: An item is not a row, has a key that was not there before,
                or a value of another type than its column.
        """
        rows = self._mappings(items, first_row=first_row)
        self._check_keys(rows, first_row)
        return self._table(rows, first_row=first_row)

    def _mappings(
        self, items: Iterable[Any], *, first_row: int
    ) -> list[Mapping[str, Any]]:
        rows: list[Mapping[str, Any]] = []
        for row_index, item in enumerate(items, first_row):
            if isinstance(item, str):
                rows.append(self._prompt(item, row_index))
            elif isinstance(item, (dict, Mapping)):  # a dict is told much faster
                rows.append(item)
            else:
                raise _error(
                    row_index,
                    "a row must be a string or a mapping of columns to values, "
                    f"not {type(item).__name__}",
                )
        return rows

    def _prompt(self, text: str, row_index: int) -> Mapping[str, Any]:
        if self._declared is not None and PROMPT_COLUMN not in self._declared:
            raise _error(
                row_index,
                f"a string makes the column {PROMPT_COLUMN!r}, which is not among the "
                f"columns to read ({quoted(self._declared)})",
            )
        return {PROMPT_COLUMN: text}

    def _check_keys(self, rows: Sequence[Mapping[str, Any]], first_row: int) -> None:
        if self._declared is not None:
            return
        for row_index, row in enumerate(rows, first_row):
            if row.keys() <= self._known:
                continue
            unknown = _text_keys(row.keys() - self._known, row_index)
            if self._asked is not None:
                unknown = [name for name in unknown if name in self._asked]
            if unknown:
                raise _error(
                    row_index,
                    f"no column {quoted(unknown)}: the first {self._first_rows} rows "
                    f"set the columns ({there_are(sorted(self._known))}); pass "
                    "columns=[...] to name those to read",
                )

    def _table(
        self, rows: Sequence[Mapping[str, Any]], *, first_row: int
    ) -> pa.RecordBatch:
        columns = [
            _column([row.get(field.name) for row in rows], field, first_row)
            for field in self.schema
        ]
        return assemble(columns, self.schema, rows=len(rows))


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names: dict[str, None] = {}
    for row_index, row in enumerate(rows):
        if row.keys() != names.keys():
            names.update(dict.fromkeys(_text_keys(row, row_index)))
    return list(names)


def _text_keys(keys: Iterable[Any], row_index: int) -> list[str]:
    names = list(keys)
    for name in names:
        if not isinstance(name, str):
            raise _error(
                row_index, f"names of columns must be text, not {type(name).__name__}"
            )
        if not _is_encodable(name):
            raise _error(row_index, "the name of a column is not valid Unicode")
    return names


def _infer(values: Sequence[Any]) -> pa.DataType:
    """The type that represents all values as they are; text when none does."""
    if any(_is_nested(value) for value in values):
        return pa.string()
    try:
        found = pa.array(values).type
    except _MISFIT:
        return pa.string()
    if _loses_time(found, values):
        return pa.string()
    if pa.types.is_binary(found) and any(isinstance(value, str) for value in values):
        return pa.string()
    return pa.string() if _is_unsettled(found) else found


def _loses_time(found: pa.DataType, values: Sequence[Any]) -> bool:
    """Whether dates and points in time would all become dates."""
    return bool(pa.types.is_date(found)) and any(
        isinstance(value, datetime) for value in values
    )


def _is_nested(value: Any) -> bool:
    """Whether a value holds others that hold others.

    These are not given to Arrow: it would fix the keys of mappings, and does not
    survive a value that contains itself.
    """
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return False
    return isinstance(value, Mapping) or any(
        hasattr(item, "__iter__") and not isinstance(item, str | bytes)
        for item in value
    )


def _is_unsettled(data_type: pa.DataType) -> bool:
    """Whether a type says nothing, or is one that few understand."""
    if pa.types.is_list(data_type):
        return bool(pa.types.is_null(data_type.value_type))
    return bool(
        pa.types.is_null(data_type) or isinstance(data_type, pa.BaseExtensionType)
    )


def _column(values: list[Any], field: pa.Field, first_row: int) -> pa.Array:
    convert = _as_text if field.type == pa.string() else _as_type
    try:
        return convert(values, field.type)
    except _MISFIT:
        for row_index, value in enumerate(values, first_row):
            _check(value, field, row_index, convert)
        raise


def _check(
    value: Any, field: pa.Field, row_index: int, convert: Callable[..., pa.Array]
) -> None:
    """Raise the error about the first value that does not fit."""
    try:
        convert([value], field.type)
    except UnicodeEncodeError:
        reason = "text that is not valid Unicode (a lone surrogate)"
    except _MISFIT:
        reason = (
            f"{type(value).__name__} does not fit the column's type {field.type}, "
            "which the first rows set"
        )
        if field.type == pa.string():
            reason = f"{type(value).__name__} that cannot be written as text"
    else:
        return
    raise _error(row_index, f"column {field.name!r}: {reason}")


def _as_text(values: list[Any], _: pa.DataType) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except pa.ArrowException:
        return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> Any:
    """A value as text; text, missing values and bytes stay what they are."""
    if value is None or isinstance(value, str | bytes):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping | list | tuple):
        try:
            return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
        except orjson.JSONEncodeError:
            return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)


def _as_type(values: list[Any], data_type: pa.DataType) -> pa.Array:
    if any(_is_nested(value) for value in values):
        raise TypeError
    column = pa.array(values)
    if _loses_time(column.type, values):
        raise TypeError
    if column.type == data_type:
        return column
    if _is_number(data_type) and _is_number(column.type):
        return column.cast(data_type)
    if pa.types.is_null(column.type) or _is_alike(column.type, data_type):
        return pa.array(values, data_type)
    raise TypeError


def _is_number(data_type: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(data_type)
        or pa.types.is_floating(data_type)
        or pa.types.is_decimal(data_type)
    )


def _is_alike(found: pa.DataType, expected: pa.DataType) -> bool:
    """Whether Arrow converts one to the other without changing what it means."""
    zones = [getattr(data_type, "tz", None) for data_type in (found, expected)]
    return bool(found.id == expected.id and zones[0] == zones[1])


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _error(row_index: int, reason: str) -> SourceError:
    return SourceError(f"row {row_index}: {reason}", row_index=row_index)
