"""Looking at a ledger without changing it."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import orjson

from sutro_stream.errors import ConfigurationError, SourceError, StoreError
from sutro_stream.ledger.additions import OUTPUT, notes
from sutro_stream.ledger.counting import Totals, count, in_flight_calls
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
from sutro_stream.ledger.reading import read_rows
from sutro_stream.ledger.segments import (
    Chunk,
    damage,
    missing_segments,
    read_segment,
    spent_before,
)
from sutro_stream.ledger.summary import LedgerRun, LedgerSummary
from sutro_stream.values.file_identity import file_identity
from sutro_stream.values.outcomes import Outcome

_CHUNK_ROWS = 1_024
_CHUNK_BYTES = 8 << 20
_MAX_LINES = 20


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
            size_bytes=files.size_bytes(),
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
    problems = _Problems()
    with closing(connect_to_look(files)) as connection:
        with store_errors(files.main):
            connection.execute("BEGIN")
        try:
            with closing(read()) as cells:
                recorded = _recorded(connection, files.main)
                vectors = work_of(connection).parts.get("answers") == "vectors"
                _compare(recorded, cells, problems, vectors=vectors)
        except SourceError as error:
            problems.add(str(error))
    return problems.lines


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

    Args:
        files: The ledger's.
        segments: Those opened.
        last: `None` where that cannot be known.
        is_writing: Whether a run adds to the log meanwhile.
        damages: Gets a text for each damaged part.
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


@dataclass(slots=True)
class _Problems:
    lines: list[str] = field(default_factory=list)
    left_out: int = 0

    def add(self, line: str) -> None:
        if len(self.lines) < _MAX_LINES:
            self.lines.append(line)
            return
        if self.left_out:
            self.lines.pop()
        self.left_out += 1
        self.lines.append(f"and {self.left_out} more")


def _compare(
    recorded: Iterator[tuple[int, Outcome]],
    found: Iterator[Cells],
    problems: _Problems,
    *,
    vectors: bool,
) -> None:
    rows = outcomes = 0
    pending = next(recorded, None)
    for rows, cells in enumerate(found, 1):
        if pending is None:
            continue
        index, outcome = pending
        if index > rows - 1:
            problems.add(f"row {rows - 1}: has no outcome in the ledger")
            continue
        text = None if outcome.answer is None else outcome.answer.text
        is_same = _is_vector(cells[0], outcome) if vectors else cells[0] == text
        error = None if outcome.error is None else str(outcome.error)
        if not is_same:
            problems.add(f"row {index}: the output is not the recorded answer")
        if cells[1] != error:
            problems.add(f"row {index}: the error is not the recorded one")
        outcomes += 1
        pending = next(recorded, None)
    if pending is not None:
        outcomes += 1 + sum(1 for _ in recorded)
    if rows != outcomes:
        problems.add(f"the file has {rows} rows, the ledger {outcomes}")


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
        (last,) = connection.execute("SELECT max(idx) FROM rows").fetchone()
        at = 0
        while last is not None and at <= last:
            rows = read_rows(connection, at, at + _CHUNK_ROWS, max_bytes=_CHUNK_BYTES)
            for index, row in rows.items():
                yield index, row.outcome
            # What a limit in bytes cut off is read next.
            at = max(rows) + 1 if rows else at + _CHUNK_ROWS


def _runs(connection: sqlite3.Connection) -> tuple[LedgerRun, ...]:
    found = connection.execute(
        "SELECT opened_at, closed_at, version, mode, kept FROM runs ORDER BY id"
    )
    return tuple(
        LedgerRun(
            opened_at=datetime.fromisoformat(opened_at),
            closed_at=None if closed_at is None else datetime.fromisoformat(closed_at),
            version=version,
            mode=mode,
            kept=kept_rows,
        )
        for opened_at, closed_at, version, mode, kept_rows in found
    )


def _is_finished(connection: sqlite3.Connection) -> bool:
    last = connection.execute(
        "SELECT finished_at FROM runs ORDER BY id DESC LIMIT 1"
    ).fetchone()
    return last is not None and last[0] is not None
