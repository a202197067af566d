"""Bodies of submissions taken in: their fields read, their rows put on disk.

What a large body needs of time and memory, a process of its own has: the event loop
goes on, and the memory is given back.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import anyio
from anyio import to_thread

from sutro_stream.errors import StoreError
from sutro_stream.jobs.body import ArrayBody, Body, split_body
from sutro_stream.jobs.intake_workers import IntakeWorkers
from sutro_stream.jobs.row_columns import PROMPT, RENDERED, Field
from sutro_stream.jobs.row_file import StoredRows, write_rows
from sutro_stream.values.function import FunctionInput

__all__ = [
    "APART_BYTES",
    "PROMPT",
    "RENDERED",
    "ArrayBody",
    "Body",
    "StoredRows",
    "open_body",
    "store_rows",
    "take_rows",
]

APART_BYTES = 1 << 20
"""Bodies above this are read by a process of their own: that takes half a second to
start, and everything below takes the event loop a few milliseconds at most."""


async def open_body(
    path: Path, *, workers: IntakeWorkers, apart_bytes: int = APART_BYTES
) -> Body:
    """Take a received body apart, without reading its rows into memory.

    Args:
        path: File of the body.
        workers: Processes for large ones.
        apart_bytes: Size above which one of them does it.

    Cancellation: nothing is left behind.

    Raises:
        ApiError: 400 where the body is not a JSON object, 422 where its `inputs`
            are missing, empty or of another type, 413 where the fields beside
            them are too large.
        StoreError: The file cannot be read.
    """
    try:
        size = (await anyio.Path(path).stat()).st_size
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        message = f"cannot read the received body {path}: {reason}"
        raise StoreError(message, path=str(path)) from error
    if size > apart_bytes:
        return await workers.split(path)
    return await to_thread.run_sync(split_body, path)


async def take_rows(
    path: Path,
    array: ArrayBody,
    target: Path,
    *,
    workers: IntakeWorkers,
    declared: Sequence[FunctionInput] | None,
    most_rows: int | None = None,
    apart_bytes: int = APART_BYTES,
) -> StoredRows:
    """As `store_rows`, beside the event loop.

    Args:
        path: File of the body.
        array: Its `inputs`.
        target: See `store_rows`.
        workers: Processes for large ones.
        declared: See `store_rows`.
        most_rows: See `store_rows`.
        apart_bytes: Size of the array above which one of them does it.

    Cancellation: `target` is whole or not there.

    Raises:
        ApiError: See `store_rows`.
        StoreError: A file cannot be read or written.
    """
    fields = _fields(declared)
    if array.size_bytes > apart_bytes:
        return await workers.write(
            path, array, target, fields=fields, most_rows=most_rows
        )
    write = partial(write_rows, fields=fields, most_rows=most_rows)
    return await to_thread.run_sync(write, path, array, target)


def store_rows(
    path: Path,
    array: ArrayBody,
    target: Path,
    *,
    declared: Sequence[FunctionInput] | None,
    most_rows: int | None = None,
) -> StoredRows:
    """Write the rows of a body to a Parquet file, in bounded memory. Blocking.

    All columns are `large_string`. Without `declared` there is one, `PROMPT`: a
    string as it is, "" for null, numbers and booleans as they are written. With it
    there is a column for each declared input, null where an object does not have
    the field and "" where it is null, and the column `RENDERED` for rows that are
    no objects, null for those that are. Further fields are ignored; objects and
    arrays in a field are kept as the JSON text they came as.

    Args:
        path: File of the body.
        array: Its `inputs`.
        target: The file; it is whole and on disk, or not there.
        declared: Inputs of a Function or a custom model, `None` for a standalone
            model.
        most_rows: Rows above which it is given up, `None` for no limit.

    Raises:
        ApiError: 422 where a row is of a wrong kind or required fields are missing
            (the first ten such rows are listed), 403 for too many rows, 400 where
            a row's text is not valid.
        StoreError: A file cannot be read or written.
    """
    return write_rows(
        path, array, target, fields=_fields(declared), most_rows=most_rows
    )


def _fields(declared: Sequence[FunctionInput] | None) -> list[Field] | None:
    if declared is None:
        return None
    return [
        Field(name=field.name, is_required=field.required and field.default is None)
        for field in declared
    ]
