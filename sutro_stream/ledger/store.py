"""Everything that an open ledger holds open, in the order it is opened and closed."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import pyarrow as pa

from sutro_stream.errors import StoreError
from sutro_stream.flow.outcome_store import KnownRow
from sutro_stream.ledger.database import (
    Files,
    connect,
    snapshot,
    store_errors,
    unusable,
)
from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.ledger.journal import Journal
from sutro_stream.ledger.leaders import Leaders
from sutro_stream.ledger.lock import Lock
from sutro_stream.ledger.log import Log
from sutro_stream.ledger.opening import OpenMode, open_database
from sutro_stream.ledger.reading import read_reusable, read_rows
from sutro_stream.ledger.replay import Chunk, Replay
from sutro_stream.ledger.spool import Frame, Spool
from sutro_stream.values.outcomes import Outcome


class Store:
    """The files of one ledger, locked for one run.

    Concurrency: blocking; from any thread. Calls take turns, since a task that is
    cancelled from outside anyio does not wait for its thread. The log alone
    belongs to the event loop.

    Attributes:
        spooled: Rows of the spool when it was opened.
        is_closing: Whether closing has begun.
        is_new: Whether no run has had it open before.
        has_reusable: Whether it has answers to prompts of an earlier input.
        leaves_log: Whether closing leaves the log for the next opening.
        journal: What is in the database, once it was opened.
        log: What is not yet, once it was opened.
    """

    def __init__(self, path: Path) -> None:
        self.files = Files(path)
        self.spooled = 0
        self.is_new = True
        self.leaves_log = False
        self.has_reusable = False
        self.journal: Journal
        self.log: Log
        self._running = threading.RLock()
        self._taking_over = threading.Lock()
        self.is_closing = False
        self._is_done_with = False
        self._undo = ExitStack()
        self._reader: sqlite3.Connection | None = None
        self._spool = Spool(self.files.rows)
        self._leaders = Leaders(self.files.digests)

    def open(self, work: WorkIdentity, mode: OpenMode) -> None:
        """Lock the ledger, check that it fits, and begin a run.

        Raises:
            WorkChangedError: It belongs to other work.
            StoreError: It cannot be used.
        """
        files, undo = self.files, self._undo
        with self._running:
            if self.is_closing:
                raise self._not_open()
            lock = Lock(files.lock, ledger=files.main)
            lock.acquire()
            # Last of all: until then it can be seen that the run had come to its end.
            undo.callback(self._if_done_with, files.forget)
            undo.callback(lock.release)
            undo.callback(self._if_done_with, files.retire)
            connection = open_database(files, work, mode)
            undo.callback(connection.close)
            self.journal = Journal(connection, files)
            self.journal.begin(work, mode)
            undo.callback(self.journal.close)
            undo.callback(self._spool.close)
            with store_errors(files.main):
                self.spooled = self._spool.open(connection)
                runs = connection.execute("SELECT count(*) FROM runs").fetchone()
                self.is_new = runs[0] == 1
            undo.callback(self._leaders.close)
            self._reader = connect(files.main, writes=False)
            undo.callback(self._reader.close)
            with store_errors(files.main):
                found = self._reader.execute("SELECT EXISTS (SELECT * FROM reusable)")
                self.has_reusable = bool(found.fetchone()[0])
            self.log = Log(files, self.journal.last_segment + 1)
            undo.callback(self._end_log)

    def take_over(self, stop: int) -> None:
        """Bring into the database what the log has before the segment `stop`.

        Raises:
            StoreError: It could not be written there; it stays in the log.
        """
        with self._taking_over:
            for number in range(self.journal.last_segment + 1, stop):
                self.journal.take_over(number)

    def known(self, first_index: int, count: int) -> dict[int, KnownRow]:
        """Committed outcomes of some rows."""
        with self._running, store_errors(self.files.main):
            connection = self._reading()
            with snapshot(connection):
                return read_rows(connection, first_index, first_index + count)

    def reusable(self, digests: Mapping[int, int]) -> dict[int, Outcome]:
        """Answers to prompts, from an earlier input."""
        with self._running, store_errors(self.files.main):
            return read_reusable(self._reading(), digests)

    def leaders(self, first_index: int, digests: Sequence[int | None]) -> list[int]:
        """For each row the first with the same prompt."""
        with self._running:
            return self._leaders.of(first_index, digests, self._reading())

    def spool(self, first_index: int, records: pa.RecordBatch) -> Frame:
        """Write input rows; see `Spool.append`."""
        return self._spool.append(first_index, records)

    def replay(self, span: range, *, rows: int) -> Replay:
        """A pass over some rows of the spool."""
        with self._running:
            source, path = self._reading(), self.files.main
            return Replay(source, self._spool, path=path, span=span, rows=rows)

    def next_chunk(self, replay: Replay) -> Chunk | None:
        """See `Replay.next_chunk`."""
        with self._running:
            self._reading()
            return replay.next_chunk()

    def close(self, *, remove: bool) -> None:
        """Take over what is left of the log, and close everything.

        With `remove`, the ledger is done with and its files go.
        """
        self.is_closing = True
        with self._running:
            self._is_done_with = remove
            self._reader = None
            self._undo.close()

    def _end_log(self) -> None:
        self.log.close()
        if self._is_done_with or self.leaves_log:
            return
        # What cannot be taken over now is by the next run.
        with suppress(StoreError):
            self.take_over(self.log.number + (not self.log.is_empty))

    def _if_done_with(self, step: Callable[[], None]) -> None:
        if self._is_done_with:
            step()

    def _reading(self) -> sqlite3.Connection:
        if self._reader is None:
            raise self._not_open()
        return self._reader

    def _not_open(self) -> StoreError:
        return unusable(self.files.main, "it is closed")


def sweep(path: Path) -> None:
    """Remove a ledger, all of it, or what a killed process has left of it. Blocking.

    Raises:
        StoreInUseError: A run has it open.
        StoreError: Something cannot be removed.
    """
    files = Files(path)
    lock = Lock(files.lock, ledger=files.main)
    lock.acquire()
    try:
        files.remove()
    finally:
        lock.release()
