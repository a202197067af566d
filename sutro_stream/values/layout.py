"""What flows between stages, and how each kind of it looks as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa

from sutro_stream.errors import ConfigurationError
from sutro_stream.values.details import DetailColumn, detail_columns
from sutro_stream.values.instructions import Instructions
from sutro_stream.values.outcomes import AnsweredTexts, Outcome, OutcomeBatch, RowError
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch
from sutro_stream.values.schema import OutputField

_VECTOR = pa.list_(pa.float32())

Batch: TypeAlias = RowBatch | PromptBatch | OutcomeBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the batches of one stream are, known before the first of them.

    Attributes:
        kind: The type of every batch.
        rows: Schema of the input columns the batches carry.
        instructions: What the prompts share; `None` before rendering.
        vectors: Whether answers are vectors and not texts.
        ambiguous: Names that more than one input column had, before they were made
            different; who asks for one may mean another.
    """

    kind: type[Batch]
    rows: pa.Schema
    instructions: Instructions | None = None
    vectors: bool = False
    ambiguous: frozenset[str] = frozenset()

    def layout(
        self, columns: Sequence[str] | None = None, details: Sequence[str] = ()
    ) -> Layout:
        """The table form of this stream.

        Args:
            columns: Input columns to keep, in this order; `None` keeps all.
            details: What else is told of each answer, behind all other columns; see
                `values.details`.

        Raises:
            ConfigurationError: A column does not exist, or is named like one that
                the stream itself adds.
        """
        there = Counter(self.rows.names)
        kept = list(there if columns is None else columns)
        _refuse(
            [name for name in kept if name not in there],
            f"no such input column (there are: {', '.join(self.rows.names)})",
        )
        _refuse(
            [name for name in set(kept) if there[name] > 1],
            "the input has more than one column of this name; choose others to keep",
        )
        _refuse(
            [name for name, count in Counter(kept).items() if count > 1],
            "column given twice",
        )
        if details and self.kind is not OutcomeBatch:
            raise ConfigurationError("details are of answers, and there are none here")
        added, fields = self._added()
        told = detail_columns(details)
        _refuse(
            [column.field.name for column in told if column.field.name in added],
            "the output schema has a property named like a detail; rename the "
            "property, or leave out the detail",
        )
        added |= {column.field.name: column.field for column in told}
        _refuse(
            [name for name in kept if name in added],
            "the input already has a column that the result adds; "
            "rename it, or choose the input columns to keep without it",
        )
        schema = pa.schema([*(self.rows.field(name) for name in kept), *added.values()])
        return Layout(
            kept=tuple(kept),
            fields=fields,
            details=told,
            schema=schema,
            vectors=self.vectors,
        )

    def as_rows(self) -> tuple[pa.Schema, Callable[[Any], Sequence[RowBatch]]]:
        """This stream as plain rows, for a stage that takes rows.

        Returns:
            The columns, those that the stream adds among them, and the way from a
            batch to its rows, in which every row keeps its index.

        Raises:
            ConfigurationError: An input column is named like an added one.
        """
        if self.kind is RowBatch:
            return self.rows, lambda batch: [batch]
        layout = self.layout()
        return layout.schema, layout.row_batches

    def _added(self) -> tuple[dict[str, pa.Field], tuple[OutputField, ...]]:
        if self.kind is RowBatch:
            return {}, ()
        if self.kind is PromptBatch:
            return {
                "prompt": pa.field("prompt", pa.large_string()),
                "error": pa.field("error", pa.string()),
            }, ()
        schema = self.instructions.schema if self.instructions else None
        fields = schema.fields if schema else ()
        added = _string_fields("output", "error")
        if self.vectors:
            added["output"] = pa.field("output", _VECTOR)
        _refuse(
            [column.name for column in fields if column.name in added],
            "the output schema has a property named like a column of the result; "
            "rename the property",
        )
        for column in fields:
            added[column.name] = pa.field(column.name, column.type)
        return added, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The table form of a stream: kept input columns, then what the stream adds.

    Attributes:
        kept: Names of the input columns.
        fields: Typed columns made from structured answers.
        vectors: Whether answers are vectors and not texts.
        details: Columns of what else is told of each answer.
        schema: Arrow schema of the whole table.
    """

    kept: tuple[str, ...]
    fields: tuple[OutputField, ...]
    details: tuple[DetailColumn, ...] = ()
    schema: pa.Schema
    vectors: bool = False

    def records(self, batch: Batch) -> pa.RecordBatch:
        """One batch as a table of this layout."""
        if isinstance(batch, RowBatch):
            return self._assemble(batch.records, None, [])
        if isinstance(batch, PromptBatch):
            reasons = [_reason(batch.refused.get(at)) for at in range(len(batch))]
            added = [
                batch.texts.cast(pa.large_string()),
                pa.array(reasons, pa.string()),
            ]
            return self._assemble(batch.rows.records, None, added)
        return self._assemble(
            batch.prompts.rows.records, batch.offsets, self._answers(batch.outcomes)
        )

    def answered(
        self, rows: pa.RecordBatch, outcomes: Sequence[Outcome]
    ) -> pa.RecordBatch:
        """Input rows and their outcomes, one for each, as a table of this layout."""
        return self._assemble(rows, None, self._answers(outcomes))

    def row_batches(self, batch: Batch) -> Sequence[RowBatch]:
        """The records of a batch, cut where its rows do not follow one another.

        Rows of an outcome batch come in ascending order of their index.
        """
        if not isinstance(batch, OutcomeBatch):
            first = batch.first_index
            return [RowBatch(records=self.records(batch), first_index=first)]
        first = batch.prompts.first_index
        return [
            RowBatch(records=self.records(run), first_index=first + run.offsets[0])
            for run in _runs(batch)
        ]

    def _answers(self, outcomes: Sequence[Outcome]) -> list[pa.Array]:
        is_plain = not (self.fields or self.details or self.vectors)
        if isinstance(outcomes, AnsweredTexts) and is_plain:
            return [
                outcomes.texts.cast(pa.string()),
                pa.nulls(len(outcomes), pa.string()),
            ]
        columns = [
            self._outputs(outcomes),
            pa.array([_reason(o.error) for o in outcomes], pa.string()),
        ]
        values = [o.value if isinstance(o.value, dict) else {} for o in outcomes]
        for column in self.fields:
            name, encode = column.name, column.encode
            cells = [
                None if (cell := value.get(name)) is None else encode(cell)
                for value in values
            ]
            columns.append(pa.array(cells, column.type))
        for detail in self.details:
            cells = [detail.read(outcome) for outcome in outcomes]
            columns.append(pa.array(cells, detail.field.type))
        return columns

    def _outputs(self, outcomes: Sequence[Outcome]) -> pa.Array:
        if self.vectors:
            return pa.array([outcome.value for outcome in outcomes], _VECTOR)
        texts = [None if o.answer is None else o.answer.text for o in outcomes]
        return pa.array(texts, pa.string())

    def _assemble(
        self,
        rows: pa.RecordBatch,
        offsets: Sequence[int] | None,
        added: Iterable[pa.Array],
    ) -> pa.RecordBatch:
        arrays: list[Any] = [_select(rows.column(name), offsets) for name in self.kept]
        arrays += added
        if not arrays:
            return pa.RecordBatch.from_struct_array(
                pa.array([{}] * rows.num_rows, pa.struct([]))
            )
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _runs(batch: OutcomeBatch) -> list[OutcomeBatch]:
    """The batch in parts of consecutive rows."""
    offsets = batch.offsets
    if not offsets or (isinstance(offsets, range) and offsets.step == 1):
        return [batch] if offsets else []
    outcomes = dict(zip(offsets, batch.outcomes, strict=True))
    ordered = sorted(outcomes)
    runs: list[range] = []
    for offset in ordered:
        if runs and runs[-1].stop == offset:
            runs[-1] = range(runs[-1].start, offset + 1)
        else:
            runs.append(range(offset, offset + 1))
    return [
        OutcomeBatch(
            prompts=batch.prompts,
            offsets=run,
            outcomes=[outcomes[offset] for offset in run],
            structured=batch.structured,
        )
        for run in runs
    ]


def _select(column: pa.Array, offsets: Sequence[int] | None) -> pa.Array:
    if offsets is None:
        return column
    if isinstance(offsets, range) and offsets.step == 1:
        return column.slice(offsets.start, len(offsets))
    return column.take(pa.array(offsets, pa.int64()))


def _string_fields(*names: str) -> dict[str, pa.Field]:
    return {name: pa.field(name, pa.string()) for name in names}


def _reason(error: RowError | None) -> str | None:
    return None if error is None else str(error)


def _refuse(names: Sequence[str], reason: str) -> None:
    if names:
        listed = ", ".join(repr(name) for name in sorted(names))
        raise ConfigurationError(f"{listed}: {reason}")
