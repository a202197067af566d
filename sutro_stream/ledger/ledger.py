"""The ledger of a run: outcomes recorded as they come, and read back in order."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    ExitStack,
    asynccontextmanager,
    suppress,
)
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

import anyio
import anyio.to_thread
import pyarrow as pa

from sutro_stream.errors import StoreError
from sutro_stream.flow.groups import single_error
from sutro_stream.flow.outcome_store import KnownRow
from sutro_stream.ledger.counting import LedgerStatistics
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
from sutro_stream.ledger.lock import locked
from sutro_stream.ledger.log import Log
from sutro_stream.ledger.opening import OpenMode, open_database
from sutro_stream.ledger.reading import read_reusable, read_rows
from sutro_stream.ledger.replay import Chunk, replay
from sutro_stream.ledger.spool import Spool
from sutro_stream.values.outcomes import Outcome

__all__ = ["Ledger", "OpenMode", "open_ledger"]

ArgsT = TypeVarTuple("ArgsT")
ReturnT = TypeVar("ReturnT")

# Closing writes to the database what the log holds: a few megabytes.
_CLOSE_LIMIT_S = 30.0
# What the log has is kept as well as what the database has, and a run that comes to its
# end needs neither. The next run has to take these over before it begins: 128 MiB at
# most, half a million short answers, some seconds.
_SEGMENTS_LEFT = 32
# Reading and spooling do not wait for one another.
_THREADS = 4


class Ledger:
    """The files of one ledger, locked for one run; satisfies `OutcomeStore`.

    Concurrency: one event loop, any number of tasks; `spool` and `leaders` each
    from one at a time. What blocks is done in threads, where calls take turns, since a
    task that is cancelled from outside anyio does not wait for its thread. The log
    alone belongs to the event loop.

    Every method raises `StoreError` where the ledger cannot be read or written, is
    damaged or closed, or something recorded before could not be written.

    Attributes:
        kept: Rows that had an outcome when the ledger was opened.
        is_new: Whether no run has had it open before.
        has_reusable: Whether it has answers from an input before; see
            `OpenMode.REUSE`.
        is_done_with: Whether its files go when the context is left.
    """

    def __init__(self, path: Path, *, segments_left: int) -> None:
        self.kept = 0
        self.is_new = True
        self.has_reusable = False
        self.is_done_with = False
        self._files = Files(path)
        self._segments_left = segments_left
        self._journal: Journal
        self._log: Log
        self._spool = Spool(self._files.rows)
        self._spooled = 0
        self._leaders = Leaders(self._files.digests)
        self._reader: sqlite3.Connection | None = None
        self._running = threading.RLock()
        self._taking_over = threading.Lock()
        self._limiter = anyio.CapacityLimiter(_THREADS)
        self._full = anyio.Event()
        self._undo = ExitStack()
        self._is_closing = False
        self._leaves_log = False
        self._stays = False

    @property
    def is_left(self) -> bool:
        """Whether it stays even if nothing is in it; see `finish` and `stay`."""
        return self._leaves_log or self._stays

    def stay(self) -> None:
        """Say that the run is to be gone on with, whether anything is kept or not."""
        self._stays = True

    async def known(self, first_index: int, count: int) -> Mapping[int, KnownRow]:
        """See `OutcomeStore`; takes no time ahead of all rows that have an outcome."""
        if first_index > self._journal.totals.highest:
            return {}
        return await self._read(read_rows, first_index, first_index + count)

    async def reusable(self, digests: Mapping[int, int]) -> Mapping[int, Outcome]:
        """See `OutcomeStore` and `OpenMode.REUSE`; they are not recorded yet."""
        return await self._read(read_reusable, digests)

    def asked(self, index: int) -> None:
        """Count a request that goes out for a row, before its outcome is known.

        Optional. What was asked and never recorded, because the process died, is
        counted as a call by the next opening, and its row as one asked again.
        """
        self._log.asked(index)

    def record(
        self, index: int, digest: int, outcome: Outcome, *, leader: int | None = None
    ) -> None:
        """See `OutcomeStore`; what is recorded first for a row stays.

        Takes some four microseconds, of which half a one is for writing to the
        system's cache.

        Args:
            index: 0-based index of the row.
            digest: Of its prompt, at least 0 and below 2**63; any for a row
                without one.
            outcome: All of it is kept. With a `leader`, its `attempts` are.
            leader: Of the same prompt, and itself recorded without a leader.
        """
        log = self._log
        log.record(index, digest, outcome, leader)
        if log.is_full:
            log.rotate()
            self._full.set()

    async def flush(self) -> None:
        """Bring what was recorded so far from the log into the database.

        For those who want to read it; nothing is lost without.
        """
        self._log.check()
        self._log.rotate()
        await self._take_over(self._log.number)

    async def spool(self, first_index: int, records: pa.RecordBatch) -> None:
        """Keep input columns for the output; call it before its rows are asked.

        Rows come in order and without gaps; what an earlier run kept is skipped.

        Cancellation: the rows may or may not have been kept, and can come again.
        """
        self._log.check()
        overlap = self._spooled - first_index
        if overlap < 0:
            reason = f"input rows {self._spooled} to {first_index - 1} were left out"
            raise unusable(self._files.main, reason)
        rest = records.slice(overlap)
        if rest.num_rows:
            frame = await self._in_thread(self._spool.append, self._spooled, rest)
            self._log.spooled(frame)
            self._spooled += rest.num_rows

    async def leaders(
        self, first_index: int, digests: Sequence[int | None]
    ) -> Sequence[int]:
        """See `OutcomeStore`; asking twice changes nothing.

        A later run knows the rows that have an outcome, and of the others those it
        has been asked about itself.
        """
        self._log.check()
        return await self._read(self._leaders.of, first_index, digests)

    async def batches(
        self, *, rows: int, span: range | None = None
    ) -> AsyncIterator[Chunk]:
        """What was spooled, in order, with the outcomes of exactly these rows.

        A row that shares an outcome has its own `attempts`, and else an equal one.

        Args:
            rows: How many at a time.
            span: Indices of the rows, consecutive; `None` for all that are spooled.

        Yields:
            Index of the first row, input columns, outcomes: about `rows` rows, or
            fewer where they are large. `StoreError` where a row has no outcome.
        """
        await self.flush()
        span = range(self._spooled) if span is None else span
        chunks = await self._read(
            replay, self._spool, self._files.main, span, max(rows, 1)
        )
        while chunk := await self._read(lambda _: next(chunks, None)):
            yield chunk

    def statistics(self) -> LedgerStatistics:
        """Counters over all runs, as they were at the last `flush` or later."""
        return self._journal.totals.statistics()

    async def note_output(self, identity: str) -> None:
        """Note which file is about to take the place of the output.

        A later run can tell by it whether the output that it finds is this one.
        """
        await self._in_thread(self._journal.note_output, identity)

    async def finish(self, *, remove: bool = True, leave_log: bool = False) -> None:
        """Say that the output is complete and in place; nothing may follow.

        Args:
            remove: Whether the ledger's files go when the context is left. What only
                the log has by then is not brought into the database any more.
            leave_log: Whether that is so as well where the files stay: for those who
                will remove them soon. The next opening, should there be one, does it.
        """
        if remove or leave_log:
            self._log.check()
            self._leaves_log = leave_log
        else:
            await self.flush()
            await self._in_thread(self._journal.finish)
        self.is_done_with = remove

    @asynccontextmanager
    async def opened(self, work: WorkIdentity, mode: OpenMode) -> AsyncIterator[Ledger]:
        """See `open_ledger`."""
        try:
            await anyio.to_thread.run_sync(self._open, work, mode)
            with single_error():
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._keep_up)
                    try:
                        yield self
                    finally:
                        tasks.cancel_scope.cancel()
            self._log.check()
        finally:
            try:
                with anyio.move_on_after(_CLOSE_LIMIT_S, shield=True):
                    await anyio.to_thread.run_sync(
                        self._close,
                        abandon_on_cancel=True,
                        limiter=anyio.CapacityLimiter(1),
                    )
            finally:
                # Cancelled twice from outside anyio, it may not even have begun.
                if not self._is_closing:
                    self._close()

    def _open(self, work: WorkIdentity, mode: OpenMode) -> None:
        """Lock the ledger, check that it fits, and begin a run."""
        files, undo = self._files, self._undo
        with self._running:
            if self._is_closing:
                raise unusable(files.main, "it is closed")
            # Last of all: until then it can be seen that the run had come to its end.
            undo.callback(self._if_done_with, files.forget)
            undo.enter_context(locked(files.lock, ledger=files.main))
            undo.callback(self._if_done_with, files.retire)
            connection = open_database(files, work, mode)
            undo.callback(connection.close)
            self._journal = Journal(connection, files)
            self._journal.begin(work, mode)
            undo.callback(self._journal.close)
            undo.callback(self._spool.close)
            self.kept = self._journal.totals.rows
            with store_errors(files.main):
                self._spooled = self._spool.open(connection)
                runs, has_reusable = connection.execute(
                    "SELECT count(*), EXISTS (SELECT * FROM reusable) FROM runs"
                ).fetchone()
                self.is_new, self.has_reusable = runs == 1, bool(has_reusable)
            undo.callback(self._leaders.close)
            self._reader = connect(files.main, writes=False)
            undo.callback(self._reader.close)
            self._log = Log(files, self._journal.last_segment + 1)
            undo.callback(self._end_log)

    def _close(self) -> None:
        """Take over what is left of the log, and close everything."""
        self._is_closing = True
        with self._running:
            self._reader = None
            self._undo.close()

    def _end_log(self) -> None:
        self._log.close()
        if self.is_done_with or self._leaves_log:
            return
        # What cannot be taken over now is by the next run.
        with suppress(StoreError):
            self._bring_over(self._log.number + (not self._log.is_empty))

    def _if_done_with(self, step: Callable[[], None]) -> None:
        if self.is_done_with:
            step()

    async def _keep_up(self) -> None:
        """Have all but the newest segments of the log taken over, until cancelled."""
        while True:
            await self._full.wait()
            self._full = anyio.Event()
            # Whoever records next is told.
            with suppress(StoreError):
                await self._take_over(self._log.number - self._segments_left)

    async def _take_over(self, stop: int) -> None:
        try:
            await self._in_thread(self._bring_over, stop)
        except StoreError as error:
            self._log.refuse(error)
            raise

    def _bring_over(self, stop: int) -> None:
        """Bring into the database what the log has before the segment `stop`."""
        with self._taking_over:
            for number in range(self._journal.last_segment + 1, stop):
                self._journal.take_over(number)

    async def _read(
        self,
        function: Callable[[sqlite3.Connection, Unpack[ArgsT]], ReturnT],
        *args: *ArgsT,
    ) -> ReturnT:
        """What a function makes of one state of the database."""

        def reading() -> ReturnT:
            with self._running, store_errors(self._files.main):
                if self._reader is None:
                    raise unusable(self._files.main, "it is closed")
                with snapshot(self._reader):
                    return function(self._reader, *args)

        return await self._in_thread(reading)

    async def _in_thread(
        self, function: Callable[[Unpack[ArgsT]], ReturnT], *args: *ArgsT
    ) -> ReturnT:
        # A limiter of its own: busy threads elsewhere must not hold this up.
        return await anyio.to_thread.run_sync(function, *args, limiter=self._limiter)


def open_ledger(
    path: Path,
    work: WorkIdentity,
    *,
    mode: OpenMode = OpenMode.RESUME,
    segments_left: int = _SEGMENTS_LEFT,
) -> AbstractAsyncContextManager[Ledger]:
    """Create a ledger, or go on with the one that is there.

    While it is open its files are `path` and, beside it, `path` with `-wal`,
    `-shm`, `-rows`, `-digests` and `-lock` appended. Everything recorded before the
    context is left is committed, also when it is left by an error or cancelled.

    Args:
        path: The ledger's file; its folder must exist.
        work: What the outcomes belong to.
        mode: What becomes of outcomes that are there.
        segments_left: Most full segments of the log, of 4 MiB each, that wait for a
            `flush` or the next opening; older ones are taken over in the background.

    Cancellation: cannot be cancelled while it is being opened or closed.

    Raises:
        WorkChangedError: The ledger belongs to other work.
        StoreInUseError: Another run has it open.
        StoreDamagedError: It is damaged.
        StoreError: It cannot be used: no ledger, of a newer format, no access; or
            on leaving: something recorded could not be written.
    """
    return Ledger(path, segments_left=segments_left).opened(work, mode)
