"""Cells in the few types that JSON has.

| Arrow | JSON |
|---|---|
| null, booleans, integers, floats, text | themselves; NaN and infinities are null |
| decimal, date, time | text as it is usually written |
| timestamp | text in ISO 8601; one with a time zone in UTC, ending in `Z` |
| duration | seconds |
| binary, also of a fixed size | text in base64 |
| list, struct | array, object |
| map | object; keys become text, the last of equal keys counts |
| dictionary, run-end encoded, extension | what they stand for |
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from sutro_stream.errors import ConfigurationError

_Change: TypeAlias = Callable[[Any], Any]

_TICKS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def json_values(column: pa.Array) -> list[Any]:
    """The cells of a column as Python values that `orjson` writes."""
    column = json_column(column)
    values: list[Any] = column.to_pylist()
    objects = _with_objects(column.type)
    return values if objects is None else [objects(value) for value in values]


def json_texts(column: pa.Array) -> pa.Array:
    """The cells as JSON texts, null where there is none."""
    texts = [
        None if value is None else orjson.dumps(value).decode()
        for value in json_values(column)
    ]
    return pa.array(texts, pa.large_string())


def json_column(column: pa.Array) -> pa.Array:
    """The same cells in Arrow types that have a counterpart in JSON.

    Raises:
        ArrowNotImplementedError: There is none for this type.
    """
    kind = column.type
    if _is_plain(kind):
        return column
    if (decoded := _decoded(column)) is not None:
        return json_column(decoded)
    if pa.types.is_struct(kind):
        return _struct(column)
    if pa.types.is_map(kind):
        return _map(column)
    if _is_list(kind):
        return _list(column)
    return _scalar(column)


def check_types(
    schema: pa.Schema, change: Callable[[pa.Array], pa.Array], what: str
) -> list[pa.DataType]:
    """The types that `change` makes of the columns, found before there are rows.

    Raises:
        ConfigurationError: It cannot change a column of that type.
    """
    changed = []
    for field in schema:
        try:
            changed.append(change(pa.nulls(0, field.type)).type)
        except pa.ArrowException as error:
            message = f"column {field.name!r}: {what} cannot hold {field.type}"
            raise ConfigurationError(message) from error
    return changed


def is_nested(kind: pa.DataType) -> bool:
    """Whether cells of this type are arrays or objects in JSON."""
    return bool(_is_list(kind) or pa.types.is_struct(kind) or pa.types.is_map(kind))


def _is_plain(kind: pa.DataType) -> bool:
    if _is_list(kind):
        return _is_plain(kind.value_type)
    if pa.types.is_struct(kind):
        _refuse_equal_names(kind)
        return all(_is_plain(field.type) for field in kind)
    return (
        pa.types.is_null(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_float32(kind)
        or pa.types.is_float64(kind)
        or _is_text(kind)
    )


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
    )


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind)
        or pa.types.is_large_list_view(kind)
    )


def _is_binary(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _refuse_equal_names(kind: pa.StructType) -> None:
    names = [field.name for field in kind]
    if len(set(names)) < len(names):
        raise pa.ArrowNotImplementedError("a struct with equal field names")


def _decoded(column: pa.Array) -> pa.Array | None:
    """What the cells stand for, `None` when they are it already."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return column.storage
    if pa.types.is_dictionary(kind):
        return column.dictionary_decode()
    if pa.types.is_run_end_encoded(kind):
        return pc.run_end_decode(column)
    return None


def _scalar(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_timestamp(kind):
        # In UTC no time zone database is needed to write the time down.
        zone = None if kind.tz is None else "UTC"
        text = column.cast(pa.timestamp(kind.unit, zone)).cast(pa.string())
        return pc.replace_substring(text, " ", "T", max_replacements=1)
    if pa.types.is_duration(kind):
        ticks = column.cast(pa.int64()).cast(pa.float64(), safe=False)
        return pc.divide(ticks, float(_TICKS_PER_SECOND[kind.unit]))
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    if _is_binary(kind):
        texts = [None if cell is None else _base64(cell) for cell in column.to_pylist()]
        return pa.array(texts, pa.string())
    return column.cast(pa.string())


def _base64(cell: bytes) -> str:
    return base64.b64encode(cell).decode("ascii")


def _struct(column: pa.StructArray) -> pa.Array:
    _refuse_equal_names(column.type)
    children = [json_column(child) for child in column.flatten()]
    fields = [
        pa.field(field.name, child.type)
        for field, child in zip(column.type, children, strict=True)
    ]
    return pa.StructArray.from_arrays(children, fields=fields, mask=pc.is_null(column))


def _list(column: pa.Array) -> pa.Array:
    return pa.LargeListArray.from_arrays(
        _offsets(pc.list_value_length(column)),
        json_column(pc.list_flatten(column)),
        mask=pc.is_null(column),
    )


def _map(column: pa.MapArray) -> pa.Array:
    lists = column.cast(_pairs(column.type))
    pairs = pc.list_flatten(lists)
    keys, items = (json_column(child) for child in pairs.flatten())
    return pa.MapArray.from_arrays(
        _offsets(pc.list_value_length(lists)).cast(pa.int32()),
        keys.cast(pa.string()),
        items,
        mask=pc.is_null(column),
    )


def _pairs(kind: pa.MapType) -> pa.DataType:
    return pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)]))


def _offsets(lengths: pa.Array) -> pa.Array:
    """Where each list starts, once lists that are null hold nothing."""
    counts = pc.fill_null(lengths.cast(pa.int64()), 0)
    return pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(counts)])


def _with_objects(kind: pa.DataType) -> _Change | None:
    """Change the pairs of maps into objects, at any depth; `None`: there are none."""
    if pa.types.is_map(kind):
        item = _with_objects(kind.item_type) or _unchanged
        return _unless_null(lambda pairs: {key: item(value) for key, value in pairs})
    if _is_list(kind):
        element = _with_objects(kind.value_type)
        return element and _unless_null(lambda cells: [element(cell) for cell in cells])
    if pa.types.is_struct(kind):
        changes = [(field.name, _with_objects(field.type)) for field in kind]
        if any(change for _, change in changes):
            return _unless_null(
                lambda cells: {
                    name: (change or _unchanged)(cells[name])
                    for name, change in changes
                }
            )
    return None


def _unless_null(change: _Change) -> _Change:
    return lambda value: None if value is None else change(value)


def _unchanged(value: Any) -> Any:
    return value
