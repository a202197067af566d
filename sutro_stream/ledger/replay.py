"""Rows of a run in order: input joined with outcomes."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from sutro_stream.ledger.database import damaged, snapshot, store_errors, unusable
from sutro_stream.ledger.reading import read_rows
from sutro_stream.ledger.spool import Spool, listed
from sutro_stream.values.outcomes import Outcome

# Of outcomes and, apart from that, of input rows.
_CHUNK_BYTES = 8 << 20


Chunk: TypeAlias = tuple[int, pa.RecordBatch, Sequence[Outcome]]
"""Consecutive rows: index of the first, input columns, an outcome for each."""


class Replay:
    """One pass over rows that are spooled.

    Concurrency: blocking; one thread at a time.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        spool: Spool,
        *,
        path: Path,
        span: range,
        rows: int,
    ) -> None:
        self._connection = connection
        self._spool = spool
        self._path = path
        self._rows = rows
        self._at = self._fetched = span.start
        self._stop = span.stop
        self._pending: deque[pa.RecordBatch] = deque()

    def next_chunk(self) -> Chunk | None:
        """The next rows, `None` behind the last.

        Raises:
            StoreError: A row has no outcome, or the ledger is damaged.
        """
        if self._at >= self._stop:
            return None
        with store_errors(self._path), snapshot(self._connection):
            records = self._gather()
            first = self._at
            known = read_rows(
                self._connection,
                first,
                first + records.num_rows,
                max_bytes=_CHUNK_BYTES,
            )
        count = 0
        while first + count in known:
            count += 1
        if not count:
            reason = f"row {first} has no outcome"
            raise unusable(self._path, reason)
        if count < records.num_rows:
            self._pending.appendleft(records.slice(count))
            records = records.slice(0, count)
        self._at = first + count
        outcomes = [known[index].outcome for index in range(first, self._at)]
        return first, records, outcomes

    def _gather(self) -> pa.RecordBatch:
        """Input rows from where we are: as many as asked for, fewer large ones."""
        taken = [self._next_records()]
        rows, size = taken[0].num_rows, taken[0].nbytes
        most = min(self._rows, self._stop - self._at)
        while rows < most and size < _CHUNK_BYTES:
            records = self._next_records()
            taken.append(records)
            rows += records.num_rows
            size += records.nbytes
        records = self._joined(taken)
        if records.num_rows > self._rows:
            self._pending.appendleft(records.slice(self._rows))
            records = records.slice(0, self._rows)
        return records

    def _next_records(self) -> pa.RecordBatch:
        if self._pending:
            return self._pending.popleft()
        frame = listed(self._connection, self._fetched)
        if frame is None:
            raise damaged(self._path, "input rows are missing")
        skipped = self._fetched - frame.first_index
        wanted = min(frame.rows - skipped, self._stop - self._fetched)
        self._fetched += wanted
        return self._spool.read(frame).slice(skipped, wanted)

    def _joined(self, taken: list[pa.RecordBatch]) -> pa.RecordBatch:
        if len(taken) > 1:
            try:
                return pa.concat_batches(taken)
            except pa.ArrowException:
                # Dictionaries that together outgrow their index type, or more text
                # than 32-bit offsets reach: apart they are fine.
                self._pending.extendleft(reversed(taken[1:]))
        return taken[0]
