"""The contract of a source."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pyarrow as pa

from sutro_stream.values.rows import RowBatch


class Reader(Protocol):
    """An opened source.

    One with an attribute `told`, see `formats.format.Told`, has what its user should
    know of the input; one with `ambiguous` has names that more than one column had.

    Concurrency: one task reads.
    """

    @property
    def schema(self) -> pa.Schema:
        """Schema of every chunk; known before the first."""

    @property
    def row_count(self) -> int | None:
        """Rows there are in all, `None` when only reading can tell."""

    async def identity(self) -> str | None:
        """A digest of the content, equal when and only when the rows are.

        `None` when that can only be known by reading: rows from memory. Can be asked
        for again, when a run is at its end.

        Raises:
            SourceError: The input cannot be read, or is not any more what it was when
                it was opened.
        """

    async def read(self) -> RowBatch | None:
        """The next rows, never none; `None` at the end and after it.

        Their indices go on where those of the batch before ended. A row that could not
        be read is among them, and is said to be refused.

        Blocking work happens in a worker thread. Chunks are bounded in rows and,
        where the source can know, in bytes.

        Cancellation: the chunk being read may be lost; the source must be closed.

        Raises:
            SourceError: The input is broken; names file and place.
        """


class Source(Protocol):
    """A description of an input; opening it does the I/O.

    One with an attribute `on_bad_row` ("refuse", "skip" or "stop") says what becomes of
    rows that could not be read; they are refused without it.
    """

    @property
    def name(self) -> str:
        """How messages call it: a path or address without query."""

    def open(
        self, columns: frozenset[str] | None
    ) -> AbstractAsyncContextManager[Reader]:
        """Open for one pass over all rows.

        Args:
            columns: Columns to read, `None` for all. The reader's schema holds
                those that exist, in the order of the input; a name that does not
                exist is left for the stage that wants it to report.

        Raises:
            SourceNotFoundError: There is no such input.
            SourceError: It is not what it should be, or a file without any rows.
        """
