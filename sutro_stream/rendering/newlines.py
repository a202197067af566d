"""The stage that writes line breaks inside cells as two characters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from sutro_stream.errors import ConfigurationError
from sutro_stream.flow.stage import Columns, RunContext
from sutro_stream.values.layout import Shape
from sutro_stream.values.rows import Row, RowBatch

_BREAK = r"\r\n|\r|\n"
# A backslash in a replacement is written as two.
_WRITTEN = r"\\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class FlattenNewlines:
    r"""Turn every line break in text columns into the two characters `\n`.

    Goes before rendering, right after a source.

    Attributes:
        spared: Columns that stay as they are.
    """

    spared: frozenset[str] = frozenset()

    @property
    def yields(self) -> type[Row]:
        """See `Stage`."""
        return Row

    def columns_needed(self, wanted: Columns) -> Columns:
        """See `Stage`."""
        return wanted

    def bind(self, shape: Shape, context: RunContext) -> FlattenStep:
        """See `Stage`."""
        del context
        if shape.kind is not RowBatch:
            raise ConfigurationError(
                "line breaks are flattened before rendering, right after a source"
            )
        return FlattenStep(shape=shape, spared=self.spared)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlattenStep:
    """One run of `FlattenNewlines`."""

    shape: Shape
    spared: frozenset[str]

    @property
    def identity(self) -> Mapping[str, str]:
        """See `Step`."""
        return {"line breaks": "flattened"}

    async def __call__(
        self, source: ObjectReceiveStream[Any], sink: ObjectSendStream[Any]
    ) -> None:
        """See `Step`."""
        async with source, sink:
            async for batch in source:
                records = self._flat(batch.records)
                await sink.send(
                    RowBatch(records=records, first_index=batch.first_index)
                )

    def _flat(self, records: pa.RecordBatch) -> pa.RecordBatch:
        columns = [
            column if field.name in self.spared else _flattened(column)
            for field, column in zip(records.schema, records.columns, strict=True)
        ]
        return pa.record_batch(columns, schema=records.schema)


def _flattened(column: pa.Array) -> pa.Array:
    kind = column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return column
    return pc.replace_substring_regex(column, _BREAK, _WRITTEN)
