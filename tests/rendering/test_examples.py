"""Examples that a Function shows before each row."""

from typing import Any

import pyarrow as pa
import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.meter import Meter
from sutro_stream.flow.stage import RunContext
from sutro_stream.rendering.function import Render
from sutro_stream.rendering.prompting import PromptStep
from sutro_stream.values.function import Function
from sutro_stream.values.instructions import Example
from sutro_stream.values.layout import Shape
from sutro_stream.values.rows import RowBatch

FUNCTION: dict[str, Any] = {
    "name": "mood",
    "inputs": [
        {"name": "text"},
        {"name": "stars", "type": "integer", "required": False, "default": 3},
    ],
    "prompt_template": "{{ text }} ({{ stars }})",
    "output_schema": {
        "type": "object",
        "properties": {"mood": {"enum": ["good", "bad"]}},
        "required": ["mood"],
    },
}
GOOD = {"inputs": {"text": "Great", "stars": 5}, "output": {"mood": "good"}}
BAD = {"inputs": {"text": "Für nichts"}, "output": '{"mood": "bad"}'}


def bound(*examples: dict[str, Any]) -> PromptStep:
    """The Function with these examples over a stream of texts."""
    function = Function.validate(FUNCTION | {"examples": list(examples)})
    shape = Shape(kind=RowBatch, rows=pa.schema([("text", pa.string())]))
    return Render(function=function).bind(shape, RunContext(meter=Meter()))


def test_examples_are_rendered_as_rows_are() -> None:
    """Defaults and all; an answer may be written as text or as JSON."""
    step = bound(GOOD, BAD)
    assert step.shape.instructions is not None
    assert step.shape.instructions.examples == (
        Example(prompt="Great (5)", answer='{"mood": "good"}'),
        Example(prompt="Für nichts (3)", answer='{"mood": "bad"}'),
    )


def test_answers_with_other_examples_are_other_work() -> None:
    """A Function without any is what it was before there were examples."""
    assert bound(GOOD).identity != bound(BAD).identity
    assert "examples" not in bound().identity


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"output": {"mood": "fine"}}, "examples[0]: its output is not by the schema"),
        ({"inputs": {"texts": "x"}}, "examples[0]: no such input: 'texts'"),
        ({"inputs": {}}, "examples[0].inputs"),
        ({"inputs": {"stars": 1}}, "examples[0]: the required input 'text'"),
        ({"inputs": {"text": "x", "stars": "many"}}, "is not an integer"),
    ],
)
def test_a_mistake_is_found_before_anything_is_sent(
    change: dict[str, Any], words: str
) -> None:
    """Which example, and what is wrong with it."""
    with pytest.raises(ConfigurationError) as raised:
        bound(GOOD | change)
    assert words in str(raised.value)
