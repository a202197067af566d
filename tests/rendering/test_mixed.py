"""Rendering a Function over rows that may be prompts already."""

from typing import Any

import pyarrow as pa
import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.meter import Meter
from sutro_stream.flow.stage import RunContext
from sutro_stream.rendering.function import Render
from sutro_stream.rendering.mixed import RenderMixed
from sutro_stream.rendering.prompting import PromptStep
from sutro_stream.values.function import Function
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import ErrorKind
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch

ASKED = Function.validate(
    {
        "name": "test",
        "inputs": [{"name": "a"}, {"name": "n", "type": "integer"}],
        "prompt_template": "{{ a }}: {{ n }}",
    }
)
STAGE = RenderMixed(function=ASKED, rendered_column="as is")
TEXT = pa.string()


def bound(stage: Render | RenderMixed, names: tuple[str, ...]) -> PromptStep:
    """The stage over text columns."""
    shape = Shape(kind=RowBatch, rows=pa.schema([(name, TEXT) for name in names]))
    return stage.bind(shape, RunContext(meter=Meter()))


def rendered(**columns: list[Any]) -> PromptBatch:
    """The prompts of a few rows; `as_is` stands for the column of prompts."""
    named = {name.replace("_", " "): cells for name, cells in columns.items()}
    arrays = [pa.array(cells, TEXT) for cells in named.values()]
    records = pa.record_batch(arrays, names=list(named))
    step = bound(STAGE, tuple(named))
    return step.prompts(RowBatch(records=records, first_index=0))


def test_rows_that_are_prompts_stay_as_they_are() -> None:
    """Beside rows that are rendered, each in its place; "" is a prompt."""
    batch = rendered(
        a=["x", None, "y", None],
        n=["1", None, "2", None],
        as_is=[None, "{{ a }}", None, ""],
    )
    assert batch.texts.to_pylist() == ["x: 1", "{{ a }}", "y: 2", ""]
    assert not batch.refused


def test_only_rendered_rows_are_refused() -> None:
    """A prompt needs none of the inputs, and none of their types."""
    batch = rendered(
        a=[None, None, "z"], n=["1", "two", "two"], as_is=[None, "p", None]
    )
    assert batch.texts.to_pylist() == [None, "p", None]
    assert {at: error.kind for at, error in batch.refused.items()} == {
        0: ErrorKind.MISSING_VALUE,
        2: ErrorKind.WRONG_TYPE,
    }


def test_the_column_is_asked_for() -> None:
    """With the inputs, and with what later stages want."""
    wanted = frozenset({"a", "n", "as is", "id"})
    assert STAGE.columns_needed(frozenset({"id"})) == wanted
    assert STAGE.columns_needed(None) is None


def test_the_column_has_to_be_there() -> None:
    """Found before a row is read."""
    with pytest.raises(ConfigurationError, match="'as is'"):
        bound(STAGE, ("a", "n"))


def test_an_input_of_the_columns_name_is_refused() -> None:
    """Its values would be sent as prompts."""
    with pytest.raises(ConfigurationError, match="'a' is reserved"):
        RenderMixed(function=ASKED, rendered_column="a")


def test_the_work_is_that_of_the_function_and_its_column() -> None:
    """Answers are kept for the same Function only."""
    plain = bound(Render(function=ASKED), ("a", "n")).identity
    mixed = bound(STAGE, ("a", "n", "as is")).identity
    assert mixed == {**plain, "rendered prompts": "as is"}
