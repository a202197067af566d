"""In which portions a Parquet file is read, so that memory is bounded."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa

from sutro_stream.errors import SourceError
from sutro_stream.formats.chunks import CHUNK_BYTES, plain
from sutro_stream.formats.parquet_columns import (
    flat_columns,
    read_columns,
    wanted_columns,
)
from sutro_stream.formats.parquet_strides import within_dictionaries, within_pages
from sutro_stream.storage.files import LocalFile

_PROBE_ROWS = 16
# Looking at row groups costs up to a third of reading them: not all before the first.
_RUN_ROWS = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Consecutive row groups that are read in one go.

    Attributes:
        groups: Their numbers.
        stride: Rows that are read at a time.
        held_bytes: Of the pages that are held meanwhile, at most: of each column the
            largest and its dictionary.
    """

    groups: tuple[int, ...]
    stride: int
    held_bytes: int

    @classmethod
    def join(cls, runs: Sequence[Run]) -> Run:
        """Several of the same stride in one."""
        return cls(
            groups=tuple(number for run in runs for number in run.groups),
            stride=runs[0].stride,
            held_bytes=max(run.held_bytes for run in runs),
        )


def runs(
    file: LocalFile, parquet: Any, names: Sequence[str], chunk_rows: int
) -> Generator[Run, None, None]:
    """All row groups in runs, each with the rows of it that make one chunk. Blocking.

    Rows are rounded down to powers of two so that similar row groups are read in
    one go.

    Args:
        file: The file.
        parquet: The same file, open.
        names: Columns that are read.
        chunk_rows: Most rows of a chunk.

    Raises:
        SourceError: The file needs more memory than is used for any.
        ArrowException: The file is damaged.
        OSError: It is damaged or cannot be read.
    """
    metadata = parquet.metadata
    if metadata.num_rows == 0:
        return
    joined: list[Run] = []
    rows = 0
    with file.path.open("rb", buffering=0) as raw:
        planner = _Planner(file, parquet, raw, names=names, chunk_rows=chunk_rows)
        for number in range(metadata.num_row_groups):
            try:
                run = planner.run_of(number)
            except (SourceError, pa.ArrowException, OSError):
                # What stands before it can be read.
                if joined:
                    yield Run.join(joined)
                raise
            if joined and (run.stride != joined[0].stride or rows >= _RUN_ROWS):
                yield Run.join(joined)
                joined, rows = [], 0
            joined.append(run)
            rows += metadata.row_group(number).num_rows
        yield Run.join(joined)


class _Planner:
    """Looks at one row group after the other."""

    def __init__(
        self,
        file: LocalFile,
        parquet: Any,
        raw: BinaryIO,
        *,
        names: Sequence[str],
        chunk_rows: int,
    ) -> None:
        """See `runs`; `raw` is the same file, open without a buffer."""
        self._file, self._parquet, self._raw = file, parquet, raw
        self._names, self._chunk_rows = names, chunk_rows
        self._flat = flat_columns(parquet)
        self._least_bytes: float | None = None

    def run_of(self, number: int) -> Run:
        """This row group alone."""
        names, raw = self._names, self._raw
        group = self._parquet.metadata.row_group(number)
        # First of all: looking at dictionaries unpacks them.
        columns = read_columns(self._file, raw, group, names, self._flat)
        if self._least_bytes is None:
            has_dictionary = _has_dictionary(group)
            self._least_bytes = _probe(self._parquet, names) if has_dictionary else 0.0
        row_bytes = max(_row_bytes(group, names), self._least_bytes)
        fitting = max(1, int(CHUNK_BYTES / max(row_bytes, 1.0)))
        stride = min(1 << (fitting.bit_length() - 1), self._chunk_rows)
        stride = within_dictionaries(raw, columns, stride)
        return Run(
            groups=(number,),
            stride=within_pages(columns, stride),
            held_bytes=sum(column.held_bytes for column in columns),
        )


def _row_bytes(group: Any, names: Sequence[str]) -> float:
    """Uncompressed bytes of one row in the columns read, on average."""
    size = sum(
        column.total_uncompressed_size for column in wanted_columns(group, names)
    )
    return float(size / max(group.num_rows, 1))


def _has_dictionary(group: Any) -> bool:
    return any(group.column(at).has_dictionary_page for at in range(group.num_columns))


def _probe(parquet: Any, names: Sequence[str]) -> float:
    """Decoded bytes of one of the first rows, on average.

    With dictionaries the metadata tells the size of the distinct values only: a
    file of some KB can hold GB of repeated text.
    """
    batches = parquet.iter_batches(_PROBE_ROWS, columns=names, use_threads=False)
    batch = next(batches, None)
    if batch is None or not batch.num_rows:
        return 0.0
    size = sum(plain(column).nbytes for column in batch.columns)
    return float(size / batch.num_rows)
