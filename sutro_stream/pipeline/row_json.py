"""Rows and prompts as the JSON that a deployment takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from sutro_stream.pipeline.encoded_rows import EncodedRows
from sutro_stream.pipeline.json_cells import json_objects, json_texts
from sutro_stream.rendering.prompting import require_columns
from sutro_stream.sinks.cells import check_types, json_column
from sutro_stream.values.prompts import PromptBatch
from sutro_stream.values.rows import RowBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class RowJson:
    """From batches to rows as they are sent.

    Attributes:
        what: What is sent, for people.
        read: From a batch that arrives to its rows, beside JSON of each.
    """

    what: str
    read: Callable[[Any], Iterator[tuple[PromptBatch, EncodedRows]]]

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
        return cls(what=what, read=partial(_objects, tuple(names), rows))


def _prompts(batch: PromptBatch) -> Iterator[tuple[PromptBatch, EncodedRows]]:
    yield batch, EncodedRows.of(json_texts(batch.texts))


def _objects(
    names: Sequence[str], rows_of: Callable[[Any], Sequence[RowBatch]], batch: Any
) -> Iterator[tuple[PromptBatch, EncodedRows]]:
    for rows in rows_of(batch):
        if not len(rows):
            continue
        objects = json_objects({name: rows.records[name] for name in names})
        # What the deployment makes of a row is not known here.
        texts = pa.nulls(len(rows), pa.large_string())
        yield PromptBatch(rows=rows, texts=texts), EncodedRows.of(objects)
