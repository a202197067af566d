"""Conversations from a column."""

from typing import Any

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.meter import Meter
from sutro_stream.flow.stage import RunContext
from sutro_stream.rendering.messages import Messages
from sutro_stream.values.instructions import PromptForm
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import ErrorKind
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch

USER = {"role": "user", "content": "Hi"}


def made(values: Any) -> PromptBatch:
    """The prompts of a column of these values."""
    column = values if isinstance(values, pa.Array) else pa.array(values)
    records = pa.RecordBatch.from_arrays([column], names=["talk"])
    shape = Shape(kind=RowBatch, rows=records.schema)
    step = Messages(column="talk").bind(shape, RunContext(meter=Meter()))
    assert step.shape.instructions is not None
    assert step.shape.instructions.form is PromptForm.MESSAGES
    return step.prompts(RowBatch(records=records, first_index=0))


def read(batch: PromptBatch) -> list[Any]:
    """The texts as what they say."""
    return [
        None if text is None else orjson.loads(text) for text in batch.texts.to_pylist()
    ]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
TALKS = st.lists(
    st.lists(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant"]), "content": TEXTS}
        ),
        min_size=1,
        max_size=4,
    ),
    min_size=1,
    max_size=6,
)


@given(TALKS)
def test_lists_of_structs_say_in_json_what_they_said(talks: list[Any]) -> None:
    """Any text, through columns; a slice of a longer column too."""
    column = pa.array(talks)
    batch = made(column)
    assert read(batch) == talks
    assert not batch.refused
    assert read(made(column.slice(1))) == talks[1:]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.struct([("content", pa.string()), ("role", pa.string())])),
        pa.large_list(pa.struct([("role", pa.string()), ("content", pa.string())])),
    ],
)
def test_any_kind_of_list_will_do(kind: pa.DataType) -> None:
    """Fields in any order."""
    assert read(made(pa.array([[USER], [USER, USER]], kind))) == [[USER], [USER, USER]]


def test_json_text_is_sent_as_it_is() -> None:
    """Spaces around it aside; numbers keep their digits, names their order."""
    text = '[{"content":"a","role":"user","weight":1.10}, {"role":"user","content":[]}]'
    batch = made([f"\n {text} ", '[{"role":"assistant","content":null}]'])
    assert batch.texts.to_pylist()[0] == text
    assert not batch.refused


def test_what_a_message_has_besides_is_kept_without_its_nulls() -> None:
    """Arrow gives each message all fields that any of them has."""
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    talk = [
        USER,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "7"},
    ]
    assert read(made([talk])) == [talk]


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (None, ErrorKind.MISSING_VALUE, "has no messages"),
        ("", ErrorKind.MISSING_VALUE, "has no messages"),
        ("[]", ErrorKind.WRONG_TYPE, "a list of no messages"),
        ("Hello", ErrorKind.WRONG_TYPE, "is not a list of messages"),
        ('{"role":"user"}', ErrorKind.WRONG_TYPE, "is not a list of messages"),
        ('[{"content":"x"}]', ErrorKind.WRONG_TYPE, "is not a list of messages"),
        ('[{"role":"user","content":7}]', ErrorKind.WRONG_TYPE, "is not a list"),
        (
            '[{"role":"human","content":"x"}]',
            ErrorKind.WRONG_TYPE,
            "whose role is none",
        ),
        ('[{"role":"user","content":"x"}', ErrorKind.WRONG_TYPE, "is not a list"),
        ("[" * 5000, ErrorKind.WRONG_TYPE, "is not a list"),
    ],
)
def test_a_row_with_something_else_is_refused_in_place(
    value: str | None, kind: ErrorKind, words: str
) -> None:
    """Named by its column; the others go on."""
    batch = made(pa.array([value, orjson.dumps([USER]).decode()], pa.string()))
    assert read(batch) == [None, [USER]]
    error = batch.refused[0]
    assert (error.kind, error.field) == (kind, "talk")
    assert error.message.startswith("the column 'talk' ")
    assert words in error.message
    assert "human" not in error.message


@pytest.mark.parametrize("value", [[[USER], None], [[USER], []]])
def test_lists_without_messages_are_refused_too(value: list[Any]) -> None:
    """Null and empty ones."""
    batch = made(value)
    assert read(batch) == [[USER], None]
    assert list(batch.refused) == [1]


def test_a_role_that_nobody_knows_is_refused_in_a_list() -> None:
    """As in text."""
    batch = made([[USER], [{"role": "human", "content": "x"}]])
    assert list(batch.refused) == [1]


def test_a_column_that_is_not_there_is_a_mistake() -> None:
    """Found before anything is read."""
    shape = Shape(kind=RowBatch, rows=pa.schema([("text", pa.string())]))
    with pytest.raises(ConfigurationError, match="no column 'talk'"):
        Messages(column="talk").bind(shape, RunContext(meter=Meter()))
