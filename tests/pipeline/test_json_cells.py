"""JSON that is written column by column is what a writer of objects makes."""

from __future__ import annotations

import datetime as dt
from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.formats.cells import json_values
from sutro_stream.pipeline.row_json import json_objects, json_texts

NASTY = st.text(alphabet='\\"/{},: \n\r\t\b\f\x00\x1b\x1f\x7fau\u00e9\u2028\U0001f600')
TEXT = st.text() | NASTY
NUMBERS = pa.list_(pa.float64())
FIELDS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): TEXT,
    pa.large_string(): TEXT,
    pa.string_view(): TEXT,
    pa.dictionary(pa.int8(), pa.string()): st.sampled_from(["a", "\\", '"\n']),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.bool_(): st.booleans(),
    pa.null(): st.none(),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(dt.datetime(1, 1, 1)),  # noqa: DTZ001 - naive
    pa.binary(): st.binary(max_size=5),
    NUMBERS: st.lists(st.none() | st.floats(), max_size=3),
    pa.struct([("a", pa.string()), ("b", NUMBERS)]): st.fixed_dictionaries(
        {"a": TEXT, "b": st.lists(st.floats(), max_size=2)}
    ),
    pa.map_(pa.string(), pa.int8()): st.dictionaries(
        TEXT, st.integers(-9, 9), max_size=2
    ).map(lambda items: list(items.items())),
}


@st.composite
def columns(draw: st.DrawFn) -> dict[str, pa.Array]:
    """A few columns with nulls in some of them, that begin and end within others."""
    rows = draw(st.integers(0, 5))
    start = draw(st.integers(0, 2))
    found = {}
    for name in draw(st.lists(TEXT, min_size=1, max_size=3, unique=True)):
        kind = draw(st.sampled_from(list(FIELDS)))
        cell = FIELDS[kind] | st.none() if draw(st.booleans()) else FIELDS[kind]
        size = start + rows + 1
        cells = draw(st.lists(cell, min_size=size, max_size=size))
        found[name] = pa.array(cells, kind).slice(start, rows)
    return found


def decoded(texts: pa.Array) -> list[Any]:
    """What the rows say; each has its comma."""
    rows = texts.to_pylist()
    assert all(row.endswith(",") for row in rows)
    return [orjson.loads(row[:-1]) for row in rows]


@given(columns())
def test_objects_say_what_the_cells_do(given: dict[str, pa.Array]) -> None:
    """Whatever their types, and in their order."""
    cells = zip(*map(json_values, given.values()), strict=True)
    wanted = [orjson.dumps(dict(zip(given, row, strict=True))) for row in cells]
    found = decoded(json_objects(given))
    assert found == [orjson.loads(row) for row in wanted]
    assert all(list(row) == list(given) for row in found)


@given(st.lists(TEXT | st.none()), st.sampled_from([pa.string(), pa.large_string()]))
def test_text_is_written_byte_by_byte_as_elsewhere(
    texts: list[str | None], kind: pa.DataType
) -> None:
    """Answers are known again by what was sent; nulls stay null."""
    wanted = [
        None if text is None else f"{orjson.dumps(text).decode()}," for text in texts
    ]
    assert json_texts(pa.array(texts, kind)).to_pylist() == wanted


@pytest.mark.parametrize("code", [*range(0x20), 0x22, 0x5C, 0x7F])
def test_each_unsafe_character(code: int) -> None:
    """Alone and beside a backslash, which stands before most of what replaces it."""
    texts = [chr(code), f"\\{chr(code)}n", f"{chr(code)}\\"]
    assert decoded(json_texts(pa.array(texts))) == texts


def test_a_column_without_values() -> None:
    """Makes as many rows as it has cells."""
    assert decoded(json_objects({"a": pa.nulls(2)})) == [{"a": None}] * 2
