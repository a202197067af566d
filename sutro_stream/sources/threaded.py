"""A reader over blocking work: each chunk is made in a worker thread."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from threading import Lock

import pyarrow as pa
from anyio import CancelScope, to_thread

from sutro_stream.errors import SourceError
from sutro_stream.sources.chunks import slices
from sutro_stream.sources.content import content_digest
from sutro_stream.sources.files import InputFile


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
    """

    schema: pa.Schema
    row_count: int | None
    batches: Generator[pa.RecordBatch, None, None]
    files: Sequence[InputFile] = ()
    reading: str = ""


class ThreadedReader:
    """A `Reader` over a plan.

    Concurrency: one task reads; the plan's generator may run in any thread, in one
    at a time.
    """

    def __init__(self, plan: ReadPlan, *, chunk_rows: int) -> None:
        self._plan = plan
        self._chunk_rows = chunk_rows
        self._ready: deque[pa.RecordBatch] = deque()
        # A task cancelled by asyncio itself leaves its thread running; closing has
        # to wait for that thread.
        self._running = Lock()

    @property
    def schema(self) -> pa.Schema:
        """See `Reader`."""
        return self._plan.schema

    @property
    def row_count(self) -> int | None:
        """See `Reader`."""
        return self._plan.row_count

    async def identity(self) -> str | None:
        """See `Reader`."""
        plan = self._plan
        if not plan.files:
            return None
        digest = partial(content_digest, plan.files, reading=plan.reading)
        return await to_thread.run_sync(digest)

    async def read(self) -> pa.RecordBatch | None:
        """See `Reader`."""
        if not self._ready:
            self._ready.extend(await to_thread.run_sync(self._advance))
        return self._ready.popleft() if self._ready else None

    async def has_rows(self) -> bool:
        """Whether there is anything to read; makes the first chunk ready."""
        if not self._ready:
            self._ready.extend(await to_thread.run_sync(self._advance))
        return bool(self._ready)

    def close(self) -> None:
        """Close files; waits for a batch being made in another thread."""
        with self._running:
            self._plan.batches.close()
        self._ready.clear()

    def _advance(self) -> list[pa.RecordBatch]:
        with self._running:
            for batch in self._plan.batches:
                if batch.num_rows:
                    return list(slices(batch, max_rows=self._chunk_rows))
        return []


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
