"""Rows of a run in order: input joined with outcomes."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from sutro_stream.ledger.database import damaged, unusable
from sutro_stream.ledger.reading import read_rows
from sutro_stream.ledger.spool import Spool, listed
from sutro_stream.values.outcomes import Outcome

# Of outcomes and, apart from that, of input rows.
_CHUNK_BYTES = 8 << 20

Chunk: TypeAlias = tuple[int, pa.RecordBatch, Sequence[Outcome]]
"""Consecutive rows: index of the first, input columns, an outcome for each."""


def replay(
    connection: sqlite3.Connection, spool: Spool, path: Path, span: range, rows: int
) -> Iterator[Chunk]:
    """Rows that are spooled, about `rows` at a time.

    Blocking; one thread at a time. Each step reads of one state of the database.

    Raises:
        StoreError: A row has no outcome, or the ledger is damaged.
    """
    inputs = _inputs(connection, spool, path, span)
    pending: deque[pa.RecordBatch] = deque()
    at = span.start
    while at < span.stop:
        records = _gathered(pending, inputs, rows)
        known = read_rows(connection, at, at + records.num_rows, max_bytes=_CHUNK_BYTES)
        count = 0
        while at + count in known:
            count += 1
        if not count:
            raise unusable(path, f"row {at} has no outcome")
        if count < records.num_rows:
            pending.appendleft(records.slice(count))
        outcomes = [known[at + offset].outcome for offset in range(count)]
        yield at, records.slice(0, count), outcomes
        at += count


def _inputs(
    connection: sqlite3.Connection, spool: Spool, path: Path, span: range
) -> Iterator[pa.RecordBatch]:
    """The input columns of some rows, as they lie in frames."""
    at = span.start
    while at < span.stop:
        frame = listed(connection, at)
        if frame is None:
            raise damaged(path, "input rows are missing")
        skipped = at - frame.first_index
        records = spool.read(frame).slice(skipped, span.stop - at)
        yield records
        at += records.num_rows


def _gathered(
    pending: deque[pa.RecordBatch], inputs: Iterator[pa.RecordBatch], most: int
) -> pa.RecordBatch:
    """The next input rows: as many as asked for, fewer large ones."""
    taken: list[pa.RecordBatch] = []
    rows = size = 0
    while rows < most and size < _CHUNK_BYTES:
        records = pending.popleft() if pending else next(inputs, None)
        if records is None:
            break
        taken.append(records)
        rows += records.num_rows
        size += records.nbytes
    joined = taken[0]
    if len(taken) > 1:
        try:
            joined = pa.concat_batches(taken)
        except pa.ArrowException:
            # Dictionaries that together outgrow their index type, or more text
            # than 32-bit offsets reach: apart they are fine.
            pending.extendleft(reversed(taken[1:]))
    if joined.num_rows > most:
        pending.appendleft(joined.slice(most))
    return joined.slice(0, most)
