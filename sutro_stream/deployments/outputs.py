"""The outputs of a job, taken some at a time: from memory, or from a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
from anyio import CancelScope, to_thread

from sutro_stream.deployments.deployment import Deployment
from sutro_stream.errors import ProtocolError, SinkError
from sutro_stream.wire.result_columns import OUTPUTS

# Beyond this, JSON in memory costs more than a file and its link.
_MOST_ROWS_IN_JSON = 2_000
_ROWS_PER_READ = 4_096

Cells: TypeAlias = pa.Array | Sequence[Any]
"""Text as an Arrow array, with nulls; anything else as it was decoded."""


class Outputs:
    """The cells of the output column, in order.

    Concurrency: one task.

    Attributes:
        rows: How many there are.
        is_kept: Whether they lie in a file that stays.
    """

    def __init__(
        self,
        rows: int,
        *,
        is_kept: bool = False,
        ready: Cells = (),
        pieces: Iterator[Cells] | None = None,
    ) -> None:
        """Outputs.

        Args:
            rows: How many there are.
            is_kept: Whether they lie in a file that stays.
            ready: The first of them.
            pieces: Those behind; blocking.
        """
        self.rows = rows
        self.is_kept = is_kept
        self._ready = ready
        self._pieces = iter(()) if pieces is None else pieces

    async def take(self, count: int) -> Cells:
        """The next cells, as many as wanted.

        Raises:
            ProtocolError: There are not so many, or they cannot be read.
        """
        if len(self._ready) < count:
            self._ready = await to_thread.run_sync(self._filled, count)
        taken = self._ready[:count]
        self._ready = self._ready[count:]
        return taken

    def _filled(self, count: int) -> Cells:
        """What is ready, and as much behind it as is wanted. Blocking."""
        parts = [self._ready]
        missing = count - len(self._ready)
        while missing > 0:
            piece = next(self._pieces, None)
            if piece is None:
                raise ProtocolError("the job's results end before its rows do")
            parts.append(piece)
            missing -= len(piece)
        return _joined(parts)


@asynccontextmanager
async def outputs_of(
    deployment: Deployment, job_id: str, *, rows: int, keep_at: Path | None = None
) -> AsyncIterator[Outputs]:
    """Fetch the outputs of a job that has succeeded.

    Args:
        deployment: Where it ran.
        job_id: The job.
        rows: How many there should be: few come as JSON, many as a file.
        keep_at: File that they stay in, complete or not there, where they are text;
            `None` for none.

    Raises:
        SinkError: The file cannot be stored.
        EngineError: They cannot be had.
    """
    if rows <= _MOST_ROWS_IN_JSON:
        cells = _as_text((await deployment.results(job_id))[OUTPUTS])
        is_kept = False
        if keep_at is not None and isinstance(cells, pa.Array):
            await to_thread.run_sync(_store, cells, keep_at)
            is_kept = True
        yield Outputs(len(cells), is_kept=is_kept, ready=cells)
        return
    async with AsyncExitStack() as stack:
        if keep_at is None:
            path = await stack.enter_async_context(_temporary_file())
            await deployment.download_results(job_id, path)
        else:
            path = _unfinished(keep_at)
            await deployment.download_results(job_id, path)
        file = await to_thread.run_sync(_finished, path, keep_at)
        stack.callback(file.close)
        yield _of_file(file, is_kept=keep_at is not None)


@asynccontextmanager
async def kept_outputs(path: Path, *, rows: int) -> AsyncIterator[Outputs | None]:
    """Outputs that were kept by `outputs_of`; `None` where there are none to read.

    Args:
        path: The file, which need not be there.
        rows: How many there should be.
    """
    try:
        file = await to_thread.run_sync(_opened, path)
    except ProtocolError:
        yield None
        return
    try:
        found = _of_file(file, is_kept=True)
        yield found if found.rows == rows else None
    finally:
        file.close()


def _of_file(file: pq.ParquetFile, *, is_kept: bool) -> Outputs:
    return Outputs(file.metadata.num_rows, is_kept=is_kept, pieces=_pieces(file))


def _store(cells: pa.Array, path: Path) -> None:
    unfinished = _unfinished(path)
    try:
        pq.write_table(pa.table({OUTPUTS: cells}), unfinished, use_dictionary=False)
        unfinished.replace(path)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        message = f"cannot keep a job's results in {path}: {reason}"
        raise SinkError(message, path=str(path)) from error


def _unfinished(path: Path) -> Path:
    # Always the same name: what a killed process left is written over.
    return path.with_name(f"{path.name}.partial")


def _finished(path: Path, keep_at: Path | None) -> pq.ParquetFile:
    return _opened(path if keep_at is None else path.replace(keep_at))


def _opened(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
    except (OSError, pa.ArrowException):
        raise ProtocolError("the job's results are no Parquet file") from None
    if OUTPUTS not in file.schema_arrow.names:
        file.close()
        raise ProtocolError("the job's results have no outputs")
    return file


def _joined(parts: Sequence[Cells]) -> Cells:
    filled = [part for part in parts if len(part)]
    if len(filled) == 1:
        return filled[0]
    if filled and all(isinstance(part, pa.Array) for part in filled):
        return pa.concat_arrays(filled)
    return list(chain.from_iterable(filled))


def _as_text(cells: Sequence[Any]) -> Cells:
    try:
        return pa.array(cells, pa.large_string())
    except (pa.ArrowException, UnicodeError):
        # Vectors, or text that Arrow cannot hold.
        return cells


def _pieces(file: pq.ParquetFile) -> Iterator[Cells]:
    batches = file.iter_batches(_ROWS_PER_READ, columns=[OUTPUTS], use_threads=False)
    try:
        for batch in batches:
            cells = batch.column(OUTPUTS)
            yield cells if pa.types.is_large_string(cells.type) else cells.to_pylist()
    except (OSError, pa.ArrowException):
        raise ProtocolError("the job's results cannot be read") from None


@asynccontextmanager
async def _temporary_file() -> AsyncIterator[Path]:
    folder = await to_thread.run_sync(partial(TemporaryDirectory, prefix="sutro-"))
    try:
        yield Path(folder.name) / "results.parquet"
    finally:
        with CancelScope(shield=True):
            await to_thread.run_sync(folder.cleanup)
