"""Rendering a Function over rows."""

from typing import Any

import pyarrow as pa
import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.meter import Meter
from sutro_stream.flow.stage import RunContext
from sutro_stream.rendering.function import Render
from sutro_stream.values.function import Function
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import Answer, ErrorKind, Outcome, OutcomeBatch
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch


def function(template: str | None, *inputs: dict[str, Any], **spec: Any) -> Function:
    """A Function with these inputs."""
    fields = {"name": "test", "inputs": list(inputs), "prompt_template": template}
    return Function.validate(fields | spec)


def rendered(rendering: Function, columns: dict[str, Any]) -> PromptBatch:
    """The prompts of a few rows that stand at index 10 of their stream."""
    records = pa.RecordBatch.from_pydict(columns)
    shape = Shape(kind=RowBatch, rows=records.schema)
    step = Render(function=rendering).bind(shape, RunContext(meter=Meter()))
    batch = step.prompts(RowBatch(records=records, first_index=10))
    assert step.shape.rows == batch.rows.records.schema
    return batch


def refusals(batch: PromptBatch) -> dict[int, tuple[ErrorKind, str | None]]:
    """Kind and field of each refusal, by offset."""
    return {at: (error.kind, error.field) for at, error in batch.refused.items()}


def test_every_place_is_filled_from_its_column() -> None:
    """Text, numbers and repeated fields come where the template has them."""
    asked = function(
        "{{a}}/{{ b }}/{{ a }}!", {"name": "a"}, {"name": "b", "type": "number"}
    )
    batch = rendered(asked, {"a": ["x", "y"], "b": [1.0, 2.5], "c": [0, 0]})
    assert batch.texts.to_pylist() == ["x/1.0/x!", "y/2.5/y!"]
    assert batch.first_index == 10
    assert not batch.refused


def test_a_value_is_never_read_as_a_template() -> None:
    """Filling is a single pass, so that a row cannot reach another field."""
    asked = function("{{ a }}{{ b }}", {"name": "a"}, {"name": "b"})
    batch = rendered(asked, {"a": ["{{ b }}", "{{"], "b": ["secret", "b}}"]})
    assert batch.texts.to_pylist() == ["{{ b }}secret", "{{b}}"]


def test_without_a_template_inputs_are_listed() -> None:
    """The template may be left out: one line for each input, in order."""
    asked = function(None, {"name": "Price (USD)"}, {"name": "b"})
    batch = rendered(asked, {"b": ["x"], "Price (USD)": [3]})
    assert batch.texts.to_pylist() == ["Price (USD): 3\nb: x"]


def test_a_template_may_have_no_place_at_all() -> None:
    """The same prompt for every row, and rows are still checked."""
    asked = function("Say hello.", {"name": "a"})
    batch = rendered(asked, {"a": ["x", None]})
    assert batch.texts.to_pylist() == ["Say hello.", None]


def test_an_empty_template_gives_empty_prompts() -> None:
    """An empty prompt is a legal one."""
    assert rendered(function("", {"name": "a"}), {"a": ["x"]}).texts.to_pylist() == [""]


def test_a_row_without_a_required_value_is_refused_in_place() -> None:
    """Null and NaN are no value, "" is one for text; the others go on."""
    asked = function("{{ a }}-{{ b }}", {"name": "a"}, {"name": "b", "type": "number"})
    columns = {"a": ["x", None, "", "y"], "b": [1.0, 2.0, 3.0, float("nan")]}
    batch = rendered(asked, columns)
    assert batch.texts.to_pylist() == ["x-1.0", None, "-3.0", None]
    assert refusals(batch) == {
        1: (ErrorKind.MISSING_VALUE, "a"),
        3: (ErrorKind.MISSING_VALUE, "b"),
    }


def test_a_row_with_another_type_is_refused_in_place() -> None:
    """The refusal names the field, and not what was in it."""
    asked = function("{{ a }}", {"name": "a", "type": "integer"})
    batch = rendered(asked, {"a": ["1", "private", "", "007"]})
    assert batch.texts.to_pylist() == ["1", None, None, "007"]
    assert refusals(batch) == {
        1: (ErrorKind.WRONG_TYPE, "a"),
        2: (ErrorKind.MISSING_VALUE, "a"),
    }
    assert str(batch.refused[1]) == "wrong_type: the input 'a' is not an integer"


def test_the_first_declared_field_explains_the_refusal() -> None:
    """A row that is wrong twice has one error, the same for any other columns."""
    asked = function("{{ b }}{{ a }}", {"name": "a", "type": "integer"}, {"name": "b"})
    batch = rendered(asked, {"b": [None], "a": ["x"]})
    assert refusals(batch) == {0: (ErrorKind.WRONG_TYPE, "a")}


def test_an_input_that_the_template_does_not_use_is_checked_too() -> None:
    """Declared inputs are the contract, not what the prompt happens to hold."""
    asked = function("{{ a }}", {"name": "a"}, {"name": "b", "type": "integer"})
    batch = rendered(asked, {"a": ["x", "y"], "b": ["1", "one"]})
    assert refusals(batch) == {1: (ErrorKind.WRONG_TYPE, "b")}


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        ({}, ""),
        ({"default": None}, ""),
        ({"default": "none"}, "none"),
        ({"default": 3}, "3"),
        ({"default": True}, "true"),
        ({"default": {"a": [1]}}, '{"a":[1]}'),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_an_optional_input_has_its_default(
    default: dict[str, Any], expected: str, there: bool
) -> None:
    """Where the cell is null as where the column does not exist."""
    optional = {"name": "b", "required": False, **default}
    asked = function("{{ a }}[{{ b }}]", {"name": "a"}, optional)
    columns = {"a": ["x"]} | ({"b": pa.array([None], pa.string())} if there else {})
    assert rendered(asked, columns).texts.to_pylist() == [f"x[{expected}]"]


def test_a_required_input_with_a_default_is_never_missing() -> None:
    """A default is meant to be used, whatever `required` says."""
    asked = function("{{ a }}{{ b }}", {"name": "a"}, {"name": "b", "default": "!"})
    assert rendered(asked, {"a": ["x"]}).texts.to_pylist() == ["x!"]


def test_an_optional_input_of_another_type_is_refused() -> None:
    """Optional says that a value may be missing, not that it may be wrong."""
    optional = {"name": "a", "type": "integer", "required": False, "default": 0}
    batch = rendered(function("{{ a }}", optional), {"a": ["", "x", None, "5"]})
    assert batch.texts.to_pylist() == ["0", None, "0", "5"]
    assert refusals(batch) == {1: (ErrorKind.WRONG_TYPE, "a")}


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (["x", "y"], ["'test'", "no column 'a', 'b'", "'x', 'y'"]),
        (["a"], ["no column 'b'", "'a'"]),
        ([], ["no column 'a', 'b'", "none"]),
        (["a", "b", "b"], ["more than one column 'b'"]),
    ],
)
def test_an_input_without_its_column_is_found_before_anything_is_sent(
    names: list[str], parts: list[str]
) -> None:
    """The error names the inputs that have none, and the columns there are."""
    asked = function("{{ a }}", {"name": "a"}, {"name": "b"})
    schema = pa.schema([pa.field(name, pa.string()) for name in names])
    with pytest.raises(ConfigurationError) as caught:
        Render(function=asked).bind(
            Shape(kind=RowBatch, rows=schema), RunContext(meter=Meter())
        )
    for part in parts:
        assert part in str(caught.value)


def test_optional_inputs_that_all_lack_their_columns_are_a_mistake() -> None:
    """Nobody wants the same prompt for all rows because of a typing error."""
    asked = function("{{ a }}", {"name": "a", "required": False})
    shape = Shape(kind=RowBatch, rows=pa.schema([pa.field("A", pa.string())]))
    with pytest.raises(ConfigurationError, match="no column 'a'"):
        Render(function=asked).bind(shape, RunContext(meter=Meter()))


def test_columns_that_nobody_uses_may_share_a_name() -> None:
    """Two unnamed CSV columns are no reason to stop."""
    text = pa.array(["x"])
    records = pa.RecordBatch.from_arrays([text, text, text], ["", "", "a"])
    shape = Shape(kind=RowBatch, rows=records.schema)
    step = Render(function=function("{{ a }}", {"name": "a"})).bind(
        shape, RunContext(meter=Meter())
    )
    batch = step.prompts(RowBatch(records=records, first_index=0))
    assert batch.texts.to_pylist() == ["x"]


def test_inputs_are_added_to_the_columns_that_are_read() -> None:
    """Only what is needed has to be read; `None` stays all."""
    stage = Render(function=function("{{ a }}", {"name": "a"}, {"name": "b"}))
    assert stage.columns_needed(frozenset({"id"})) == frozenset({"id", "a", "b"})
    assert stage.columns_needed(None) is None


def test_instructions_reach_the_prompts() -> None:
    """System prompt, schema and sampling are the Function's."""
    asked = function("{{ a }}", {"name": "a"}, system_prompt="Be brief.")
    shape = Shape(kind=RowBatch, rows=pa.schema([pa.field("a", pa.string())]))
    bound = Render(function=asked).bind(shape, RunContext(meter=Meter())).shape
    assert bound.kind is PromptBatch
    assert bound.instructions == asked.instructions


def test_a_second_call_reads_the_answers_of_the_first() -> None:
    """Answered rows are rows; one that failed lacks the value and is refused."""
    first = function("{{ a }}", {"name": "a"})
    prompts = rendered(first, {"a": ["x", "y", "z"]})
    answers = OutcomeBatch(
        prompts=prompts,
        offsets=[2, 0, 1],
        outcomes=[
            Outcome(answer=Answer(text="Z")),
            Outcome(answer=Answer(text="X")),
            Outcome(error=prompts.refused.get(1)),
        ],
        structured=False,
    )
    second = function("{{ a }}: {{ output }}", {"name": "a"}, {"name": "output"})
    shape = Shape(kind=OutcomeBatch, rows=prompts.rows.records.schema)
    step = Render(function=second).bind(shape, RunContext(meter=Meter()))
    (rows,) = step.rows(answers)
    batch = step.prompts(rows)
    assert batch.first_index == 10
    assert batch.texts.to_pylist() == ["x: X", None, "z: Z"]
    assert refusals(batch) == {1: (ErrorKind.MISSING_VALUE, "output")}
