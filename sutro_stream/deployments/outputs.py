"""The outputs of a job, taken a few at a time: from memory, or from a file."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from anyio import CancelScope, to_thread

from sutro_stream.deployments.deployment import Deployment
from sutro_stream.errors import ProtocolError
from sutro_stream.wire.result_columns import OUTPUTS

# Beyond this, JSON in memory costs more than a file and its link.
_MOST_ROWS_IN_JSON = 2_000
_ROWS_PER_READ = 1_024


class Outputs:
    """The cells of the output column, in order.

    Concurrency: one task.
    """

    def __init__(
        self,
        rows: int,
        *,
        ready: Sequence[Any] = (),
        pieces: Iterator[Sequence[Any]] | None = None,
    ) -> None:
        """Outputs.

        Args:
            rows: How many there are.
            ready: The first of them.
            pieces: Those behind; blocking.
        """
        self.rows = rows
        self._ready = list(ready)
        self._pieces = iter(()) if pieces is None else pieces

    async def take(self, count: int) -> Sequence[Any]:
        """The next cells, as many as wanted.

        Raises:
            ProtocolError: There are not so many, or they cannot be read.
        """
        while len(self._ready) < count:
            piece = await to_thread.run_sync(next, self._pieces, None)
            if piece is None:
                raise ProtocolError("the job's results end before its rows do")
            self._ready += piece
        taken, self._ready = self._ready[:count], self._ready[count:]
        return taken


@asynccontextmanager
async def outputs_of(
    deployment: Deployment, job_id: str, *, rows: int
) -> AsyncIterator[Outputs]:
    """Fetch the outputs of a job that has succeeded.

    Args:
        deployment: Where it ran.
        job_id: The job.
        rows: How many there should be: few come as JSON, many as a file.

    Raises:
        SinkError: The file cannot be stored.
        EngineError: They cannot be had.
    """
    if rows <= _MOST_ROWS_IN_JSON:
        cells = (await deployment.results(job_id))[OUTPUTS]
        yield Outputs(len(cells), ready=cells)
        return
    async with AsyncExitStack() as stack:
        path = await stack.enter_async_context(_temporary_file())
        await deployment.download_results(job_id, path)
        file = await to_thread.run_sync(_opened, path)
        stack.callback(file.close)
        yield Outputs(file.metadata.num_rows, pieces=_pieces(file))


def _opened(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)
    except (OSError, pa.ArrowException):
        raise ProtocolError("the job's results are no Parquet file") from None
    if OUTPUTS not in file.schema_arrow.names:
        file.close()
        raise ProtocolError("the job's results have no outputs")
    return file


def _pieces(file: pq.ParquetFile) -> Iterator[Sequence[Any]]:
    batches = file.iter_batches(_ROWS_PER_READ, columns=[OUTPUTS], use_threads=False)
    try:
        for batch in batches:
            yield batch.column(OUTPUTS).to_pylist()
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
