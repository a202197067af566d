"""A job's results as rows of its file, the columns of Sutro's API.

`inputs`, the ID column if there is one, `outputs`, and where the model gives them
`cumulative_logprobs` and `confidence_score`. A row that failed has no output, also
where the model wrote something that does not meet the schema: one such text among
the outputs, and the official client unpacks none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
import pyarrow as pa

from sutro_stream.engines.confidence import confidence, cumulative_logprob
from sutro_stream.errors import ConfigurationError
from sutro_stream.formats.cells import is_nested, json_column, json_values
from sutro_stream.values.catalogue import ModelKind
from sutro_stream.values.layout import Shape
from sutro_stream.values.outcomes import Answer, ErrorKind, Outcome
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.schema import OutputSchema

INPUTS = "inputs"
OUTPUTS = "outputs"
LOGPROBS = "cumulative_logprobs"
CONFIDENCE = "confidence_score"

_Measure: TypeAlias = Callable[[Answer], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultColumns:
    """Which columns a job's results have.

    Attributes:
        id_column: Input column that is carried along, `None` for none.
        kind: Chat for text, embedding for vectors.
        reasoning: Whether outputs hold the thinking beside the answer.
        logprobs: Whether the model gives log-probabilities.
        confidence_field: Output field whose confidence is told, `None` for none.
    """

    id_column: str | None = None
    kind: ModelKind = ModelKind.CHAT
    reasoning: bool = False
    logprobs: bool = False
    confidence_field: str | None = None


class JobResults:
    """The form of a job's results; see `pipeline.form.ResultForm`."""

    def __init__(self, shape: Shape, columns: ResultColumns) -> None:
        """Of the results of one run.

        Args:
            shape: What the run's last stage sends.
            columns: What is wanted.

        Raises:
            ConfigurationError: The input has no such ID column, or several, or one
                that cannot be written down.
        """
        instructions = shape.instructions
        schema = None if instructions is None else instructions.schema
        self._structured = schema is not None
        self._columns = columns
        self._measures = _measures(columns, schema)
        kept = [pa.field(INPUTS, pa.large_string())]
        if columns.id_column is not None:
            kept.append(_id_field(shape.rows, columns.id_column))
        self._kept = pa.schema(kept)
        self._schema = pa.schema(
            [
                *kept,
                pa.field(OUTPUTS, _output_type(columns.kind)),
                *(pa.field(name, pa.float64()) for name in self._measures),
            ]
        )

    @property
    def schema(self) -> pa.Schema:
        """See `RowFormat`."""
        return self._schema

    def kept(self, prompts: PromptBatch) -> pa.RecordBatch:
        """See `RowFormat`: the prompts, and the ID column."""
        arrays = [prompts.texts.cast(pa.large_string())]
        if self._columns.id_column is not None:
            arrays.append(_id_cells(prompts.rows.records[self._columns.id_column]))
        return pa.RecordBatch.from_arrays(arrays, schema=self._kept)

    def records(
        self, kept: pa.RecordBatch, outcomes: Sequence[Outcome]
    ) -> pa.RecordBatch:
        """See `RowFormat`."""
        arrays: list[Any] = list(kept.columns)
        outputs = [self._output(outcome) for outcome in outcomes]
        arrays.append(pa.array(outputs, self._schema.field(OUTPUTS).type))
        for measure in self._measures.values():
            cells = [
                None if o.error is not None or o.answer is None else measure(o.answer)
                for o in outcomes
            ]
            arrays.append(pa.array(cells, pa.float64()))
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)

    def _output(self, outcome: Outcome) -> Any:
        answer, error = outcome.answer, outcome.error
        if answer is None:
            return None
        if error is not None:
            # Thinking that used up all tokens is worth showing; there is no answer.
            is_thought = self._columns.reasoning and answer.reasoning is not None
            if is_thought and not answer.text and error.kind is ErrorKind.TRUNCATED:
                return _envelope(answer.reasoning, None)
            return None
        if self._columns.kind is ModelKind.EMBEDDING:
            return orjson.loads(answer.text)
        if not self._columns.reasoning:
            return answer.text
        # Text that met a schema is JSON, and goes in as it was written.
        is_json = self._structured
        content = orjson.Fragment(answer.text) if is_json else answer.text
        return _envelope(answer.reasoning, content)


def _measures(
    columns: ResultColumns, schema: OutputSchema | None
) -> dict[str, _Measure]:
    """What is told of an answer in numbers, by column."""
    measures: dict[str, _Measure] = {}
    if columns.kind is ModelKind.EMBEDDING:
        return measures
    if columns.logprobs:
        measures[LOGPROBS] = cumulative_logprob
    field = columns.confidence_field
    if field is not None:
        measures[CONFIDENCE] = lambda answer: confidence(answer, field, schema)
    return measures


def _output_type(kind: ModelKind) -> pa.DataType:
    if kind is ModelKind.EMBEDDING:
        return pa.list_(pa.float64())
    return pa.large_string()


def _envelope(reasoning: str | None, content: Any) -> str:
    fields = {"reasoning_content": reasoning, "content": content}
    return orjson.dumps(fields).decode()


def _id_field(rows: pa.Schema, name: str) -> pa.Field:
    """The ID column's field in the results."""
    count = rows.names.count(name)
    if count != 1:
        there = ", ".join(rows.names)
        reason = "more than one" if count else "no"
        message = f"id_column_name: the input has {reason} column {name!r}"
        raise ConfigurationError(f"{message} (there are: {there})")
    kind = rows.field(name).type
    try:
        return pa.field(name, _id_cells(pa.nulls(0, kind)).type)
    except pa.ArrowException as error:
        message = f"id_column_name: column {name!r} has the type {kind}"
        raise ConfigurationError(f"{message}, which no result can hold") from error


def _id_cells(column: pa.Array) -> pa.Array:
    """Numbers, truth values and text as they are, everything else as text."""
    cells = json_column(column)
    kind = cells.type
    if is_nested(kind):
        texts = [
            None if value is None else orjson.dumps(value).decode()
            for value in json_values(cells)
        ]
        return pa.array(texts, pa.large_string())
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return cells
    if pa.types.is_floating(kind):
        return cells
    return cells.cast(pa.large_string())
