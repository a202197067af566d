"""What is whole of a ledger, copied out of it, and what is not, told."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from itertools import islice

from sutro_stream.errors import StoreError
from sutro_stream.ledger.counting import Record
from sutro_stream.ledger.database import Files, connect_to_look, no_ledger_at
from sutro_stream.ledger.encoding import checksum
from sutro_stream.ledger.inspection import open_segments, read_left
from sutro_stream.ledger.lock import is_locked
from sutro_stream.ledger.spool import Spool, enlist, listed_frames
from sutro_stream.ledger.statements import insert_many

_CHUNK_ROWS = 1_024
# Each is a query that fails: about a second of them.
_MOST_FAILURES = 20_000
# Where to stop looking when nothing tells how many rows there are.
_MOST_ROWS = 1 << 40


def salvage(files: Files, copy: sqlite3.Connection) -> list[str]:
    """Copy outcomes, and where input rows lie, as far as they are what was written.

    Blocking; changes nothing in the ledger, and can be done beside a writing run. Any
    of its files may be missing; `copy` is an empty ledger.

    Returns:
        What could not be read, for people.

    Raises:
        StoreError: There is neither a database nor a log.
    """
    damages: list[str] = []
    last: int | None = None
    is_writing = is_locked(files.lock)
    with ExitStack() as stack:
        segments = open_segments(files, stack)
        if not segments and not files.main.exists():
            raise no_ledger_at(files.main)
        if files.main.exists():
            try:
                source = stack.enter_context(closing(connect_to_look(files)))
                source.execute("BEGIN")
                last = _copy_database(files, source, copy, damages)
            except (StoreError, sqlite3.Error) as error:
                damages.append(f"{files.main.name} cannot be read ({error})")
        else:
            damages.append(f"{files.main.name} is missing; its log is read alone")
        (highest,) = copy.execute("SELECT coalesce(max(idx), -1) FROM rows").fetchone()
        for chunk in read_left(
            files, segments, last=last, is_writing=is_writing, damages=damages
        ):
            new = chunk.new_records(copy, highest=highest)
            insert_many(copy, "INSERT INTO rows", [*new.values()])
            enlist(copy, chunk.frames)
            highest = max(highest, *new, -1)
    if files.main.with_name(f"{files.main.name}-results").is_dir():
        damages.append(
            f"answers of a deployment's jobs lie in {files.main.name}-results and are "
            "left out; give the run's command again to get them"
        )
    orphans = copy.execute(
        "DELETE FROM rows WHERE leader IS NOT NULL"
        " AND leader NOT IN (SELECT idx FROM rows)"
    ).rowcount
    if orphans:
        damages.append(f"{orphans:,} rows shared an answer that cannot be read")
    return damages


def drop_unreadable(copy: sqlite3.Connection, spool: Spool, damages: list[str]) -> None:
    """Forget frames of input rows that are not what was written."""
    schema = None
    for frame in listed_frames(copy):
        try:
            found = spool.read(frame).schema
            schema = schema or found
            if found.equals(schema):
                continue
        except StoreError:
            pass
        copy.execute("DELETE FROM frames WHERE first_index = ?", (frame.first_index,))
        first, last = frame.first_index, frame.first_index + frame.rows - 1
        damages.append(f"rows {first:,} to {last:,} have no readable input columns")


def _copy_database(
    files: Files,
    source: sqlite3.Connection,
    copy: sqlite3.Connection,
    damages: list[str],
) -> int | None:
    """Copy what the database has; the number of the last segment it took over."""
    expected, last = None, None
    try:
        expected, last = source.execute(
            "SELECT row_count, segment FROM state"
        ).fetchone()
    except (sqlite3.Error, TypeError) as error:
        damages.append(f"{files.main.name}: its state cannot be read ({error})")
    try:
        enlist(copy, [*listed_frames(source)])
    except (sqlite3.Error, ValueError, TypeError) as error:
        damages.append(f"{files.main.name}: no list of input rows ({error})")
    lost: list[int] = []
    rows, copied = _sound_rows(source, _bound(source, copy, expected), lost), 0
    while chunk := list(islice(rows, _CHUNK_ROWS)):
        insert_many(copy, "INSERT OR IGNORE INTO rows", chunk)
        copied += len(chunk)
    count = "some" if expected is None else f"{max(expected - copied, 0):,}"
    told = f"{files.main.name}: {count} of its outcomes"
    if lost:
        damages.append(f"{told} cannot be read, near row {lost[0]:,}")
    elif expected is not None and copied != expected:
        damages.append(f"{told} are missing")
    return last


def _bound(
    source: sqlite3.Connection, copy: sqlite3.Connection, expected: int | None
) -> int:
    """An index behind all rows."""
    with suppress(sqlite3.Error):
        (highest,) = source.execute("SELECT max(idx) FROM rows").fetchone()
        return 0 if highest is None else int(highest) + 1
    (end,) = copy.execute("SELECT max(first_index + rows) FROM frames").fetchone()
    return max(end or 0, expected or 0) or _MOST_ROWS


def _sound_rows(
    source: sqlite3.Connection, bound: int, lost: list[int]
) -> Iterator[Record]:
    """Rows below an index that are what was written, about in order.

    Some pages may be damaged; `lost` gets about where something could not be read.
    """
    spans = [range(bound)]
    while spans and len(lost) < _MOST_FAILURES:
        span = spans.pop()
        at = span.start
        try:
            for row in source.execute(
                "SELECT * FROM rows WHERE idx >= ? AND idx < ? ORDER BY idx",
                (span.start, span.stop),
            ):
                at = row[0] + 1
                record = Record(*row)
                if _is_sound(record):
                    yield record
                else:
                    lost.append(record.row)
        except sqlite3.Error:
            lost.append(at)
            # What lies behind the damage is found from its middle on.
            middle = (at + span.stop) // 2
            if middle > at:
                spans += [range(middle, span.stop), range(at, middle)]


def _is_sound(record: Record) -> bool:
    try:
        return checksum(record.row, record.digest, record.body) == record.checksum
    except TypeError:
        return False
