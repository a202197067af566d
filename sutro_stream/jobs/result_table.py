"""The file of a job's results, read a part at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sutro_stream.errors import StoreError
from sutro_stream.jobs.result_form import INPUTS, LOGPROBS

_ROWS_PER_READ = 4_096
_BYTES_PER_PIECE = 1 << 20
# Read page by page; otherwise a whole column of a row group is in memory at once.
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which of the columns that are not always given are wanted.

    Attributes:
        inputs: The prompts.
        logprobs: Cumulative log-probabilities; nulls where the model gave none.
    """

    inputs: bool = False
    logprobs: bool = False

    @property
    def label(self) -> str:
        """For names of files; equal selections have equal labels."""
        return f"inputs={self.inputs:d}~logprobs={self.logprobs:d}"

    def of(self, schema: pa.Schema) -> pa.Schema:
        """The columns that are given, in order, of those that the results have."""
        fields = [
            field
            for field in schema
            if (self.inputs or field.name != INPUTS)
            and (self.logprobs or field.name != LOGPROBS)
        ]
        if self.logprobs and LOGPROBS not in schema.names:
            fields.append(pa.field(LOGPROBS, pa.float64()))
        return pa.schema(fields)


class ResultTable:
    """An opened file of results.

    Concurrency: blocking; one thread at a time.
    """

    def __init__(self, file: pq.ParquetFile, path: Path) -> None:
        self._file = file
        self._path = path
        self.schema: pa.Schema = file.schema_arrow.remove_metadata()

    def batches(self, columns: pa.Schema) -> Iterator[pa.RecordBatch]:
        """The rows in order, at most about a mebibyte of them at once.

        Args:
            columns: Those wanted; one that the file does not have is all null.

        Raises:
            StoreError: The file cannot be read.
        """
        names = [name for name in columns.names if name in self.schema.names]
        with _read_errors(self._path):
            # A row group is bounded in bytes, rows of several are not.
            for group in range(self._file.num_row_groups):
                batches = self._file.iter_batches(
                    _ROWS_PER_READ, row_groups=[group], columns=names, use_threads=False
                )
                for batch in batches:
                    yield from _pieces(_completed(batch, columns))


@contextmanager
def opened(path: Path) -> Iterator[ResultTable]:
    """Open a file of results.

    Raises:
        StoreError: It is not there, or is no such file.
    """
    with _read_errors(path):
        file = pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER_BYTES)
    with file:
        yield ResultTable(file, path)


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        is_missing = isinstance(error, FileNotFoundError)
        reason = "it is not there" if is_missing else str(error).partition("\n")[0]
        message = f"cannot read the results in {path}: {reason}"
        raise StoreError(message, path=str(path)) from error


def _completed(batch: pa.RecordBatch, columns: pa.Schema) -> pa.RecordBatch:
    # Asked for `a`, the reader brings `a.b` along.
    names = batch.schema.names
    arrays = [
        batch.column(names.index(field.name))
        if field.name in names
        else pa.nulls(batch.num_rows, field.type)
        for field in columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=columns)


def _pieces(batch: pa.RecordBatch) -> Sequence[pa.RecordBatch]:
    if batch.num_rows < 2 or batch.nbytes <= _BYTES_PER_PIECE:
        return [batch]
    half = batch.num_rows // 2
    return [*_pieces(batch.slice(0, half)), *_pieces(batch.slice(half))]
