"""Prompts straight from columns."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.meter import Meter
from sutro_stream.flow.stage import RunContext
from sutro_stream.rendering.columns import Prompts
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import (
    Answer,
    ErrorKind,
    Outcome,
    OutcomeBatch,
    RowError,
)
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch


def made(stage: Prompts, columns: dict[str, Any]) -> PromptBatch:
    """The prompts of a few rows."""
    records = pa.RecordBatch.from_pydict(columns)
    step = stage.bind(
        Shape(kind=RowBatch, rows=records.schema), RunContext(meter=Meter())
    )
    return step.prompts(RowBatch(records=records, first_index=0))


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("b", ["1", "2"]),
        (["a"], ["x", "y"]),
        (["b", "a", "b"], ["1\nx\n1", "2\ny\n2"]),
        (None, ["x", "y"]),
    ],
)
def test_prompts_are_the_values_of_the_chosen_columns(
    column: str | Sequence[str] | None, expected: list[str]
) -> None:
    """One column, several joined, or the first."""
    batch = made(Prompts(column=column), {"a": ["x", "y"], "b": [1, 2]})
    assert batch.texts.to_pylist() == expected
    assert not batch.refused


def test_a_column_called_prompt_is_the_usual_one() -> None:
    """Nothing has to be said where the name says it."""
    batch = made(Prompts(), {"id": ["1"], "prompt": ["Hello"]})
    assert batch.texts.to_pylist() == ["Hello"]


def test_a_row_without_a_value_keeps_its_place() -> None:
    """An empty prompt is legal; a missing part leaves its separator."""
    columns = {"a": ["x", None, None], "b": [float("nan"), 2.0, None]}
    assert made(Prompts(column="a"), columns).texts.to_pylist() == ["x", "", ""]
    joined = made(Prompts(column=["a", "b"], separator=" | "), columns)
    assert joined.texts.to_pylist() == ["x | ", " | 2.0", " | "]
    assert not joined.refused


def test_what_is_not_text_is_refused_in_place() -> None:
    """Bytes that are not UTF-8 cannot be a prompt."""
    batch = made(Prompts(column="a"), {"a": [b"x", b"\xff", None]})
    assert batch.texts.to_pylist() == ["x", None, ""]
    assert {at: error.kind for at, error in batch.refused.items()} == {
        1: ErrorKind.WRONG_TYPE
    }


@pytest.mark.parametrize(
    ("column", "names", "message"),
    [
        ("c", ["a", "b"], "no column 'c' (there are: 'a', 'b')"),
        (["a", "c", "d"], ["a"], "no column 'c', 'd' (there are: 'a')"),
        (None, [], "the input has no columns"),
        ("a", ["a", "a"], "more than one column 'a'"),
    ],
)
def test_a_wrong_column_is_found_before_anything_is_sent(
    column: str | Sequence[str] | None, names: list[str], message: str
) -> None:
    """The error names it, and the columns there are."""
    schema = pa.schema([pa.field(name, pa.string()) for name in names])
    with pytest.raises(ConfigurationError) as caught:
        Prompts(column=column).bind(
            Shape(kind=RowBatch, rows=schema), RunContext(meter=Meter())
        )
    assert message in str(caught.value)


@pytest.mark.parametrize("column", ["", []])
def test_an_empty_choice_is_refused(column: str | list[str]) -> None:
    """No column is not the first column."""
    with pytest.raises(ConfigurationError, match="no column is named"):
        Prompts(column=column)


def test_only_the_chosen_columns_are_read() -> None:
    """Unless the choice depends on what there is."""
    wanted = frozenset({"id"})
    assert Prompts(column="a").columns_needed(wanted) == frozenset({"id", "a"})
    assert Prompts(column=["a", "b"]).columns_needed(wanted) == frozenset(
        {"id", "a", "b"}
    )
    assert Prompts().columns_needed(wanted) is None
    assert Prompts(column="a").columns_needed(None) is None


def test_instructions_reach_the_prompts() -> None:
    """They are what the stage was given."""
    asked = Instructions(system_prompt="Be brief.")
    shape = Shape(kind=RowBatch, rows=pa.schema([pa.field("a", pa.string())]))
    assert Prompts(instructions=asked).bind(
        shape, RunContext(meter=Meter())
    ).shape == Shape(kind=PromptBatch, rows=shape.rows, instructions=asked)


def test_a_row_that_failed_before_is_not_asked_about_again() -> None:
    """Its answer is missing; an empty prompt in its place would cost for nothing."""
    prompts = made(Prompts(column="a"), {"a": ["x", "y", "z"]})
    failure = RowError(kind=ErrorKind.TIMEOUT, message="too slow")
    answers = OutcomeBatch(
        prompts=prompts,
        offsets=range(1, 3),
        outcomes=[Outcome(error=failure), Outcome(answer=Answer(text="Z"))],
        structured=False,
    )
    shape = Shape(kind=OutcomeBatch, rows=prompts.rows.records.schema)
    step = Prompts(column=["output", "a"]).bind(shape, RunContext(meter=Meter()))
    (rows,) = step.rows(answers)
    batch = step.prompts(rows)
    assert batch.first_index == 1
    assert batch.texts.to_pylist() == [None, "Z\nz"]
    assert [(error.kind, error.field) for error in batch.refused.values()] == [
        (ErrorKind.MISSING_VALUE, "output")
    ]


def test_after_an_earlier_call_the_column_must_be_named() -> None:
    """The first column, or the answer: only the user knows."""
    shape = Shape(kind=OutcomeBatch, rows=pa.schema([pa.field("a", pa.string())]))
    with pytest.raises(ConfigurationError, match="name the column"):
        Prompts().bind(shape, RunContext(meter=Meter()))
