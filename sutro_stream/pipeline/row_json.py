"""Rows and prompts as the JSON that a deployment takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pyarrow as pa

from sutro_stream.rendering.prompting import require_columns
from sutro_stream.sinks.cells import check_types, json_column, json_values
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class RowJson:
    """From batches to rows as they are sent.

    Attributes:
        what: What is sent, for people.
        read: From a batch that arrives to its rows, beside JSON of each; `None` in
            place of a row that is refused.
    """

    what: str
    read: Callable[[Any], Iterator[tuple[PromptBatch, list[bytes | None]]]]

    @classmethod
    def of_prompts(cls) -> RowJson:
        """Prompts, as strings."""
        return cls(what="prompts", read=_prompts)

    @classmethod
    def of_rows(
        cls,
        schema: pa.Schema,
        names: Sequence[str],
        rows: Callable[[Any], Sequence[RowBatch]],
    ) -> RowJson:
        """Rows, as objects that the deployment renders.

        Args:
            schema: Of the rows.
            names: Columns to send.
            rows: From a batch that arrives to rows.

        Raises:
            ConfigurationError: A column is missing, there twice, or of a type that
                JSON cannot hold.
        """
        require_columns(names, schema, what="submit")
        chosen = pa.schema([schema.field(name) for name in names])
        check_types(chosen, json_column, "a job")
        what = f"rows of {', '.join(names)}"
        return cls(what=what, read=_Objects(names=tuple(names), rows=rows).read)


def _prompts(batch: PromptBatch) -> Iterator[tuple[PromptBatch, list[bytes | None]]]:
    texts = batch.texts.to_pylist()
    refused = batch.refused
    yield (
        batch,
        [
            None if offset in refused else orjson.dumps(text)
            for offset, text in enumerate(texts)
        ],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Objects:
    """Rows as objects.

    Attributes:
        names: Their keys.
        rows: From a batch that arrives to rows.
    """

    names: tuple[str, ...]
    rows: Callable[[Any], Sequence[RowBatch]]

    def read(self, batch: Any) -> Iterator[tuple[PromptBatch, list[bytes | None]]]:
        for rows in self.rows(batch):
            if not len(rows):
                continue
            records = rows.records
            columns = [json_values(records.column(name)) for name in self.names]
            keys = self.names
            objects: list[bytes | None] = [
                orjson.dumps(dict(zip(keys, cells, strict=True)))
                for cells in zip(*columns, strict=True)
            ]
            # What the deployment makes of a row is not known here.
            texts = pa.nulls(len(rows), pa.large_string())
            yield PromptBatch(rows=rows, texts=texts), objects
