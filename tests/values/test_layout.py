"""Streams as tables."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.layout import Batch, Layout, Shape
from sutro_stream.values.outcomes import (
    Answer,
    ErrorKind,
    Outcome,
    OutcomeBatch,
    RowError,
)
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch
from sutro_stream.values.schema import OutputSchema

RECORDS = pa.RecordBatch.from_pydict({"id": [1, 2, 3], "text": ["x", None, "z"]})
ROWS = RowBatch(records=RECORDS, first_index=7)
REFUSAL = RowError(kind=ErrorKind.MISSING_VALUE, message="no text", field="text")
PROMPTS = PromptBatch(rows=ROWS, texts=pa.array(["X", None, "Z"]), refused={1: REFUSAL})
SCHEMA = OutputSchema.parse(
    {
        "type": "object",
        "properties": {
            "label": {"enum": ["good", "bad"]},
            "score": {"type": "integer"},
            "parts": {"type": "array", "items": {"type": "string"}},
            "more": {"type": "object"},
        },
    }
)


def shape(
    kind: type[Batch], *names: str, output: dict[str, Any] | None = None
) -> Shape:
    """A stream over text columns with these names."""
    schema = None if output is None else OutputSchema.parse(output)
    return Shape(
        kind=kind,
        rows=pa.schema([pa.field(name, pa.string()) for name in names]),
        instructions=None if kind is RowBatch else Instructions(schema=schema),
    )


def layout(
    kind: type[Batch], columns: Sequence[str] | None = None, *, structured: bool = False
) -> Layout:
    """The layout of a stream over `RECORDS`."""
    instructions = Instructions(schema=SCHEMA if structured else None)
    described = Shape(kind=kind, rows=RECORDS.schema, instructions=instructions)
    return described.layout(columns)


def answered(text: str, value: Any = None) -> Outcome:
    """A row's answer."""
    return Outcome(answer=Answer(text=text), value=value)


def test_rows_are_their_own_table() -> None:
    """All columns, or those chosen in the order of the choice."""
    assert layout(RowBatch).records(ROWS) == RECORDS
    chosen = layout(RowBatch, ["text", "id"])
    assert chosen.schema.names == ["text", "id"]
    assert chosen.records(ROWS).to_pydict() == {
        "text": ["x", None, "z"],
        "id": [1, 2, 3],
    }


def test_a_table_without_columns_still_has_its_rows() -> None:
    """Counting rows needs none of their values."""
    assert layout(RowBatch, []).records(ROWS).num_rows == 3


def test_prompts_stand_beside_their_rows() -> None:
    """A refused row has no prompt and a reason."""
    records = layout(PromptBatch, ["id"]).records(PROMPTS)
    assert records.to_pydict() == {
        "id": [1, 2, 3],
        "prompt": ["X", None, "Z"],
        "error": [None, "missing_value: no text", None],
    }
    assert records.schema == layout(PromptBatch, ["id"]).schema


def test_answers_stand_beside_the_rows_they_belong_to() -> None:
    """By offset: in any order, and for a part of the rows."""
    outcomes = [answered("Z!"), Outcome(error=REFUSAL)]
    batch = OutcomeBatch(
        prompts=PROMPTS, offsets=[2, 1], outcomes=outcomes, structured=False
    )
    assert layout(OutcomeBatch).records(batch).to_pydict() == {
        "id": [3, 2],
        "text": ["z", None],
        "output": ["Z!", None],
        "error": [None, "missing_value: no text"],
    }


def test_structured_answers_are_typed_columns() -> None:
    """An absent or null property is null, and so is all of a failed row."""
    value = {"label": "good", "score": 2.0, "parts": ["a"], "more": {"b": 1}}
    invalid = RowError(kind=ErrorKind.INVALID_OUTPUT, message="no")
    batch = OutcomeBatch(
        prompts=PROMPTS,
        offsets=range(3),
        outcomes=[
            answered("{…}", value),
            Outcome(answer=Answer(text="?"), error=invalid),
            answered("{}", {"score": None}),
        ],
        structured=True,
    )
    described = layout(OutcomeBatch, [], structured=True)
    records = described.records(batch)
    assert records.schema == described.schema
    assert records.to_pydict() == {
        "output": ["{…}", "?", "{}"],
        "error": [None, "invalid_output: no", None],
        "label": ["good", None, None],
        "score": [2, None, None],
        "parts": [["a"], None, None],
        "more": ['{"b":1}', None, None],
    }
    assert records.schema.field("score").type == pa.int64()


@pytest.mark.parametrize(
    ("described", "columns", "parts"),
    [
        (
            shape(RowBatch, "a"),
            ["b"],
            ["'b'", "no such input column", "(there are: a)"],
        ),
        (shape(RowBatch, "a"), ["a", "a"], ["'a'", "twice"]),
        (shape(RowBatch, "a", "a"), None, ["'a'", "more than one column"]),
        (shape(RowBatch, "a", "a"), ["a"], ["'a'", "more than one column"]),
        (shape(PromptBatch, "prompt"), None, ["'prompt'", "already has a column"]),
        (shape(OutcomeBatch, "output"), None, ["'output'", "already has a column"]),
        (
            shape(OutcomeBatch, "label", output={"properties": {"label": {}}}),
            None,
            ["'label'", "already has a column"],
        ),
        (
            shape(OutcomeBatch, "a", output={"properties": {"error": {}}}),
            None,
            ["'error'", "rename the property"],
        ),
    ],
)
def test_columns_that_collide_are_refused(
    described: Shape, columns: list[str] | None, parts: list[str]
) -> None:
    """Before anything is read; the message says what to do."""
    with pytest.raises(ConfigurationError) as caught:
        described.layout(columns)
    for part in parts:
        assert part in str(caught.value)


def test_a_column_that_collides_may_be_left_out() -> None:
    """Choosing the columns to keep is the way out."""
    kept = shape(OutcomeBatch, "output", "id").layout(["id"])
    assert kept.schema.names == ["id", "output", "error"]


def test_rows_as_rows_are_what_they_were() -> None:
    """Nothing is rebuilt, and columns that share a name do no harm."""
    schema, rows = shape(RowBatch, "a", "a").as_rows()
    assert schema.names == ["a", "a"]
    assert list(rows(ROWS)) == [ROWS]


def test_prompts_as_rows_keep_their_place() -> None:
    """The prompt is a column like any other."""
    described = Shape(
        kind=PromptBatch, rows=RECORDS.schema, instructions=Instructions()
    )
    schema, rows = described.as_rows()
    (batch,) = rows(PROMPTS)
    assert batch.first_index == 7
    assert batch.records.schema == schema
    assert batch.records.column("prompt").to_pylist() == ["X", None, "Z"]


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        (range(3), [(7, ["0", "1", "2"])]),
        (range(1, 3), [(8, ["1", "2"])]),
        ([2, 0, 1], [(7, ["0", "1", "2"])]),
        ([2, 0], [(7, ["0"]), (9, ["2"])]),
        ([1], [(8, ["1"])]),
        ([], []),
        (range(0), []),
    ],
)
def test_answers_as_rows_keep_their_index(
    offsets: Sequence[int], expected: list[tuple[int, list[str]]]
) -> None:
    """Whatever order they came in, a row is never taken for another."""
    batch = OutcomeBatch(
        prompts=PROMPTS,
        offsets=offsets,
        outcomes=[answered(str(offset)) for offset in offsets],
        structured=False,
    )
    described = Shape(
        kind=OutcomeBatch, rows=RECORDS.schema, instructions=Instructions()
    )
    schema, rows = described.as_rows()
    found = rows(batch)
    assert all(part.records.schema == schema for part in found)
    assert [
        (part.first_index, part.records.column("output").to_pylist()) for part in found
    ] == expected
    for part in found:
        for row in part.items():
            assert row.values["id"] == row.index - 6
