"""What happens to a ledger when a run opens it: whose is it, and what is kept."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from sutro_stream.errors import WorkChangedError
from sutro_stream.ledger.counting import Totals, count, in_flight_calls
from sutro_stream.ledger.database import (
    Files,
    connect,
    is_ledger,
    no_ledger,
    store_errors,
    transaction,
)
from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.ledger.lock import locked
from sutro_stream.values.outcomes import TRANSPORT_FAILURES, ErrorKind
from sutro_stream.version import __version__

# What ledgers have beside outcomes; those of earlier versions get it when opened.
_LATER_TABLES = """
CREATE TABLE IF NOT EXISTS notes (        -- of damage, and of the output
    name TEXT NOT NULL,
    value TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS reusable (     -- answers of rows of another input
    digest INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS reusable_prompts ON reusable (digest, idx);
"""


class OpenMode(StrEnum):
    """What becomes of outcomes that a ledger already holds."""

    RESUME = "resume"
    """Answers are kept, and failures; those by transport are asked again."""
    RESTART = "restart"
    """All are forgotten, whatever work they belong to."""
    RETRY_FAILED = "retry_failed"
    """Answers are kept, failures are forgotten and so asked again."""
    REUSE = "reuse"
    """The input may be another one: rows with a prompt that was answered keep the
    answer, wherever they stand now; all others are asked, failures again."""


def open_database(
    files: Files, work: WorkIdentity, mode: OpenMode
) -> sqlite3.Connection:
    """A connection to write to a ledger that is created or found; the lock is held.

    Raises:
        WorkChangedError: It belongs to other work.
        StoreError: It cannot be used.
    """
    if files.gone.exists():
        files.remove()
    found = is_ledger(files.main)
    if found is False:
        raise no_ledger(files.main)
    if mode is OpenMode.RESTART:
        files.remove()
        found = None
    if found is None:
        files.create(work.parts)
    connection = connect(files.main, writes=True)
    try:
        with store_errors(files.main):
            _check_work(connection, files, work, mode)
            with transaction(connection):
                for statement in _LATER_TABLES.strip().split(";\n"):
                    connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


def begin_run(
    connection: sqlite3.Connection,
    totals: Totals,
    *,
    work: WorkIdentity,
    mode: OpenMode,
) -> Totals:
    """Enter a new run, in a transaction of the caller; what the ledger holds then."""
    is_changed = _settle(connection)
    kept = totals.rows
    forgotten = totals.failed
    if mode is not OpenMode.RETRY_FAILED:
        forgotten = Counter(
            {kind: totals.failed[kind] for kind in TRANSPORT_FAILURES & {*forgotten}}
        )
    if mode is OpenMode.REUSE:
        _make_reusable(connection, work)
        kept, is_changed = 0, True
    elif forgotten:
        _forget_failures(connection, [*forgotten])
        kept -= forgotten.total()
        is_changed = True
    connection.execute(
        "INSERT INTO runs (opened_at, version, mode, kept) VALUES (?, ?, ?, ?)",
        (now(), __version__, mode, kept),
    )
    return count(connection) if is_changed else replace(totals, kept=kept)


def sweep(path: Path) -> None:
    """Remove a ledger, all of it, or what a killed process has left of it. Blocking.

    Raises:
        StoreInUseError: A run has it open.
        StoreError: Something cannot be removed.
    """
    files = Files(path)
    with locked(files.lock, ledger=files.main):
        files.remove()


def work_of(connection: sqlite3.Connection) -> WorkIdentity:
    """The work a ledger belongs to."""
    found = connection.execute("SELECT name, value FROM work ORDER BY rowid")
    return WorkIdentity(parts=dict(found.fetchall()))


def now() -> str:
    """The time as it is stored."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _check_work(
    connection: sqlite3.Connection, files: Files, work: WorkIdentity, mode: OpenMode
) -> None:
    differences = work.differences(work_of(connection))
    if mode is OpenMode.REUSE:
        differences = tuple(name for name in differences if name != "input")
    if differences:
        verb = "differ" if len(differences) > 1 else "differs"
        ways = "run what it was begun with, or start afresh with --restart, which"
        if differences == ("input",):
            ways = (
                "restore the input, keep the answers of rows whose prompt is the same "
                "with --reuse, or start afresh with --restart, which"
            )
        message = (
            f"the ledger {files.main} belongs to other work: "
            f"{', '.join(differences)} {verb}; {ways} forgets what has been answered"
        )
        raise WorkChangedError(message, differences=differences)


def _settle(connection: sqlite3.Connection) -> bool:
    """Write off what earlier runs asked and did not live to hear, if anything."""
    (in_flight,) = connection.execute("SELECT in_flight FROM state").fetchone()
    calls = in_flight_calls(in_flight)
    connection.executemany(
        "INSERT INTO spent VALUES (?, ?, ?, 0, 0) ON CONFLICT (idx) DO UPDATE SET"
        " attempts = attempts + excluded.attempts,"
        " retries = retries + excluded.retries",
        [(index, count, count - 1) for index, count in calls.items()],
    )
    connection.execute("UPDATE state SET in_flight = x''")
    return bool(calls)


def _forget_failures(
    connection: sqlite3.Connection, kinds: Sequence[ErrorKind]
) -> None:
    condition = f"kind IN ({','.join('?' * len(kinds))})"
    connection.execute(
        "INSERT INTO spent SELECT idx, attempts, max(attempts - 1, 0), input_tokens,"  # noqa: S608
        f" output_tokens FROM rows WHERE {condition} AND attempts > 0"
        " ON CONFLICT (idx) DO UPDATE SET"
        " attempts = attempts + excluded.attempts,"
        " retries = retries + excluded.retries,"
        " input_tokens = input_tokens + excluded.input_tokens,"
        " output_tokens = output_tokens + excluded.output_tokens",
        kinds,
    )
    connection.execute(f"DELETE FROM rows WHERE {condition}", kinds)  # noqa: S608
    connection.execute(
        "UPDATE state SET (row_count, index_sum) ="
        " (SELECT count(*), coalesce(sum(idx), 0) FROM rows)"
    )


def _make_reusable(connection: sqlite3.Connection, work: WorkIdentity) -> None:
    """Keep answers by their prompts alone, and begin with the rows of `work`."""
    connection.execute(
        "INSERT OR REPLACE INTO reusable SELECT digest, idx, checksum, body FROM rows"
        " WHERE kind IS NULL AND leader IS NULL ORDER BY digest, idx"
    )
    # What was spent is no longer that of a row: it is kept under one there is not.
    columns = "attempts, {} AS retries, input_tokens, output_tokens FROM"
    sums = connection.execute(
        "SELECT sum(attempts), sum(retries), sum(input_tokens), sum(output_tokens)"  # noqa: S608
        f" FROM (SELECT {columns.format('retries')} spent UNION ALL"
        f" SELECT {columns.format('max(attempts - 1, 0)')} rows)"
    ).fetchone()
    for table in ("rows", "frames", "spent", "work"):
        connection.execute(f"DELETE FROM {table}")  # noqa: S608
    if sums[0]:
        connection.execute("INSERT INTO spent VALUES (-1, ?, ?, ?, ?)", sums)
    connection.execute("UPDATE state SET row_count = 0, index_sum = 0")
    connection.executemany("INSERT INTO work VALUES (?, ?)", work.parts.items())
