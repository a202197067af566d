"""Looking at a ledger without changing it."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

import orjson

from sutro_stream.errors import ConfigurationError, SourceError, StoreError
from sutro_stream.ledger.counting import (
    OUTPUT,
    LedgerStatistics,
    Totals,
    count,
    in_flight_calls,
    notes,
)
from sutro_stream.ledger.database import (
    Files,
    connect,
    connect_to_look,
    snapshot,
    store_errors,
)
from sutro_stream.ledger.lock import is_locked
from sutro_stream.ledger.opening import work_of
from sutro_stream.ledger.output import Cells, output_reader
from sutro_stream.ledger.reading import read_portions
from sutro_stream.ledger.segments import (
    Chunk,
    damage,
    missing_segments,
    read_segment,
    spent_before,
)
from sutro_stream.values.file_identity import file_identity
from sutro_stream.values.outcomes import Outcome

_MAX_LINES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRun:
    """One opening of a ledger.

    Attributes:
        opened_at: When it was opened, in UTC.
        closed_at: When it was left, `None` if it was killed or is still writing.
        mode: How it was opened, as in `OpenMode`.
        kept: Rows that had an outcome then.
    """

    opened_at: datetime
    closed_at: datetime | None
    mode: str
    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSummary:
    """A ledger as it lies on the disk.

    Attributes:
        parts: The work it is bound to.
        statistics: Its counters.
        runs: Its openings, oldest first.
        spooled_rows: Input rows kept for the output.
        is_finished: Whether the output is complete and in place.
        is_writing: Whether a run has it open at the moment.
        damages: Where what was written could not be read any more, for people.
    """

    parts: Mapping[str, str]
    statistics: LedgerStatistics
    runs: tuple[LedgerRun, ...]
    spooled_rows: int
    is_finished: bool
    is_writing: bool
    damages: tuple[str, ...] = ()


def inspect(path: Path) -> LedgerSummary:
    """What a ledger holds; also beside a running writer, and after a crash.

    Blocking; changes nothing in it.

    Raises:
        StoreError: There is no ledger, or it cannot be read.
    """
    files = Files(path)
    is_writing = is_locked(files.lock)
    with (
        closing(connect_to_look(files)) as connection,
        store_errors(files.main),
        ExitStack() as stack,
    ):
        # Opened before the database is read: what is taken over meanwhile can
        # then be told by its number.
        segments = open_segments(files, stack)
        stack.enter_context(snapshot(connection))
        totals, spooled_rows = _with_log(
            connection, files, segments, is_writing=is_writing
        )
        return LedgerSummary(
            parts=work_of(connection).parts,
            statistics=totals.statistics(),
            runs=_runs(connection),
            spooled_rows=spooled_rows,
            is_finished=_is_finished(connection),
            is_writing=is_writing,
            damages=totals.damages,
        )


def made_output(path: Path, output: Path) -> bool:
    """Whether a file is the output that was made from a ledger, and was not changed.

    Blocking. For a ledger of a version that did not note its output, the file is
    compared with it.
    """
    files = Files(path)
    with suppress(StoreError, ConfigurationError, OSError):
        identity = file_identity(output)
        is_there = files.main.exists()
        with (
            closing(
                connect_to_look(files) if is_there else connect(files.gone, writes=True)
            ) as connection,
            store_errors(files.main),
        ):
            noted = notes(connection, OUTPUT)
            is_old = not noted and _is_finished(connection)
        return identity in noted or (is_old and not verify(path, output))
    return False


def verify(path: Path, output: Path) -> list[str]:
    """Compare a finished output file with the ledger it was made from.

    Blocking; memory does not grow with the rows. Row count, output texts and
    errors are compared.

    Args:
        path: The ledger.
        output: A Parquet, CSV or JSON Lines file, known by its suffix.

    Returns:
        One line for each problem, at most some dozen; empty when they agree. They
        name rows and do not show what is in them.

    Raises:
        ConfigurationError: The format is not known by the suffix.
        StoreError: The ledger cannot be read, or is damaged.
    """
    read = output_reader(output)
    files = Files(path)
    with closing(connect_to_look(files)) as connection:
        with store_errors(files.main):
            connection.execute("BEGIN")
        with closing(read()) as cells:
            recorded = _recorded(connection, files.main)
            vectors = work_of(connection).parts.get("answers") == "vectors"
            problems = _problems(recorded, cells, vectors=vectors)
            lines = [*islice(problems, _MAX_LINES)]
            left_out = sum(1 for _ in problems)
    return [*lines, f"and {left_out} more"] if left_out else lines


def open_segments(files: Files, stack: ExitStack) -> list[tuple[int, IO[bytes]]]:
    """The parts of the log that are there, by their numbers."""
    segments: list[tuple[int, IO[bytes]]] = []
    for number in files.segments():
        with suppress(FileNotFoundError):
            file = files.segment(number).open("rb")
            segments.append((number, stack.enter_context(file)))
    return segments


def read_left(
    files: Files,
    segments: list[tuple[int, IO[bytes]]],
    *,
    last: int | None,
    is_writing: bool,
    damages: list[str],
) -> Iterator[Chunk]:
    """What the log has that the database has not, whose last segment is `last`.

    That is `None` where it cannot be known. With `is_writing`, a run adds to the log
    meanwhile. `damages` gets a text for each damaged part.
    """
    for number, file in segments:
        if last is not None:
            if number <= last:
                continue
            damages += missing_segments(files, last, number)
        data = file.read()
        settled = len(data)
        if is_writing:
            # What was there at the first look is whole at the second.
            settled = len(data.rstrip(b"\0"))
            file.seek(0)
            data = file.read()
        lost: list[range] = []
        is_last = number == segments[-1][0]
        yield from read_segment(data, is_own=False, is_last=is_last, lost=lost)
        damages += [
            damage(files, number, part) for part in lost if part.start < settled
        ]
        last = number


def _with_log(
    connection: sqlite3.Connection,
    files: Files,
    segments: list[tuple[int, IO[bytes]]],
    *,
    is_writing: bool,
) -> tuple[Totals, int]:
    """What the database holds, and the log beside it; and the rows spooled."""
    totals = count(connection)
    highest = totals.highest
    last, blob = connection.execute("SELECT segment, in_flight FROM state").fetchone()
    (spooled,) = connection.execute(
        "SELECT max(first_index + rows) FROM frames"
    ).fetchone()
    spooled = spooled or 0
    in_flight = in_flight_calls(blob)
    seen: set[int] = set()
    damages: list[str] = []
    for chunk in read_left(
        files, segments, last=last, is_writing=is_writing, damages=damages
    ):
        ends = (frame.first_index + frame.rows for frame in chunk.frames)
        spooled = max(spooled, max(ends, default=0))
        found = chunk.new_records(connection, highest=highest, seen=seen)
        new = {row: found[row] for row in found.keys() - seen}
        chunk.count_requests(in_flight, new)
        totals.add([*new.values()], spent_before(connection, new))
        seen |= new.keys()
    totals.damages += tuple(damages)
    totals.in_flight = sum(in_flight.values())
    return totals, spooled


def _problems(
    recorded: Iterator[tuple[int, Outcome]], found: Iterator[Cells], *, vectors: bool
) -> Iterator[str]:
    rows = outcomes = 0
    pending = next(recorded, None)
    try:
        for rows, cells in enumerate(found, 1):
            if pending is None:
                continue
            index, outcome = pending
            if index > rows - 1:
                yield f"row {rows - 1}: has no outcome in the ledger"
                continue
            text = None if outcome.answer is None else outcome.answer.text
            error = None if outcome.error is None else str(outcome.error)
            is_same = _is_vector(cells[0], outcome) if vectors else cells[0] == text
            if not is_same:
                yield f"row {index}: the output is not the recorded answer"
            if cells[1] != error:
                yield f"row {index}: the error is not the recorded one"
            outcomes += 1
            pending = next(recorded, None)
    except SourceError as error:
        yield str(error)
        return
    if pending is not None:
        outcomes += 1 + sum(1 for _ in recorded)
    if rows != outcomes:
        yield f"the file has {rows} rows, the ledger {outcomes}"


def _is_vector(cell: Any, outcome: Outcome) -> bool:
    """Whether a cell is the vector of an outcome, in numbers of 32 bits."""
    found = orjson.loads(cell) if isinstance(cell, str) else cell
    vector = outcome.value
    if found is None or vector is None:
        return found is vector
    return array("f", found) == array("f", vector)


def _recorded(
    connection: sqlite3.Connection, path: Path
) -> Iterator[tuple[int, Outcome]]:
    """Every row that has an outcome, in order; few are in memory at once."""
    with store_errors(path):
        (stop,) = connection.execute("SELECT max(idx) + 1 FROM rows").fetchone()
        for known in read_portions(connection, 0, stop or 0):
            yield from ((index, row.outcome) for index, row in known.items())


def _runs(connection: sqlite3.Connection) -> tuple[LedgerRun, ...]:
    found = connection.execute(
        "SELECT opened_at, closed_at, mode, kept FROM runs ORDER BY id"
    )
    return tuple(
        LedgerRun(
            opened_at=datetime.fromisoformat(opened_at),
            closed_at=None if closed_at is None else datetime.fromisoformat(closed_at),
            mode=mode,
            kept=kept_rows,
        )
        for opened_at, closed_at, mode, kept_rows in found
    )


def _is_finished(connection: sqlite3.Connection) -> bool:
    last = connection.execute(
        "SELECT finished_at FROM runs ORDER BY id DESC LIMIT 1"
    ).fetchone()
    return last is not None and last[0] is not None
