"""Rows of a body into the Parquet file of their job, a piece at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from sutro_stream.errors import StoreError
from sutro_stream.jobs.body import ArrayBody
from sutro_stream.jobs.elements import pieces
from sutro_stream.jobs.row_columns import Columns, Field, columns_of
from sutro_stream.wire.api_error import ApiError

_GROUP_BYTES = 8 << 20
_GROUP_ROWS = 1 << 17


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRows:
    """What was stored.

    Attributes:
        rows: How many.
    """

    rows: int


def write_rows(
    body: Path,
    array: ArrayBody,
    target: Path,
    *,
    fields: Sequence[Field] | None,
    most_rows: int | None,
) -> StoredRows:
    """Write the rows to a Parquet file that is whole and on disk, or is not there.

    Blocking. See `intake.store_rows`, whose errors it raises.
    """
    columns = columns_of(fields)
    try:
        with body.open("rb") as source, _whole(target) as file:
            return _write(source, array, file, columns, most_rows)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        message = f"cannot store the rows of a job in {target}: {reason}"
        raise StoreError(message, path=str(target)) from error


def _write(
    source: IO[bytes],
    array: ArrayBody,
    file: IO[bytes],
    columns: Columns,
    most_rows: int | None,
) -> StoredRows:
    rows = 0
    waiting: list[pa.RecordBatch] = []
    # Prompts are rarely the same; looking for equal ones costs time and memory.
    with pq.ParquetWriter(file, columns.schema, use_dictionary=False) as writer:
        for piece in pieces(source, start=array.start, end=array.end):
            waiting.append(columns.take(piece, first_row=rows))
            rows += waiting[-1].num_rows
            if most_rows is not None and rows > most_rows:
                raise _too_many(most_rows)
            if _is_group(waiting):
                writer.write_table(pa.Table.from_batches(waiting))
                waiting.clear()
        columns.finish()
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting))
    return StoredRows(rows=rows)


def _is_group(batches: Sequence[pa.RecordBatch]) -> bool:
    size_bytes: int = sum(batch.nbytes for batch in batches)
    rows: int = sum(batch.num_rows for batch in batches)
    return size_bytes >= _GROUP_BYTES or rows >= _GROUP_ROWS


def _too_many(most_rows: int) -> ApiError:
    return ApiError(
        403,
        "quota_exceeded",
        f"inputs: more than the {most_rows} rows that a job of this priority may have",
    )


@contextmanager
def _whole(target: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when all of it has reached the disk."""
    # Always the same name: what a killed process left is written over.
    unfinished = target.with_name(f".{target.name}.partial")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    with suppress(OSError):
        # Not every system can sync a folder; the file is in place by now.
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
