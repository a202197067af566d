"""Input rows kept for the output: a file that only grows, beside the ledger.

Each frame is an Arrow IPC stream of one batch, so it can be read alone. Where the
frames lie is kept in the ledger, in the same transactions as the outcomes: what a
crash leaves behind the last one known there is overwritten.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from sutro_stream.errors import StoreDamagedError, StoreError

_MASK = 0xFFFF_FFFF


class Frame(NamedTuple):
    """Where some rows lie in the file, in the order of its columns in the database.

    The checksum is of their bytes and the index of the first.
    """

    first_index: int
    rows: int
    position: int
    length: int
    checksum: int


class Spool:
    """The file of input rows.

    Concurrency: blocking; one thread at a time, kept apart by a lock since a task
    cancelled from outside anyio does not wait for its thread.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._running = threading.Lock()
        self._descriptor: int | None = None
        self._position = 0
        self._schema: pa.Schema | None = None

    def open(self, frames: sqlite3.Connection) -> int:
        """Open the file and forget `frames` of which it holds less than all.

        Returns:
            Rows kept: those before a frame that is missing.
        """
        self._descriptor = os.open(
            self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666
        )
        size = os.fstat(self._descriptor).st_size
        rows = _forget_behind_gap(frames, size)
        (end,) = frames.execute("SELECT max(position + length) FROM frames").fetchone()
        self._position = end or 0
        first = frames.execute("SELECT * FROM frames WHERE first_index = 0").fetchone()
        if first is not None:
            with suppress(StoreError):
                self._schema = self.read(Frame(*first)).schema
        return rows

    def open_to_read(self) -> None:
        """Open the file for `read` alone.

        Raises:
            StoreError: It is not there, or cannot be read.
        """
        try:
            self._descriptor = os.open(
                self._path, os.O_RDONLY | getattr(os, "O_BINARY", 0)
            )
        except OSError as error:
            raise self._damaged() from error

    def append(self, first_index: int, records: pa.RecordBatch) -> Frame:
        """Write rows; they count once their frame is in the ledger.

        Raises:
            StoreError: They could not be written, or have other columns.
        """
        with self._running:
            if self._schema is None:
                self._schema = records.schema
            elif not records.schema.equals(self._schema):
                message = (
                    f"the input columns are not those in {self._path}; start afresh "
                    "with --restart"
                )
                raise StoreError(message, path=str(self._path))
            data = _encoded(records)
            descriptor, rest = self._opened(), memoryview(data)
            try:
                os.lseek(descriptor, self._position, os.SEEK_SET)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                message = f"cannot write input rows to {self._path}: {reason}"
                raise StoreError(message, path=str(self._path)) from error
            frame = Frame(
                first_index=first_index,
                rows=records.num_rows,
                position=self._position,
                length=data.size,
                checksum=zlib.crc32(data, first_index & _MASK),
            )
            self._position += data.size
            return frame

    def read(self, frame: Frame) -> pa.RecordBatch:
        """The rows of a frame.

        Raises:
            StoreDamagedError: They are not what was written.
        """
        parts: list[bytes] = []
        missing = frame.length
        with self._running:
            descriptor = self._opened()
            try:
                os.lseek(descriptor, frame.position, os.SEEK_SET)
                while missing > 0 and (part := os.read(descriptor, missing)):
                    parts.append(part)
                    missing -= len(part)
            except OSError as error:
                raise self._damaged() from error
        data = b"".join(parts)
        if missing or zlib.crc32(data, frame.first_index & _MASK) != frame.checksum:
            raise self._damaged()
        with pa.ipc.open_stream(data) as stream:
            records: pa.RecordBatch = stream.read_next_batch()
        if records.num_rows != frame.rows:
            raise self._damaged()
        return records

    def close(self) -> None:
        """Close the file; waits for what another thread is doing."""
        with self._running:
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                os.close(descriptor)

    def _opened(self) -> int:
        if self._descriptor is None:
            raise StoreError(f"{self._path} is closed", path=str(self._path))
        return self._descriptor

    def _damaged(self) -> StoreDamagedError:
        message = (
            f"the input rows kept in {self._path} are damaged; remove that file and "
            "run again: the input is read anew, and no answer is lost"
        )
        return StoreDamagedError(message, path=str(self._path))


def listed(connection: sqlite3.Connection, index: int) -> Frame | None:
    """The frame that has a row, `None` without one."""
    found = connection.execute(
        "SELECT * FROM frames WHERE first_index <= ? ORDER BY first_index DESC LIMIT 1",
        (index,),
    ).fetchone()
    frame = None if found is None else Frame(*found)
    return frame if frame and index < frame.first_index + frame.rows else None


def listed_frames(connection: sqlite3.Connection) -> Iterator[Frame]:
    """All frames, in the order of their rows."""
    query = "SELECT * FROM frames WHERE first_index > ? ORDER BY first_index LIMIT 1"
    at = -1
    while found := connection.execute(query, (at,)).fetchone():
        frame = Frame(*found)
        at = frame.first_index
        yield frame


def enlist(connection: sqlite3.Connection, frames: Sequence[Frame]) -> None:
    """Add frames to the ledger."""
    connection.executemany(
        "INSERT OR REPLACE INTO frames VALUES (?, ?, ?, ?, ?)", frames
    )


def _forget_behind_gap(connection: sqlite3.Connection, size: int) -> int:
    """Remove frames behind the end of the file, and those behind a missing one."""
    rows = 0
    found = connection.execute(
        "SELECT first_index, rows, position + length FROM frames ORDER BY first_index"
    )
    for first_index, count, end in found.fetchall():
        if first_index != rows or end > size:
            break
        rows += count
    connection.execute("DELETE FROM frames WHERE first_index >= ?", (rows,))
    return rows


def _encoded(records: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, records.schema, options=options) as stream:
        stream.write_batch(records)
    return sink.getvalue()
