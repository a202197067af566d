"""The ledger of a run: outcomes recorded as they come, and read back in order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

import anyio
import anyio.to_thread
import pyarrow as pa

from sutro_stream.errors import StoreError
from sutro_stream.flow.groups import single_error
from sutro_stream.flow.outcome_store import KnownRow
from sutro_stream.ledger.database import unusable
from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.ledger.opening import OpenMode
from sutro_stream.ledger.store import Store
from sutro_stream.ledger.summary import LedgerStatistics
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
# Reading, spooling and finding leaders do not wait for one another.
_THREADS = 4


class Ledger:
    """An opened ledger; satisfies `OutcomeStore`.

    Concurrency: one event loop, any number of tasks; `spool` and `leaders` each
    from one at a time.

    Attributes:
        kept: Rows that had an outcome when the ledger was opened.
        is_new: Whether no run has had it open before.
        has_reusable: Whether it has answers from an input before; see
            `OpenMode.REUSE`.
    """

    def __init__(self, store: Store, *, segments_left: int) -> None:
        self._store = store
        self._segments_left = segments_left
        self._log = store.log
        self._spooled = store.spooled
        self._limiter = anyio.CapacityLimiter(_THREADS)
        self._full = anyio.Event()
        self._is_done_with = False
        self._stays = False
        self.kept = store.journal.totals.rows
        self.is_new = store.is_new
        self.has_reusable = store.has_reusable

    @property
    def is_done_with(self) -> bool:
        """Whether its files go when the context is left."""
        return self._is_done_with

    @property
    def is_left(self) -> bool:
        """Whether it stays even if nothing is in it; see `finish` and `stay`."""
        return self._store.leaves_log or self._stays

    def stay(self) -> None:
        """Say that the run is to be gone on with, whether anything is kept or not."""
        self._stays = True

    async def known(self, first_index: int, count: int) -> Mapping[int, KnownRow]:
        """Outcomes of the `count` rows from `first_index` on, by index.

        Those of earlier runs, and those of this one as far as they were there at
        the last `flush`. Takes no time ahead of all these rows.

        Raises:
            StoreError: The ledger cannot be read, or is damaged.
        """
        if first_index > self._store.journal.totals.highest:
            return {}
        return await self._in_thread(self._store.known, first_index, count)

    async def reusable(self, digests: Mapping[int, int]) -> Mapping[int, Outcome]:
        """See `OutcomeStore` and `OpenMode.REUSE`; they are not recorded yet.

        Raises:
            StoreError: The ledger cannot be read, or is damaged.
        """
        return await self._in_thread(self._store.reusable, digests)

    def asked(self, index: int) -> None:
        """Count a request that goes out for a row, before its outcome is known.

        Optional. What was asked and never recorded, because the process died, is
        counted as a call by the next opening, and its row as one asked again.

        Raises:
            StoreError: It could not be written, or an earlier record could not.
        """
        self._log.asked(index)

    def record(
        self, index: int, digest: int, outcome: Outcome, *, leader: int | None = None
    ) -> None:
        """Remember what became of a row; it survives `kill -9` when this returns.

        A row that has an outcome keeps it: what is recorded first stays. Takes some
        four microseconds, of which half a one is for writing to the system's cache.

        Args:
            index: 0-based index of the row.
            digest: Of its prompt, at least 0 and below 2**63; any for a row
                without one.
            outcome: All of it is kept. With a `leader`, its `attempts` are.
            leader: Index of a row of the same prompt that was recorded before,
                without a leader: its outcome is shared and not stored twice.
                `None` for a row that has its own.

        Raises:
            StoreError: It could not be written, a full disk for example, or an
                earlier record could not.
        """
        log = self._log
        log.record(index, digest, outcome, leader)
        if log.is_full:
            log.rotate()
            self._full.set()

    async def flush(self) -> None:
        """Bring what was recorded so far from the log into the database.

        For those who want to read it; nothing is lost without.

        Raises:
            StoreError: It could not be written there, or recording failed before.
        """
        self._log.check()
        self._log.rotate()
        await self._take_over(self._log.number)

    async def spool(self, first_index: int, records: pa.RecordBatch) -> None:
        """Keep input columns for the output; call it before its rows are asked.

        Rows come in order and without gaps; what an earlier run kept is skipped.

        Cancellation: the rows may or may not have been kept, and can come again.

        Raises:
            StoreError: It could not be written, or does not follow what is there.
        """
        self._log.check()
        overlap = self._spooled - first_index
        if overlap < 0:
            reason = f"input rows {self._spooled} to {first_index - 1} were left out"
            raise unusable(self._store.files.main, reason)
        rest = records.slice(overlap)
        if rest.num_rows:
            frame = await self._in_thread(self._store.spool, self._spooled, rest)
            self._log.spooled(frame)
            self._spooled += rest.num_rows

    async def leaders(
        self, first_index: int, digests: Sequence[int | None]
    ) -> Sequence[int]:
        """See `OutcomeStore`; asking twice changes nothing.

        A later run knows the rows that have an outcome, and of the others those it
        has been asked about itself.

        Raises:
            StoreError: The ledger cannot be used.
        """
        self._log.check()
        return await self._in_thread(self._store.leaders, first_index, digests)

    async def batches(
        self, *, rows: int, span: range | None = None
    ) -> AsyncIterator[tuple[int, pa.RecordBatch, Sequence[Outcome]]]:
        """What was spooled, in order, with the outcomes of exactly these rows.

        A row that shares an outcome has its own `attempts`, and else an equal one.

        Args:
            rows: How many at a time.
            span: Indices of the rows, consecutive; `None` for all that are spooled.

        Yields:
            Index of the first row, input columns, outcomes: about `rows` rows, or
            fewer where they are large.

        Raises:
            StoreError: A row has no outcome, or the ledger is damaged.
        """
        await self.flush()
        replay = self._store.replay(
            range(self._spooled) if span is None else span, rows=max(rows, 1)
        )
        while chunk := await self._in_thread(self._store.next_chunk, replay):
            yield chunk

    def statistics(self) -> LedgerStatistics:
        """Counters over all runs, as they were at the last `flush` or later."""
        return self._store.journal.totals.statistics()

    async def note_output(self, identity: str) -> None:
        """Note which file is about to take the place of the output.

        A later run can tell by it whether the output that it finds is this one.

        Raises:
            StoreError: It could not be written.
        """
        await self._in_thread(self._store.journal.note_output, identity)

    async def finish(self, *, remove: bool = True, leave_log: bool = False) -> None:
        """Say that the output is complete and in place; nothing may follow.

        Args:
            remove: Whether the ledger's files go when the context is left. What only
                the log has by then is not brought into the database any more.
            leave_log: Whether that is so as well where the files stay: for those who
                will remove them soon. The next opening, should there be one, does it.

        Raises:
            StoreError: Something recorded could not be written.
        """
        if remove or leave_log:
            self._log.check()
            self._store.leaves_log = leave_log
        else:
            await self.flush()
            await self._in_thread(self._store.journal.finish)
        self._is_done_with = remove

    async def keep_up(self) -> None:
        """Have all but the newest segments of the log taken over, until cancelled."""
        while True:
            await self._full.wait()
            self._full = anyio.Event()
            # Whoever records next is told.
            with suppress(StoreError):
                await self._take_over(self._log.number - self._segments_left)

    async def _take_over(self, stop: int) -> None:
        try:
            await self._in_thread(self._store.take_over, stop)
        except StoreError as error:
            self._log.refuse(error)
            raise

    async def _in_thread(
        self, function: Callable[[Unpack[ArgsT]], ReturnT], *args: *ArgsT
    ) -> ReturnT:
        # A limiter of its own: busy threads elsewhere must not hold this up.
        return await anyio.to_thread.run_sync(function, *args, limiter=self._limiter)


@asynccontextmanager
async def open_ledger(
    path: Path,
    work: WorkIdentity,
    *,
    mode: OpenMode = OpenMode.RESUME,
    segments_left: int = _SEGMENTS_LEFT,
) -> AsyncIterator[Ledger]:
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
    store = Store(path)
    ledger: Ledger | None = None
    try:
        await anyio.to_thread.run_sync(store.open, work, mode)
        ledger = Ledger(store, segments_left=segments_left)
        with single_error():
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ledger.keep_up)
                try:
                    yield ledger
                finally:
                    tasks.cancel_scope.cancel()
        store.log.check()
    finally:
        await _close(store, remove=ledger is not None and ledger.is_done_with)


async def _close(store: Store, *, remove: bool) -> None:
    try:
        with anyio.move_on_after(_CLOSE_LIMIT_S, shield=True):
            await anyio.to_thread.run_sync(
                partial(store.close, remove=remove),
                abandon_on_cancel=True,
                limiter=anyio.CapacityLimiter(1),
            )
    finally:
        # Cancelled twice from outside anyio, it may not even have begun.
        if not store.is_closing:
            store.close(remove=remove)
