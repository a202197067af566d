"""Cells as JSON text, column by column: no cell that is text becomes an object."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from sutro_stream.sinks.cells import json_column, json_values

_Piece: TypeAlias = str | pa.Array
"""What every row has alike, or a column."""

_TEXT = pa.large_string()
_NOTHING = pa.scalar("", _TEXT)
_QUOTE = '"'
_UNSAFE = [chr(code) for code in (0x5C, 0x22, *range(0x20))]
"""What text in JSON may not hold, first that which stands before what replaces it."""
_SAFE = bytes(code for code in range(256) if chr(code) not in _UNSAFE)
_OFFSET = struct.Struct("=q")


def json_texts(texts: pa.Array) -> pa.Array:
    """Text as JSON, each with a comma behind; an Arrow array of large strings.

    Nulls stay null, and have no bytes.
    """
    return _joined([_QUOTE, _escaped(texts.cast(_TEXT)), f"{_QUOTE},"])


def json_objects(columns: Mapping[str, pa.Array]) -> pa.Array:
    """Rows as JSON objects, each with a comma behind; an Arrow array of large strings.

    There is at least one column; `sinks.cells` tells what becomes of their types.
    """
    pieces: list[_Piece] = []
    for name, column in columns.items():
        pieces += [",", orjson.dumps(name).decode(), ":", *_cells(column)]
    return _joined(["{", *pieces[1:], "},"])


def _joined(pieces: Sequence[_Piece]) -> pa.Array:
    """Row by row what pieces make, of which a column at least; null where one is."""
    arguments: list[pa.Array | pa.Scalar] = []
    literal = ""
    for piece in (*pieces, None):
        if isinstance(piece, str):
            literal += piece
            continue
        if literal:
            arguments.append(pa.scalar(literal, _TEXT))
            literal = ""
        if piece is not None:
            arguments.append(piece)
    return pc.binary_join_element_wise(*arguments, _NOTHING)


def _cells(column: pa.Array) -> Sequence[_Piece]:
    """JSON of each cell."""
    column = json_column(column)
    kind = column.type
    if _is_text(kind):
        text = _escaped(column.cast(_TEXT))
        if not text.null_count:
            return [_QUOTE, text, _QUOTE]
        return [_or_null(_joined([_QUOTE, text, _QUOTE]))]
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind):
        return [_or_null(column.cast(_TEXT))]
    return [pa.array(_dumped(json_values(column), kind), _TEXT)]


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
    )


def _or_null(texts: pa.Array) -> pa.Array:
    return pc.fill_null(texts, "null") if texts.null_count else texts


def _dumped(values: list[Any], kind: pa.DataType) -> list[bytes]:
    if pa.types.is_floating(kind):
        # Numbers hold no commas; one call for each takes five times as long.
        return orjson.dumps(values)[1:-1].split(b",") if values else []
    return [orjson.dumps(value) for value in values]


def _escaped(texts: pa.Array) -> pa.Array:
    """Text as it stands in JSON between quotes.

    What does not occur in the column, which is nearly all there is, costs nothing.
    """
    there = _unsafe(_bytes(texts))
    for unsafe in _UNSAFE if there else ():
        if ord(unsafe) in there:
            escape = orjson.dumps(unsafe).decode()[1:-1]
            texts = pc.replace_substring(texts, unsafe, escape)
    return texts


def _unsafe(data: memoryview) -> bytes:
    """What of some UTF-8 has to be escaped, each as often as it occurs."""
    # Whether there is any takes a fourth of the time that it takes to say which. What
    # is cut behind nulls may be no UTF-8.
    written = orjson.dumps(str(data, "utf-8", "replace"))
    if len(written) == len(data) + 2:
        return b""
    return data.tobytes().translate(None, _SAFE)


def _bytes(texts: pa.Array) -> memoryview:
    """All that the cells hold, and maybe what lies behind nulls."""
    _, places, data = texts.buffers()
    if data is None or not len(texts):
        return memoryview(b"")
    (start,) = _OFFSET.unpack_from(places, texts.offset * _OFFSET.size)
    (stop,) = _OFFSET.unpack_from(places, (texts.offset + len(texts)) * _OFFSET.size)
    return memoryview(data)[start:stop]
