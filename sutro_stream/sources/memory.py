"""Rows from Python: iterables, async iterables, Arrow tables and streams."""

from __future__ import annotations

from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Sized,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import pyarrow as pa

from sutro_stream.errors import ConfigurationError, SourceError
from sutro_stream.formats.chunks import (
    CHUNK_BYTES,
    CHUNK_ROWS,
    check_chunk_rows,
    conform,
    plain_schema,
    project,
    slices,
)
from sutro_stream.sources.row_table import RowTable
from sutro_stream.sources.source import Reader
from sutro_stream.sources.threaded import ReadPlan, open_threaded
from sutro_stream.values.rows import RowBatch

Row: TypeAlias = str | Mapping[str, Any]
"""A prompt, or values by column."""

_NAME = "rows in memory"
# Each of them is looked at in Python, in the event loop's own thread.
_OBJECTS_PER_CHUNK = 1000
_CLOSING_LIMIT_S = 1.0
_END = object()


@dataclass(slots=True)
class _Uses:
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowsSource:
    """Rows that a program has or makes.

    Strings become one column, `prompt`. Mappings have the columns and types of the
    first chunk, see `RowTable`; a missing key is null. Iterables are consumed chunk
    by chunk, ordinary ones in the event loop's own thread: one that blocks for long
    holds up everything else. A chunk is delivered when it is full. Generators are
    closed at the end. Arrow data is sliced, not copied.

    Attributes:
        rows: An iterable or async iterable of strings or mappings; or an Arrow
            table, record batch, stream, or anything that exports one (a polars or
            pandas table).
        columns: Columns to read, `None` for all. Of mappings only these keys are
            read, and those no row has are null.
        chunk_rows: Most rows of a chunk; large rows make smaller chunks. `None` is
            8192 of Arrow data, and 1000 of others.
    """

    rows: Iterable[Row] | AsyncIterable[Row] | pa.Table | pa.RecordBatch = field(
        repr=False
    )
    columns: Sequence[str] | None = None
    chunk_rows: int | None = None
    _uses: _Uses = field(default_factory=_Uses, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigurationError: `rows` is nothing to take rows from, or a value is
                out of range.
        """
        if self.chunk_rows is not None:
            check_chunk_rows(self.chunk_rows)
        if isinstance(self.rows, str | bytes | Mapping) or not (
            _is_arrow(self.rows) or isinstance(self.rows, Iterable | AsyncIterable)
        ):
            raise ConfigurationError(
                "rows must be an iterable of strings or mappings, or an Arrow table, "
                f"not {type(self.rows).__name__}"
            )

    @property
    def name(self) -> str:
        """See `Source`."""
        return _NAME

    def open(
        self, columns: frozenset[str] | None
    ) -> AbstractAsyncContextManager[Reader]:
        """See `Source`; no rows at all are no error here.

        Raises:
            SourceError: Also when an iterator is opened a second time, which can
                be consumed only once.
        """
        if _is_arrow(self.rows):
            return self._open_arrow(columns)
        return self._open_items(columns)

    @asynccontextmanager
    async def _open_arrow(self, asked: frozenset[str] | None) -> AsyncIterator[Reader]:
        self._use(once=isinstance(self.rows, pa.RecordBatchReader))
        chunk_rows = self.chunk_rows or CHUNK_ROWS
        async with open_threaded(
            partial(_plan_arrow, self.rows, self.columns, asked, chunk_rows),
            chunk_rows=chunk_rows,
            may_be_empty=True,
            name=_NAME,
        ) as reader:
            yield reader

    @asynccontextmanager
    async def _open_items(self, asked: frozenset[str] | None) -> AsyncIterator[Reader]:
        rows: Any = self.rows
        items = aiter(rows) if isinstance(rows, AsyncIterable) else iter(rows)
        self._use(once=items is rows)
        reader = _ItemReader(
            items,
            RowTable(declared=self.columns, asked=asked),
            chunk_rows=self.chunk_rows or _OBJECTS_PER_CHUNK,
            row_count=len(rows) if isinstance(rows, Sized) else None,
        )
        try:
            await reader.start()
            yield reader
        finally:
            await _close(items)

    def _use(self, *, once: bool) -> None:
        if once and self._uses.count:
            raise SourceError(
                "the rows were an iterator, and it has been read already; pass a "
                "list, or a new iterator for each run"
            )
        self._uses.count += 1


class _ItemReader:
    """A `Reader` over Python objects."""

    def __init__(
        self,
        items: Any,
        table: RowTable,
        *,
        chunk_rows: int,
        row_count: int | None,
    ) -> None:
        self._items = items
        self._is_async = hasattr(items, "__anext__")
        self._table = table
        self._chunk_rows = chunk_rows
        self._row_count = row_count
        self._ready: RowBatch | None = None
        self._taken_rows = 0
        self._ended = False

    @property
    def schema(self) -> pa.Schema:
        return self._table.schema

    @property
    def row_count(self) -> int | None:
        return self._row_count

    async def start(self) -> None:
        """Take the first rows, which set the schema."""
        items = await self._take()
        self._ready = RowBatch(records=self._table.start(items), first_index=0)
        self._taken_rows = len(items)

    async def identity(self) -> str | None:
        """See `Reader`."""
        return None

    async def read(self) -> RowBatch | None:
        ready, self._ready = self._ready, None
        if ready is not None and len(ready):
            return ready
        items = await self._take()
        if not items:
            return None
        records = self._table.convert(items, first_row=self._taken_rows)
        self._taken_rows += len(items)
        return RowBatch(records=records, first_index=self._taken_rows - len(items))

    async def _take(self) -> list[Any]:
        """Items of one chunk; fewer than that, or none, at the end."""
        await anyio.lowlevel.checkpoint()
        taken: list[Any] = []
        size = 0
        while not self._ended and len(taken) < self._chunk_rows and size < CHUNK_BYTES:
            item = (
                await anext(self._items, _END)
                if self._is_async
                else next(self._items, _END)
            )
            if item is _END:
                self._ended = True
            else:
                taken.append(item)
                size += _characters(item)
        return taken


def _characters(item: Any) -> int:
    """Length of the text in a row where it is easily told."""
    if isinstance(item, str):
        return len(item)
    if isinstance(item, dict):
        return sum(len(value) for value in item.values() if isinstance(value, str))
    return 0


async def _close(items: Iterator[Any] | AsyncIterator[Any]) -> None:
    if isinstance(items, Generator):
        items.close()
    elif hasattr(items, "aclose"):
        with anyio.move_on_after(_CLOSING_LIMIT_S, shield=True):
            await items.aclose()


def _is_arrow(rows: Any) -> bool:
    return isinstance(rows, pa.RecordBatch) or hasattr(rows, "__arrow_c_stream__")


def _plan_arrow(
    rows: Any,
    declared: Sequence[str] | None,
    asked: frozenset[str] | None,
    chunk_rows: int,
) -> ReadPlan:
    if isinstance(rows, pa.RecordBatch):
        rows = pa.Table.from_batches([rows])
    row_count = rows.num_rows if isinstance(rows, pa.Table) else None
    try:
        stream = (
            rows.to_reader(max_chunksize=chunk_rows)
            if isinstance(rows, pa.Table)
            else pa.RecordBatchReader.from_stream(rows)
        )
    except pa.ArrowException as error:
        raise _arrow_error(f"{type(rows).__name__} is not a table") from error
    names = stream.schema.names
    kept = project(names, declared=declared, asked=asked, error=_arrow_error)
    schema = plain_schema(stream.schema.field(name) for name in kept)
    return ReadPlan(
        schema=schema,
        row_count=row_count,
        batches=_arrow_batches(stream, schema, chunk_rows),
    )


def _arrow_batches(
    stream: pa.RecordBatchReader, schema: pa.Schema, chunk_rows: int
) -> Generator[RowBatch, None, None]:
    first_row = 0
    try:
        with stream:
            for batch in stream:
                for part in slices(batch, max_rows=chunk_rows):
                    records = conform(
                        part, schema, first_row=first_row, error=_arrow_error
                    )
                    yield RowBatch(records=records, first_index=first_row)
                    first_row += part.num_rows
    except pa.ArrowException as error:
        raise _arrow_error("the Arrow stream failed", first_row) from error


def _arrow_error(reason: str, row_index: int | None = None) -> SourceError:
    return SourceError(f"{_NAME}: {reason}", row_index=row_index)
