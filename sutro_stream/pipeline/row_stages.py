"""Stages over rows: the first of them only, and a user's own over Arrow batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import pyarrow as pa
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from sutro_stream.errors import ConfigurationError, StageError
from sutro_stream.flow.stage import Columns, RunContext
from sutro_stream.values.layout import Layout, Shape
from sutro_stream.values.rows import Refused, Row, RowBatch

BatchFunction: TypeAlias = Callable[[pa.RecordBatch], Awaitable[pa.RecordBatch]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Let the first `rows` input rows pass, then stop reading.

    Attributes:
        rows: At least 1.
    """

    rows: int

    def __post_init__(self) -> None:
        """Refuse a limit that lets nothing pass."""
        if self.rows < 1:
            raise ConfigurationError("a limit must be at least 1 row")

    @property
    def yields(self) -> type[Row]:
        return Row

    def columns_needed(self, wanted: Columns) -> Columns:
        return wanted

    def bind(self, shape: Shape, context: RunContext) -> LimitStep:
        if shape.kind is not RowBatch:
            raise ConfigurationError(
                "limit goes before rendering, right after a source"
            )
        meter = context.meter
        if meter.rows_total is not None:
            meter.rows_total = min(meter.rows_total, self.rows)
        return LimitStep(rows=self.rows, shape=shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitStep:
    """One run of `Limit`."""

    rows: int
    shape: Shape
    # More rows of the same input are the same work.
    identity: Mapping[str, str] = field(default_factory=dict)

    async def __call__(
        self, source: ObjectReceiveStream[Any], sink: ObjectSendStream[Any]
    ) -> None:
        left = self.rows
        async with source, sink:
            async for batch in source:
                passing = batch.slice(0, left)
                left -= len(passing)
                await sink.send(passing)
                if not left:
                    return


@dataclass(frozen=True, slots=True, kw_only=True)
class MapBatches:
    """Put each batch through a function; rows may be changed, dropped or added.

    Rows are numbered anew behind it: their index is their place in what the
    function returned.

    Attributes:
        function: From batch to batch; its errors end the run.
        schema: What it returns, `None` when that is the schema it receives.
    """

    function: BatchFunction
    schema: pa.Schema | None = None

    @property
    def yields(self) -> type[Row]:
        return Row

    def columns_needed(self, wanted: Columns) -> Columns:  # noqa: ARG002
        """See `Stage`: a function may look at any column."""
        return None

    def bind(self, shape: Shape, context: RunContext) -> MapStep:  # noqa: ARG002
        layout = shape.layout()
        rows = layout.schema if self.schema is None else self.schema
        return MapStep(
            function=self.function,
            layout=layout,
            shape=replace(shape, kind=RowBatch, rows=rows, instructions=None),
            # Its name, since nothing can look into it.
            identity={"stage": getattr(self.function, "__qualname__", "map_batches")},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MapStep:
    """One run of `MapBatches`."""

    function: BatchFunction
    layout: Layout
    shape: Shape
    identity: Mapping[str, str]

    async def __call__(
        self, source: ObjectReceiveStream[Any], sink: ObjectSendStream[Any]
    ) -> None:
        first_index = 0
        async with source, sink:
            async for batch in source:
                records = await self.function(self.layout.records(batch))
                records = self._checked(records)
                refused: tuple[Refused, ...] = ()
                # Where it changed how many rows there are, nobody knows which is bad.
                if isinstance(batch, RowBatch) and records.num_rows == len(batch):
                    refused = batch.refused
                rows = RowBatch(
                    records=records, first_index=first_index, refused=refused
                )
                if len(rows):
                    await sink.send(rows)
                    first_index += len(rows)

    def _checked(self, records: Any) -> pa.RecordBatch:
        expected = self.shape.rows
        if not isinstance(records, pa.RecordBatch):
            raise StageError(
                "map_batches: the function must return a pyarrow.RecordBatch, "
                f"not {type(records).__name__}"
            )
        if records.schema.equals(expected):
            return records
        if records.schema.names == expected.names:
            try:
                return records.cast(expected)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                pass
        raise StageError(
            "map_batches: the function returned columns "
            f"({_described(records.schema)}) other than expected "
            f"({_described(expected)}); pass schema=... to say what it returns"
        )


def _described(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
