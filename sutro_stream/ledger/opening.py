"""What happens to a ledger when a run opens it: whose is it, and what is kept."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum

from sutro_stream.errors import WorkChangedError
from sutro_stream.ledger.counting import Totals, count, in_flight_calls
from sutro_stream.ledger.database import (
    Files,
    connect,
    is_ledger,
    no_ledger,
    store_errors,
)
from sutro_stream.ledger.identity import WorkIdentity
from sutro_stream.version import __version__


class OpenMode(StrEnum):
    """What becomes of outcomes that a ledger already holds."""

    RESUME = "resume"
    """All are kept."""
    RESTART = "restart"
    """All are forgotten, whatever work they belong to."""
    RETRY_FAILED = "retry_failed"
    """Answers are kept, failures are forgotten and so asked again."""


def open_database(
    files: Files, work: WorkIdentity, mode: OpenMode
) -> sqlite3.Connection:
    """Create the ledger or find it; the lock is held.

    Returns:
        The connection to write to.

    Raises:
        WorkChangedError: It belongs to other work.
        StoreError: It cannot be used.
    """
    found = is_ledger(files.main)
    if found is False:
        raise no_ledger(files.main)
    if found and mode is OpenMode.RESTART:
        files.remove()
        found = None
    if found is None:
        files.create(work.parts)
    connection = connect(files.main, writes=True)
    try:
        with store_errors(files.main):
            _check_work(connection, files, work)
    except BaseException:
        connection.close()
        raise
    return connection


def begin_run(
    connection: sqlite3.Connection, totals: Totals, *, mode: OpenMode
) -> Totals:
    """Enter a new run, in a transaction of the caller.

    Args:
        connection: To write to.
        totals: What the ledger holds.
        mode: What becomes of it.

    Returns:
        What it holds then.
    """
    is_changed = _settle(connection)
    kept = totals.rows
    if mode is OpenMode.RETRY_FAILED and totals.failed:
        _forget_failures(connection)
        kept -= totals.failed.total()
        is_changed = True
    connection.execute(
        "INSERT INTO runs (opened_at, version, mode, kept) VALUES (?, ?, ?, ?)",
        (now(), __version__, mode, kept),
    )
    return count(connection) if is_changed else replace(totals, kept=kept)


def work_of(connection: sqlite3.Connection) -> WorkIdentity:
    """The work a ledger belongs to."""
    found = connection.execute("SELECT name, value FROM work ORDER BY rowid")
    return WorkIdentity(parts=dict(found.fetchall()))


def now() -> str:
    """The time as it is stored."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _check_work(
    connection: sqlite3.Connection, files: Files, work: WorkIdentity
) -> None:
    differences = work.differences(work_of(connection))
    if differences:
        verb = "differ" if len(differences) > 1 else "differs"
        message = (
            f"the ledger {files.main} belongs to other work: "
            f"{', '.join(differences)} {verb}; run what it was begun with, or start "
            "afresh with --restart, which forgets what has been answered"
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


def _forget_failures(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO spent SELECT idx, attempts, max(attempts - 1, 0), input_tokens,"
        " output_tokens FROM rows WHERE kind IS NOT NULL AND attempts > 0"
        " ON CONFLICT (idx) DO UPDATE SET"
        " attempts = attempts + excluded.attempts,"
        " retries = retries + excluded.retries,"
        " input_tokens = input_tokens + excluded.input_tokens,"
        " output_tokens = output_tokens + excluded.output_tokens"
    )
    connection.execute("DELETE FROM rows WHERE kind IS NOT NULL")
    connection.execute(
        "UPDATE state SET (row_count, index_sum) ="
        " (SELECT count(*), coalesce(sum(idx), 0) FROM rows)"
    )
