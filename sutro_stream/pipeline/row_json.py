"""Rows and prompts as the JSON that a deployment takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
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
        return cls(what=what, read=_Objects(names, rows=rows).read)


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


class _Objects:
    """Rows as objects."""

    def __init__(
        self, names: Sequence[str], *, rows: Callable[[Any], Sequence[RowBatch]]
    ) -> None:
        """Of some columns.

        Args:
            names: Their keys.
            rows: From a batch that arrives to rows.
        """
        self._names = tuple(names)
        self._rows = rows
        self._row, self._encode = _writer(self._names)

    def read(self, batch: Any) -> Iterator[tuple[PromptBatch, list[bytes | None]]]:
        for rows in self._rows(batch):
            if not len(rows):
                continue
            records = rows.records
            columns = [json_values(records.column(name)) for name in self._names]
            objects: list[bytes | None] = [*map(self._encode, map(self._row, *columns))]
            # What the deployment makes of a row is not known here.
            texts = pa.nulls(len(rows), pa.large_string())
            yield PromptBatch(rows=rows, texts=texts), objects


def _writer(
    names: tuple[str, ...],
) -> tuple[Callable[..., Any], Callable[[Any], bytes]]:
    """What makes a row of its cells, and what writes it."""
    attributes = [f"field_{at}" for at in range(len(names))]
    try:
        # A type of its own is made and written twenty times as fast as a mapping.
        kind = msgspec.defstruct(
            "Row",
            [(attribute, Any) for attribute in attributes],
            rename=dict(zip(attributes, names, strict=True)),
            gc=False,
        )
    except ValueError:
        # Names that have to be escaped are not taken.
        return lambda *cells: dict(zip(names, cells, strict=True)), orjson.dumps
    return kind, msgspec.json.Encoder().encode
