"""The rows of a Parquet file, read by two threads: a run of row groups each.

One thread that decodes is slower than pyarrow with a thread for each column, most of
which wait for the largest one. So the run behind the one that is asked for is begun
meanwhile, a few MiB of it; and a third thread plans.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial
from queue import SimpleQueue
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from sutro_stream.formats.ahead import Ahead
from sutro_stream.formats.chunks import CHUNK_BYTES, joined
from sutro_stream.formats.parquet_plan import Run, runs
from sutro_stream.storage.files import LocalFile

# Pages larger than is usual are not held twice.
_HELD_BYTES = 16 << 20

_Batches: TypeAlias = Generator[pa.RecordBatch, None, None]


def run_batches(
    file: LocalFile,
    opened: Callable[[], AbstractContextManager[Any]],
    names: Sequence[str],
    chunk_rows: int,
) -> _Batches:
    """All rows of a file, in order. Blocking.

    Args:
        file: The file.
        opened: Opens it; called for each thread, since a reader is of one thread.
        names: Columns that are read.
        chunk_rows: Most rows of a batch.

    Raises:
        SourceError: The file needs more memory than is used for any. Rows before the
            place in question have come out then, as they have with other errors.
        ArrowException: The file is damaged.
        OSError: It is damaged or cannot be read.
    """
    with ExitStack() as stack:
        parquet = stack.enter_context(opened())
        plan = runs(file, parquet, names, chunk_rows)
        if parquet.num_row_groups == 1:
            for run in plan:
                yield from _read(parquet, run, names=names, chunk_rows=chunk_rows)
            return
        pair = _Pair(
            plan,
            [
                _Reader(partial(_read, reader, names=names, chunk_rows=chunk_rows))
                for reader in (parquet, stack.enter_context(opened()))
            ],
        )
        with closing(pair):
            while (batch := pair.take()) is not None:
                yield batch


def _read(parquet: Any, run: Run, *, names: Sequence[str], chunk_rows: int) -> _Batches:
    batches = parquet.iter_batches(
        run.stride, row_groups=list(run.groups), columns=names, use_threads=False
    )
    yield from joined(batches, max_rows=chunk_rows)


class _Reader:
    """Reads runs in a thread of its own, one after the other.

    Concurrency: of one thread, besides its own.
    """

    def __init__(self, read: Callable[[Run], _Batches]) -> None:
        self._runs: SimpleQueue[Run | None] = SimpleQueue()
        batches = self._batches(read)
        self._made = Ahead(batches, size=_size, most=CHUNK_BYTES)

    def begin(self, run: Run) -> None:
        """Read this one once those before it are read."""
        self._runs.put(run)
        self._made.begin()

    def take(self) -> pa.RecordBatch | None:
        """The next batch, `None` at the end of each run. Blocking.

        Raises:
            Exception: What reading raised, behind the batches before it.
        """
        batch = self._made.take()
        return None if batch is False else batch

    def close(self) -> None:
        """End the thread."""
        self._runs.put(None)
        self._made.close()

    def _batches(
        self, read: Callable[[Run], _Batches]
    ) -> Generator[pa.RecordBatch | Literal[False], None, None]:
        while (run := self._runs.get()) is not None:
            yield from read(run)
            yield False


class _Pair:
    """Two readers that take turns.

    Concurrency: of one thread, besides those it begins.
    """

    def __init__(
        self, plan: Generator[Run, None, None], readers: Sequence[_Reader]
    ) -> None:
        """Nothing is begun.

        Args:
            plan: What is to be read.
            readers: Of the same file.
        """
        # A plan takes up to a third of the time that reading by it does.
        self._plan = Ahead(plan, size=lambda _: 1, most=1)
        self._readers = readers
        self._next: Run | None = None
        self._free = deque(readers)
        self._busy: deque[_Reader] = deque()
        self._is_heavy = False

    def take(self) -> pa.RecordBatch | None:
        """The next batch, `None` at the end.

        Raises:
            Exception: What planning or reading raised, behind the rows before it.
        """
        while True:
            self._begin()
            if not self._busy:
                return None
            batch = self._busy[0].take()
            if batch is not None:
                return batch
            self._free.append(self._busy.popleft())

    def close(self) -> None:
        """End all threads."""
        for reader in self._readers:
            reader.close()
        self._plan.close()

    def _begin(self) -> None:
        """Begin with what can be begun now."""
        while self._free:
            if self._next is None:
                plan = self._plan
                # An error of planning is of rows behind those that are being read.
                self._next = plan.take_made() if self._busy else plan.take()
            run = self._next
            if run is None:
                return
            is_heavy = run.held_bytes > _HELD_BYTES
            if self._busy and (is_heavy or self._is_heavy):
                return
            self._next, self._is_heavy = None, is_heavy
            reader = self._free.popleft()
            reader.begin(run)
            self._busy.append(reader)


def _size(batch: pa.RecordBatch | Literal[False]) -> int:
    return 0 if batch is False else int(batch.nbytes)
