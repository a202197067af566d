"""Only the first rows of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anyio.abc import ObjectReceiveStream, ObjectSendStream

from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.stage import Columns, RunContext
from sutro_stream.values.layout import Shape
from sutro_stream.values.rows import Row, RowBatch


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

    @property
    def identity(self) -> Mapping[str, str]:
        """See `Step`: more rows of the same input are the same work."""
        return {}

    async def __call__(
        self, source: ObjectReceiveStream[Any], sink: ObjectSendStream[Any]
    ) -> None:
        left = self.rows
        async with source, sink:
            async for batch in source:
                records = batch.records.slice(0, left)
                left -= records.num_rows
                await sink.send(
                    RowBatch(records=records, first_index=batch.first_index)
                )
                if not left:
                    return
