"""Opening Parquet files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sutro_stream.storage.files import LocalFile
from sutro_stream.storage.stored import unreadable

_MAGIC = b"PAR1"
_ENCRYPTED_MAGIC = b"PARE"
_MIN_FILE_BYTES = 12
_COLUMN_BUFFER_BYTES = 256 << 10
_MIN_COLUMN_BUFFER_BYTES = 64 << 10
_ALL_BUFFERS_BYTES = 16 << 20
BROKEN = (pa.ArrowException, OSError)


@contextmanager
def opened(file: LocalFile, *, columns: int = 1) -> Iterator[Any]:
    """A Parquet file, as pyarrow opens it.

    Raises:
        SourceError: It is none, or damaged where it is looked at first.
    """
    # Every column read has a buffer of its own, in each of two readers.
    buffer_bytes = max(
        _MIN_COLUMN_BUFFER_BYTES,
        min(_COLUMN_BUFFER_BYTES, _ALL_BUFFERS_BYTES // max(columns, 1)),
    )
    try:
        _check_magic(file)
        parquet = pq.ParquetFile(file.path, pre_buffer=False, buffer_size=buffer_bytes)
    except BROKEN as broken:
        if isinstance(broken, OSError) and broken.errno is not None:
            raise unreadable(file.label, broken) from broken
        reason = "not a readable Parquet file: its footer is damaged or encrypted"
        raise file.error(reason) from broken
    with parquet:
        yield parquet


def _check_magic(file: LocalFile) -> None:
    size = file.path.stat().st_size
    if size == 0:
        raise file.error("the file is empty (0 bytes)")
    with file.path.open("rb") as raw:
        start = raw.read(4)
        raw.seek(max(size - 4, 0))
        end = raw.read(4)
    if _ENCRYPTED_MAGIC in (start, end):
        raise file.error("encrypted Parquet files cannot be read")
    if start != _MAGIC:
        raise file.error("not a Parquet file")
    if end != _MAGIC or size < _MIN_FILE_BYTES:
        raise file.error("the Parquet file is cut off: its end is missing")
