"""From the log into the database: a segment of one becomes a transaction of the other.

A segment goes when its rows have reached the disk. If its transaction is not made,
because the process dies, the next run begins with it.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import replace

from sutro_stream.ledger.counting import (
    DAMAGE,
    OUTPUT,
    count,
    in_flight_blob,
    in_flight_calls,
)
from sutro_stream.ledger.database import Files, store_errors, transaction
from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.ledger.opening import OpenMode, begin_run, now
from sutro_stream.ledger.segments import (
    damage,
    missing_segments,
    read_segment,
    spent_before,
)
from sutro_stream.ledger.spool import enlist
from sutro_stream.ledger.statements import insert_many

_LOG = logging.getLogger(__name__)


class Journal:
    """The database of an open ledger, and what it has taken over.

    Concurrency: blocking; calls from several threads take turns.

    Every method but `close` raises `StoreError` where the database is damaged or cannot
    be written; a segment that could not be taken over stays.

    Attributes:
        totals: What is in the database; never changes, but is replaced.
        last_segment: Number of the last segment that was taken over.
    """

    def __init__(self, connection: sqlite3.Connection, files: Files) -> None:
        self._connection = connection
        self._files = files
        self._running = threading.Lock()
        self._is_closed = False
        with store_errors(files.main):
            self.totals = count(connection)
            segment, in_flight = connection.execute(
                "SELECT segment, in_flight FROM state"
            ).fetchone()
            self.last_segment = int(segment)
            self._in_flight = in_flight_calls(in_flight)

    def begin(self, work: WorkIdentity, mode: OpenMode) -> None:
        """Begin a run, after everything that earlier ones left is taken over."""
        found = self._files.segments()
        for number in found:
            self.take_over(number, is_own=False, is_last=number == found[-1])
        with self._running, store_errors(self._files.main):
            with transaction(self._connection):
                self.totals = begin_run(
                    self._connection, self.totals, work=work, mode=mode
                )
            self._in_flight.clear()

    def take_over(
        self, number: int, *, is_own: bool = True, is_last: bool = False
    ) -> None:
        """Take over a segment of the log and remove it; others go before it.

        `is_own` and `is_last` are those of `read_segment`.
        """
        with self._running, store_errors(self._files.main):
            if self._is_closed:
                return
            if number > self.last_segment:
                self._take_over(number, is_own=is_own, is_last=is_last)
            # Its rows must be on the disk before it goes.
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._files.segment(number).unlink(missing_ok=True)

    def finish(self) -> None:
        """Note that the output is complete and in place."""
        with self._running, store_errors(self._files.main):
            self._note("finished_at")

    def note_output(self, identity: str) -> None:
        """Note which file is about to be put in place as the output."""
        with (
            self._running,
            store_errors(self._files.main),
            transaction(self._connection),
        ):
            self._connection.execute("DELETE FROM notes WHERE name = ?", (OUTPUT,))
            self._connection.execute(
                "INSERT INTO notes VALUES (?, ?)", (OUTPUT, identity)
            )

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

    def _take_over(self, number: int, *, is_own: bool, is_last: bool) -> None:
        # New objects, which take the place of the old ones once they are true.
        totals = replace(self.totals, failed=Counter(self.totals.failed))
        in_flight = dict(self._in_flight)
        data = self._files.segment(number).read_bytes()
        lost: list[range] = []
        with transaction(self._connection):
            for chunk in read_segment(data, is_own=is_own, is_last=is_last, lost=lost):
                new = chunk.new_records(self._connection, highest=totals.highest)
                chunk.count_requests(in_flight, new)
                enlist(self._connection, chunk.frames)
                insert_many(self._connection, "INSERT INTO rows", [*new.values()])
                spent = {}
                if totals.spent_rows:
                    spent = spent_before(self._connection, new)
                totals.add([*new.values()], spent)
            self._connection.execute(
                "UPDATE state SET row_count = ?, index_sum = ?, segment = ?,"
                " in_flight = ?",
                (totals.rows, totals.index_sum, number, in_flight_blob(in_flight)),
            )
            damages = [
                *missing_segments(self._files, self.last_segment, number),
                *(damage(self._files, number, part) for part in lost),
            ]
            self._connection.executemany(
                "INSERT INTO notes VALUES (?, ?)", [(DAMAGE, text) for text in damages]
            )
        for text in damages:
            _LOG.warning(
                "the ledger %s is damaged: %s; what was recorded there is lost, and "
                "rows without an outcome are asked again",
                self._files.main,
                text,
            )
        totals.damages += tuple(damages)
        totals.in_flight = sum(in_flight.values())
        self.totals, self._in_flight = totals, in_flight
        self.last_segment = number
