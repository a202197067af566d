"""Outcomes as rows of a job's results."""

from __future__ import annotations

import datetime as dt
import decimal
import math
from typing import Any

import orjson
import pyarrow as pa
import pytest

from sutro_stream.errors import ConfigurationError
from sutro_stream.jobs.result_form import JobResults, ResultColumns
from sutro_stream.pipeline.row_format import RowFormat
from sutro_stream.values.catalogue import ModelKind
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import (
    Answer,
    ErrorKind,
    Outcome,
    OutcomeBatch,
    RowError,
    TokenLogprob,
)
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch
from sutro_stream.values.schema import OutputSchema

LABEL = OutputSchema.parse(
    {
        "type": "object",
        "properties": {"label": {"type": "string"}},
        "required": ["label"],
    }
)
TRUNCATED = RowError(kind=ErrorKind.TRUNCATED, message="cut off")
INVALID = RowError(kind=ErrorKind.INVALID_OUTPUT, message="no JSON")
REFUSED = RowError(kind=ErrorKind.MISSING_VALUE, message="null", field="query")


def form_of(
    columns: ResultColumns,
    *,
    rows: pa.Schema | None = None,
    schema: OutputSchema | None = None,
) -> JobResults:
    """The form of a job over some input columns."""
    rows = pa.schema([("id", pa.int64())]) if rows is None else rows
    instructions = Instructions(schema=schema)
    shape = Shape(kind=OutcomeBatch, rows=rows, instructions=instructions)
    return JobResults(shape, columns)


def table(
    form: JobResults, outcomes: list[Outcome], ids: pa.Array | None = None
) -> pa.RecordBatch:
    """The file's rows for some outcomes, through what is kept of the input."""
    texts = pa.array([f"prompt {at}" for at in range(len(outcomes))])
    ids = pa.array(range(len(outcomes))) if ids is None else ids
    rows = RowBatch(records=pa.record_batch([ids], names=["id"]), first_index=0)
    kept = form.kept(PromptBatch(rows=rows, texts=texts))
    records = form.records(kept, outcomes)
    assert records.schema == form.schema
    return records


def answered(text: str, **more: Any) -> Outcome:
    """A row that went well."""
    return Outcome(answer=Answer(text=text, **more), attempts=1)


def test_it_is_a_result_form() -> None:
    """A run takes it as it is."""
    form: RowFormat = form_of(ResultColumns())
    assert form.schema.names == ["inputs", "outputs"]


def test_an_answer_is_its_text() -> None:
    """Beside the prompt that was sent."""
    records = table(form_of(ResultColumns()), [answered("Paris."), answered("")])
    assert records.to_pydict() == {
        "inputs": ["prompt 0", "prompt 1"],
        "outputs": ["Paris.", ""],
    }


def test_a_structured_answer_stays_as_it_was_written() -> None:
    """Spaces and all: it is no other text than the model's."""
    text = '{ "label": "a" }\n'
    outcome = Outcome(answer=Answer(text=text), value={"label": "a"}, attempts=1)
    records = table(form_of(ResultColumns(), schema=LABEL), [outcome])
    assert records["outputs"].to_pylist() == [text]


def test_a_failed_row_has_no_output() -> None:
    """Neither without an answer nor with one that does not meet the schema."""
    failed = [
        Outcome(error=REFUSED),
        Outcome(answer=Answer(text="sorry"), error=INVALID, attempts=1),
    ]
    records = table(form_of(ResultColumns(), schema=LABEL), failed)
    assert records["outputs"].to_pylist() == [None, None]


def test_a_refused_row_has_no_prompt() -> None:
    """And keeps its place."""
    form = form_of(ResultColumns())
    rows = RowBatch(records=pa.record_batch({"id": [1, 2]}), first_index=0)
    prompts = PromptBatch(rows=rows, texts=pa.array(["a", None]), refused={1: REFUSED})
    assert form.kept(prompts)["inputs"].to_pylist() == ["a", None]


def test_the_id_column_stands_behind_the_inputs() -> None:
    """Under its own name."""
    records = table(form_of(ResultColumns(id_column="id")), [answered("a")])
    assert records.schema.names == ["inputs", "id", "outputs"]
    assert records["id"].to_pylist() == [0]


@pytest.mark.parametrize(
    ("ids", "cells"),
    [
        (pa.array([7, None], pa.int8()), [7, None]),
        (pa.array([2**64 - 1, None], pa.uint64()), [2**64 - 1, None]),
        (pa.array([1.5, None]), [1.5, None]),
        (pa.array([True, None]), [True, None]),
        (pa.array(["a", None]), ["a", None]),
        (pa.array(["a", None], pa.string_view()), ["a", None]),
        (pa.array(["a", None]).dictionary_encode(), ["a", None]),
        (pa.nulls(2), [None, None]),
        (pa.array([decimal.Decimal("1.20"), None]), ["1.20", None]),
        (pa.array([dt.date(2024, 1, 2), None]), ["2024-01-02", None]),
        (
            pa.array([dt.datetime(2024, 1, 2, tzinfo=dt.UTC), None]),
            ["2024-01-02T00:00:00.000000Z", None],
        ),
        (pa.array([[1, 2], None]), ["[1,2]", None]),
        (pa.array([{"a": 1}, None]), ['{"a":1}', None]),
    ],
)
def test_ids_are_simple_values(ids: pa.Array, cells: list[Any]) -> None:
    """Numbers, truth values and text stay; everything else becomes text."""
    form = form_of(ResultColumns(id_column="id"), rows=pa.schema([("id", ids.type)]))
    records = table(form, [answered("a"), answered("b")], ids)
    assert records["id"].to_pylist() == cells


def test_an_id_column_that_is_not_there_is_named() -> None:
    """With those that are."""
    rows = pa.schema([("review", pa.string()), ("stars", pa.int64())])
    with pytest.raises(ConfigurationError) as caught:
        form_of(ResultColumns(id_column="key"), rows=rows)
    assert str(caught.value) == (
        "id_column_name: the input has no column 'key' (there are: review, stars)"
    )


def test_an_id_column_that_is_there_twice_is_refused() -> None:
    """Nobody could tell which one is meant."""
    rows = pa.schema([("id", pa.int64()), ("id", pa.string())])
    with pytest.raises(ConfigurationError, match="more than one column 'id'"):
        form_of(ResultColumns(id_column="id"), rows=rows)


def test_an_id_column_that_cannot_be_written_is_refused() -> None:
    """Before anything is asked."""
    rows = pa.schema([("id", pa.month_day_nano_interval())])
    with pytest.raises(ConfigurationError, match="'id' has the type month_day_nano"):
        form_of(ResultColumns(id_column="id"), rows=rows)


def test_thinking_comes_with_the_answer() -> None:
    """As JSON of both, with the answer as text."""
    form = form_of(ResultColumns(reasoning=True))
    outcomes = [answered("Paris.", reasoning='the "capital"'), answered("Rome.")]
    assert [
        orjson.loads(text) for text in table(form, outcomes)["outputs"].to_pylist()
    ] == [
        {"reasoning_content": 'the "capital"', "content": "Paris."},
        {"reasoning_content": None, "content": "Rome."},
    ]


def test_thinking_before_a_structured_answer_comes_with_an_object() -> None:
    """Which is the model's own text: its numbers are not written anew."""
    form = form_of(ResultColumns(reasoning=True), schema=LABEL)
    text = '{"label": "a", "score": 1.50}'
    answer = Answer(text=text, reasoning="hm")
    outcome = Outcome(answer=answer, value=orjson.loads(text), attempts=1)
    (output,) = table(form, [outcome])["outputs"].to_pylist()
    assert output == '{"reasoning_content":"hm","content":' + text + "}"


def test_thinking_without_an_answer_is_kept() -> None:
    """It has used up all tokens; the content is null."""
    form = form_of(ResultColumns(reasoning=True), schema=LABEL)
    answer = Answer(text="", reasoning="hm", finish_reason="length")
    outcome = Outcome(answer=answer, error=TRUNCATED, attempts=1)
    (output,) = table(form, [outcome])["outputs"].to_pylist()
    assert orjson.loads(output) == {"reasoning_content": "hm", "content": None}


def test_thinking_before_half_an_answer_is_a_failed_row() -> None:
    """As without thinking."""
    form = form_of(ResultColumns(reasoning=True), schema=LABEL)
    answer = Answer(text='{"la', reasoning="hm", finish_reason="length")
    outcome = Outcome(answer=answer, error=TRUNCATED, attempts=1)
    assert table(form, [outcome])["outputs"].to_pylist() == [None]


def test_vectors_are_lists_of_numbers() -> None:
    """Whole numbers among them too; a failed row has none."""
    form = form_of(ResultColumns(kind=ModelKind.EMBEDDING))
    outcomes = [Outcome(error=INVALID), answered("[1,0.5,-1e-3]"), answered("[0,0,0]")]
    records = table(form, outcomes)
    assert records["outputs"].to_pylist() == [None, [1.0, 0.5, -0.001], [0.0, 0.0, 0.0]]
    assert records.schema.field("outputs").type == pa.list_(pa.float64())


def test_vectors_have_no_logprobs() -> None:
    """Whatever was said of the model."""
    columns = ResultColumns(
        kind=ModelKind.EMBEDDING, logprobs=True, confidence_field="label"
    )
    assert form_of(columns).schema.names == ["inputs", "outputs"]


def test_logprobs_are_summed_up() -> None:
    """Null for a failed row, and where the engine gave none."""
    logprobs = (
        TokenLogprob(token="Par", logprob=-0.25),
        TokenLogprob(token="is", logprob=-0.5),
    )
    failed = Outcome(answer=Answer(text="", logprobs=logprobs), error=TRUNCATED)
    outcomes = [answered("Paris", logprobs=logprobs), answered("Rome"), failed]
    records = table(form_of(ResultColumns(logprobs=True)), outcomes)
    assert records["cumulative_logprobs"].to_pylist() == [-0.75, None, None]


def test_confidence_is_told_of_one_field() -> None:
    """Null where it cannot be told."""
    logprobs = (
        TokenLogprob(token='{"label": "', logprob=-3.0),
        TokenLogprob(token="yes", logprob=math.log(0.5)),
        TokenLogprob(token='"}', logprob=0.0),
    )
    text = '{"label": "yes"}'
    sure = Answer(text=text, logprobs=logprobs)
    outcomes = [
        Outcome(answer=sure, value={"label": "yes"}, attempts=1),
        Outcome(answer=Answer(text=text), value={"label": "yes"}, attempts=1),
    ]
    form = form_of(ResultColumns(confidence_field="label"), schema=LABEL)
    first, second = table(form, outcomes)["confidence_score"].to_pylist()
    assert first == pytest.approx(0.5)
    assert second is None


def test_all_columns_have_their_order() -> None:
    """Inputs, ID, outputs, and what is told of them."""
    columns = ResultColumns(id_column="id", logprobs=True, confidence_field="label")
    assert form_of(columns).schema.names == [
        "inputs",
        "id",
        "outputs",
        "cumulative_logprobs",
        "confidence_score",
    ]
