"""From the log into the database: a segment of one becomes a transaction of the other.

A segment goes when its rows have reached the disk. If its transaction is not made,
because the process dies, the next run begins with it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from sutro_stream.ledger.counting import (
    Totals,
    count,
    in_flight_blob,
    in_flight_calls,
)
from sutro_stream.ledger.database import Files, store_errors, transaction
from sutro_stream.ledger.encoding import checksum
from sutro_stream.ledger.log import Asked, Entry, Record, read_segment
from sutro_stream.ledger.opening import now
from sutro_stream.ledger.spool import Frame, enlist
from sutro_stream.ledger.statements import insert_many, numbers

# Of records at a time, so that memory stays flat when answers are long.
_CHUNK_ROWS = 1_000
_CHUNK_BYTES = 4 << 20


class Journal:
    """The database of an open ledger, and what it has taken over.

    Concurrency: blocking; calls from several threads take turns.
    """

    def __init__(self, connection: sqlite3.Connection, files: Files) -> None:
        """Find out what the database holds.

        Raises:
            StoreError: It is damaged.
        """
        self._connection = connection
        self._files = files
        self._running = threading.Lock()
        self._is_closed = False
        with store_errors(files.main):
            self._totals = count(connection)
            segment, in_flight = connection.execute(
                "SELECT segment, in_flight FROM state"
            ).fetchone()
            self._last_segment = int(segment)
            self._in_flight = in_flight_calls(in_flight)

    @property
    def totals(self) -> Totals:
        """What is in the database; never changes, but is replaced."""
        return self._totals

    @property
    def last_segment(self) -> int:
        """Number of the last segment that was taken over."""
        return self._last_segment

    def begin(self, run: Callable[[sqlite3.Connection, Totals], Totals]) -> None:
        """Begin a run, after everything that earlier ones left is taken over."""
        for number in self._files.segments():
            self.take_over(number)
        with self._running, store_errors(self._files.main):
            with transaction(self._connection):
                self._totals = run(self._connection, self._totals)
            self._in_flight.clear()

    def take_over(self, number: int) -> None:
        """Take over a segment of the log and remove it; others go before it.

        Raises:
            StoreError: It could not be taken over, and stays.
        """
        with self._running, store_errors(self._files.main):
            if self._is_closed:
                return
            if number > self._last_segment:
                self._take_over(number)
            # Its rows must be on the disk before it goes.
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._files.segment(number).unlink(missing_ok=True)

    def finish(self) -> None:
        """Note that the output is complete and in place.

        Raises:
            StoreError: It could not be written.
        """
        with self._running, store_errors(self._files.main):
            self._note("finished_at")

    def close(self) -> None:
        """Note that the run has ended, where there is space, and let go."""
        with self._running:
            self._is_closed = True
            with suppress(sqlite3.Error):
                self._note("closed_at")
            self._connection.close()

    def _note(self, column: str) -> None:
        self._connection.execute(
            f"UPDATE runs SET {column} = ?"  # noqa: S608
            " WHERE id = (SELECT max(id) FROM runs)",
            (now(),),
        )

    def _take_over(self, number: int) -> None:
        # New objects, which take the place of the old ones once they are true.
        totals = replace(self._totals, failed=Counter(self._totals.failed))
        in_flight = dict(self._in_flight)
        with (
            self._files.segment(number).open("rb") as file,
            transaction(self._connection),
        ):
            for chunk in chunks(read_segment(file)):
                new = chunk.new_records(self._connection)
                chunk.count_requests(in_flight, new)
                self._insert(chunk, new, totals)
            self._connection.execute(
                "UPDATE state SET row_count = ?, index_sum = ?, segment = ?,"
                " in_flight = ?",
                (totals.rows, totals.index_sum, number, in_flight_blob(in_flight)),
            )
        totals.in_flight = sum(in_flight.values())
        self._totals, self._in_flight = totals, in_flight
        self._last_segment = number

    def _insert(
        self, chunk: Chunk, new: Mapping[int, tuple[Record, int]], totals: Totals
    ) -> None:
        enlist(self._connection, chunk.frames)
        insert_many(
            self._connection,
            "INSERT INTO rows",
            [
                (
                    record.row,
                    record.digest,
                    record.kind,
                    record.attempts,
                    record.input_tokens,
                    record.output_tokens,
                    record.leader,
                    checksum(record.row, record.digest, record.body),
                    record.body,
                )
                for record, _ in new.values()
            ],
        )
        for record, spent in new.values():
            totals.add(record, spent)


@dataclass(slots=True)
class Chunk:
    """Some entries of a segment.

    Attributes:
        records: Outcomes by row; of several for a row the first.
        requests: Rows for which requests went out, and among them, as `~row`, those
            whose outcome came.
        frames: Where input rows lie.
    """

    records: dict[int, Record] = field(default_factory=dict)
    requests: list[int] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)

    def count_requests(self, in_flight: dict[int, int], new: Container[int]) -> None:
        """Bring requests without an outcome, by row, up to date.

        Args:
            in_flight: Changed in place.
            new: Rows whose outcome counts.
        """
        for row in self.requests:
            if row >= 0:
                in_flight[row] = in_flight.get(row, 0) + 1
            elif ~row in new:
                in_flight.pop(~row, None)

    def new_records(
        self, connection: sqlite3.Connection
    ) -> dict[int, tuple[Record, int]]:
        """Outcomes of rows that have none in the database, by row.

        Returns:
            Each with the requests spent on its row before.
        """
        if not self.records:
            return {}
        span = min(self.records), max(self.records)
        kept = set(
            numbers(
                connection,
                "SELECT group_concat(idx, ' ') FROM rows WHERE idx BETWEEN ? AND ?",
                span,
            )
        )
        found = numbers(
            connection,
            "SELECT group_concat(idx || ' ' || attempts, ' ') FROM spent"
            " WHERE idx BETWEEN ? AND ?",
            span,
        )
        spent = dict(zip(found[::2], found[1::2], strict=True))
        return {
            row: (record, spent.get(row, 0))
            for row, record in self.records.items()
            if row not in kept
        }


def chunks(entries: Iterable[Entry]) -> Iterator[Chunk]:
    """Entries in handy portions."""
    chunk, size = Chunk(), 0
    for entry in entries:
        if isinstance(entry, Record):
            if entry.row not in chunk.records:
                chunk.records[entry.row] = entry
                chunk.requests.append(~entry.row)
                size += len(entry.body)
        elif isinstance(entry, Asked):
            chunk.requests.append(entry.row)
        else:
            chunk.frames.append(entry)
        if len(chunk.records) >= _CHUNK_ROWS or size >= _CHUNK_BYTES:
            yield chunk
            chunk, size = Chunk(), 0
    yield chunk
