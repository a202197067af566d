"""Rows and prompts as the JSON that a deployment takes, column by column.

No cell that is text becomes an object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from sutro_stream.formats.cells import check_types, json_column, json_values
from sutro_stream.pipeline.encoded_rows import EncodedRows
from sutro_stream.rendering.prompting import require_columns
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch

_Piece: TypeAlias = str | pa.Array
"""What every row has alike, or a column."""

_TEXT = pa.large_string()
_NOTHING = pa.scalar("", _TEXT)
_QUOTE = '"'
_UNSAFE = [chr(code) for code in (0x5C, 0x22, *range(0x20))]
"""What text in JSON may not hold, first that which stands before what replaces it."""
_SAFE = bytes(code for code in range(256) if chr(code) not in _UNSAFE)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowJson:
    """From batches to rows as they are sent.

    Attributes:
        what: What is sent, for people.
        read: From a batch that arrives to its rows, beside JSON of each.
    """

    what: str
    read: Callable[[Any], Iterator[tuple[PromptBatch, EncodedRows]]]

    @classmethod
    def of_prompts(cls) -> RowJson:
        """Prompts, as strings."""
        return cls(what="prompts", read=_prompts)

    @classmethod
    def of_rows(
        cls,
        schema: pa.Schema,
        names: Sequence[str],
        rows: Callable[[Any], Sequence[RowBatch]],
    ) -> RowJson:
        """Rows, as objects that the deployment renders.

        Args:
            schema: Of the rows.
            names: Columns to send.
            rows: From a batch that arrives to rows.

        Raises:
            ConfigurationError: A column is missing, there twice, or of a type that
                JSON cannot hold.
        """
        require_columns(names, schema, what="submit")
        chosen = pa.schema([schema.field(name) for name in names])
        check_types(chosen, json_column, "a job")
        what = f"rows of {', '.join(names)}"
        return cls(what=what, read=partial(_objects, tuple(names), rows))


def _prompts(batch: PromptBatch) -> Iterator[tuple[PromptBatch, EncodedRows]]:
    yield batch, EncodedRows.of(json_texts(batch.texts))


def _objects(
    names: Sequence[str], rows_of: Callable[[Any], Sequence[RowBatch]], batch: Any
) -> Iterator[tuple[PromptBatch, EncodedRows]]:
    for rows in rows_of(batch):
        if not len(rows):
            continue
        objects = json_objects({name: rows.records[name] for name in names})
        # What the deployment makes of a row is not known here.
        texts = pa.nulls(len(rows), pa.large_string())
        yield PromptBatch(rows=rows, texts=texts), EncodedRows.of(objects)


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
    offsets = memoryview(places).cast("q")
    start, stop = offsets[texts.offset], offsets[texts.offset + len(texts)]
    return memoryview(data)[start:stop]
