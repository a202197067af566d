"""Functions whose inputs are all text: prompts are joined in one go."""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.flow.meter import Meter
from sutro_stream.flow.stage import RunContext
from sutro_stream.rendering.function import Render
from sutro_stream.values.function import Function
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import ErrorKind
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch

TEMPLATE = "\u00bb{{ a }}{{ b }}\u00ab {{ a }}"


def rendered(columns: dict[str, Any], template: str = TEMPLATE) -> PromptBatch:
    """The prompts of a Function with the inputs `a` and `b`."""
    function = Function.validate(
        {
            "name": "test",
            "inputs": [{"name": "a"}, {"name": "b"}],
            "prompt_template": template,
        }
    )
    records = pa.RecordBatch.from_pydict(columns)
    shape = Shape(kind=RowBatch, rows=records.schema)
    step = Render(function=function).bind(shape, RunContext(meter=Meter()))
    return step.prompts(RowBatch(records=records, first_index=0))


def text_of(*cells: bytes) -> pa.Array:
    """A string column as it is read: nobody has looked whether it is UTF-8."""
    ends = [sum(map(len, cells[:count])) for count in range(len(cells) + 1)]
    offsets = struct.pack(f"{len(ends)}i", *ends)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(cells))]
    return pa.Array.from_buffers(pa.string(), len(cells), buffers)


@given(rows=st.lists(st.tuples(st.text(), st.text(), st.booleans()), max_size=8))
def test_prompts_are_those_of_any_other_kind_of_text(
    rows: list[tuple[str, str, bool]],
) -> None:
    """Whatever the offsets of its columns, and whether there are gaps or not."""
    a = [first for first, _, _ in rows]
    b = [None if is_gap else second for _, second, is_gap in rows]
    narrow = rendered({"a": pa.array(a, pa.string()), "b": pa.array(b, pa.string())})
    wide = rendered(
        {"a": pa.array(a, pa.large_string()), "b": pa.array(b, pa.large_string())}
    )
    assert narrow.texts.type == wide.texts.type
    assert narrow.texts.to_pylist() == wide.texts.to_pylist()
    assert narrow.refused == wide.refused


def test_two_broken_texts_that_make_a_whole_one_are_refused() -> None:
    """What is joined is looked at piece by piece, and other rows go on."""
    first, second = "\u00e9".encode()[:1], "\u00e9".encode()[1:]
    batch = rendered({"a": text_of(b"x", first), "b": text_of(b"y", second)})
    assert batch.texts.to_pylist() == ["\u00bbxy\u00ab x", None]
    assert {at: error.kind for at, error in batch.refused.items()} == {
        1: ErrorKind.WRONG_TYPE
    }


@pytest.mark.parametrize("template", ["only {{ a }}", "nothing"])
def test_an_input_that_the_template_leaves_out_is_checked(template: str) -> None:
    """It is declared, and a row that does not fit is refused."""
    batch = rendered({"a": text_of(b"x", b"x"), "b": text_of(b"y", b"\xff")}, template)
    assert batch.texts.to_pylist()[1] is None
    assert [error.field for error in batch.refused.values()] == ["b"]


def test_slices_of_columns_are_filled_from_their_own_rows() -> None:
    """Chunks are views of what was read."""
    column = pa.array(["zero", "one", "\u00e9\u00e9\u00e9", "three"])[1:3]
    batch = rendered({"a": column, "b": column})
    assert batch.texts.to_pylist()[0] == "\u00bboneone\u00ab one"
