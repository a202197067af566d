"""A reader over blocking work, which is done in a thread beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field

import pyarrow as pa
from anyio import CancelScope, to_thread

from sutro_stream.errors import SourceError
from sutro_stream.formats.ahead import Ahead
from sutro_stream.formats.chunks import CHUNK_BYTES, row_slices
from sutro_stream.formats.format import Told
from sutro_stream.storage.stored import StoredFile
from sutro_stream.storage.unchanged import UnchangedFiles
from sutro_stream.values.rows import RowBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlan:
    """What one pass over an input will be.

    Attributes:
        schema: Schema of every batch.
        row_count: Rows in all, `None` when not known.
        batches: Does the blocking work; holds nothing open before its first batch
            and closes what it opened when it is closed.
        files: What is read, in order; none for rows from memory.
        reading: Everything that changes what rows the files hold.
        told: What their user should know; grows while they are read.
        ambiguous: Names that more than one column had, before they were made different.
    """

    schema: pa.Schema
    row_count: int | None
    batches: Generator[RowBatch, None, None]
    files: Sequence[StoredFile] = ()
    reading: str = ""
    told: Told = field(default_factory=Told)
    ambiguous: frozenset[str] = frozenset()


class ThreadedReader:
    """A `Reader` over a plan, some chunks ahead of whoever reads.

    Concurrency: one task reads; the plan's generator runs in a thread of its own.
    """

    def __init__(self, plan: ReadPlan, *, chunk_rows: int) -> None:
        self._plan = plan
        self._files = UnchangedFiles(plan.files, reading=plan.reading)
        chunks = _chunks(plan.batches, chunk_rows, self._files)
        self._chunks = Ahead(chunks, size=_size, most=CHUNK_BYTES)
        self._first: RowBatch | None = None

    @property
    def schema(self) -> pa.Schema:
        """See `Reader`."""
        return self._plan.schema

    @property
    def told(self) -> Told:
        """See `Reader`."""
        return self._plan.told

    @property
    def ambiguous(self) -> frozenset[str]:
        """See `Reader`."""
        return self._plan.ambiguous

    @property
    def row_count(self) -> int | None:
        """See `Reader`."""
        return self._plan.row_count

    async def identity(self) -> str | None:
        """See `Reader`."""
        if not self._plan.files:
            return None
        return await to_thread.run_sync(self._files.digest)

    async def read(self) -> RowBatch | None:
        """See `Reader`."""
        chunk, self._first = self._first, None
        if chunk is None:
            chunk = self._chunks.take_made()
        if chunk is None:
            chunk = await to_thread.run_sync(self._chunks.take)
        return chunk

    async def has_rows(self) -> bool:
        """Whether there is anything to read; makes the first chunk ready."""
        self._first = await self.read()
        return self._first is not None

    def close(self) -> None:
        """Close files; waits for a chunk being made."""
        self._chunks.close()


def _chunks(
    batches: Generator[RowBatch, None, None],
    chunk_rows: int,
    files: UnchangedFiles,
) -> Generator[RowBatch, None, None]:
    with closing(batches):
        try:
            for batch in batches:
                files.look()
                yield from row_slices(batch, max_rows=chunk_rows)
        except SourceError:
            # What looks broken may be what somebody is writing.
            files.check()
            raise
        files.check()


def _size(chunk: RowBatch) -> int:
    return int(chunk.records.nbytes)


@asynccontextmanager
async def open_threaded(
    prepare: Callable[[], ReadPlan],
    *,
    chunk_rows: int,
    may_be_empty: bool,
    name: str,
) -> AsyncIterator[ThreadedReader]:
    """Run `prepare` in a worker thread and read what it planned.

    Args:
        prepare: Opens, looks and closes; its errors are the source's.
        chunk_rows: Most rows of a chunk.
        may_be_empty: Whether an input without rows is one like others.
        name: How messages call the input.

    Raises:
        SourceError: There are no rows and there have to be.
    """
    reader = ThreadedReader(await to_thread.run_sync(prepare), chunk_rows=chunk_rows)
    try:
        if not may_be_empty and not await reader.has_rows():
            message = f"{name}: has no rows"
            raise SourceError(message, path=name)
        yield reader
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(reader.close)
