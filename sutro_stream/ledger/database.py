"""The database file of a ledger: its form, its connections, its errors.

SQLite in WAL mode with `synchronous=NORMAL`: a transaction is whole or not there
after a crash of the process or of the machine, and is synced when the database's own
log is emptied, which happens after every segment that it takes over from ours (see
`log`). What a power cut takes is therefore the end of our log, the last moments.

The database has no checksums, so every row brings its own (`encoding.checksum`),
and the number of rows is kept beside them, as is the sum of their indices.
"""

from __future__ import annotations

import glob
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sutro_stream.errors import (
    StoreDamagedError,
    StoreError,
    SutroStreamError,
)

_LOG = logging.getLogger(__name__)

FORMAT = 1
_APPLICATION_ID = 0x5375_7472  # "Sutr", at byte 68 of the file
_MAGIC = b"SQLite format 3\0"

# Beside what the system caches; holds the pages that rows go to.
_CACHE_KIB = 8 * 1024
# Only somebody else's tool can make us wait: there is one writer.
_BUSY_MS = 10_000

_TABLES = """
CREATE TABLE work (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
CREATE TABLE state (
    row_count INTEGER NOT NULL,           -- of the table `rows`
    index_sum INTEGER NOT NULL,           -- of its column `idx`
    segment INTEGER NOT NULL,             -- of the log, the last taken over
    in_flight BLOB NOT NULL               -- rows asked without an outcome yet
);
INSERT INTO state VALUES (0, 0, 0, x'');
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    opened_at TEXT NOT NULL,
    closed_at TEXT,
    finished_at TEXT,
    version TEXT NOT NULL,
    mode TEXT NOT NULL,
    kept INTEGER NOT NULL
);
CREATE TABLE rows (
    idx INTEGER PRIMARY KEY,
    digest INTEGER NOT NULL,
    kind TEXT,                            -- of the error; null for an answer
    attempts INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    leader INTEGER,                       -- the row whose outcome this one shares
    checksum INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX failures ON rows (kind) WHERE kind IS NOT NULL;
CREATE TABLE spent (                      -- on outcomes forgotten or never recorded
    idx INTEGER PRIMARY KEY,
    attempts INTEGER NOT NULL,
    retries INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL
);
CREATE TABLE frames (                     -- of the file of input rows
    first_index INTEGER PRIMARY KEY,
    rows INTEGER NOT NULL,
    position INTEGER NOT NULL,
    length INTEGER NOT NULL,
    checksum INTEGER NOT NULL
);
"""


class Files:
    """Where the parts of one ledger lie.

    Attributes:
        main: The database.
        rows: Input rows kept for the output.
        digests: Prompts seen, for finding equal ones; rebuilt by every run.
        lock: Held by the run that writes.
        gone: The database while the ledger is being removed.
        wal: The database's own log: there while a run is on, or after it was killed.
    """

    def __init__(self, path: Path) -> None:
        # The same ledger under two names must have one lock.
        self.main = main = Path(os.path.realpath(path))
        self.rows = main.with_name(f"{main.name}-rows")
        self.digests = main.with_name(f"{main.name}-digests")
        self.lock = main.with_name(f"{main.name}-lock")
        self._segment = f"{main.name}-log-"
        self._new = main.with_name(f"{main.name}-new")
        self.gone = main.with_name(f"{main.name}-gone")
        self.wal = main.with_name(f"{main.name}-wal")
        self._shm = main.with_name(f"{main.name}-shm")

    def segment(self, number: int) -> Path:
        """A part of the log."""
        return self.main.with_name(f"{self._segment}{number:06d}")

    def segments(self) -> list[int]:
        """Numbers of the parts of the log that are there, in order."""
        found = self.main.parent.glob(f"{glob.escape(self._segment)}*")
        ends = (path.name.removeprefix(self._segment) for path in found)
        return sorted(int(end) for end in ends if end.isdecimal())

    def create(self, parts: Mapping[str, str]) -> None:
        """Put an empty ledger in place: whole, or not at all.

        Raises:
            StoreError: It cannot be made here.
        """
        with store_errors(self.main):
            if self.segments():
                raise self.headless()
            if self.rows.exists():
                _LOG.warning(
                    "the ledger %s is missing beside its other files: nothing is kept "
                    "of an earlier run, and a new one is begun",
                    self.main,
                )
            self._remove_parts()
            self._new.unlink(missing_ok=True)
            try:
                initialize(self._new, parts)
                self._new.replace(self.main)
            except BaseException:
                with suppress(OSError):
                    self._new.unlink(missing_ok=True)
                raise

    def remove(self) -> None:
        """Remove everything but the lock; goes on with what a killed process began."""
        self.retire()
        self.forget()

    def retire(self) -> None:
        """Remove everything but the lock and what tells that this was wanted."""
        with store_errors(self.main):
            # A log without a database is missed unless it is beside this.
            with suppress(FileNotFoundError):
                self.main.replace(self.gone)
            self._remove_parts()

    def forget(self) -> None:
        """Remove what `retire` leaves."""
        with store_errors(self.main):
            self.gone.unlink(missing_ok=True)

    def headless(self) -> StoreDamagedError:
        """The error for a log whose database is not there."""
        message = (
            f"the ledger {self.main} is missing, but its log is there "
            f"({self.segment(self.segments()[0]).name}): put the file back, or take "
            f"the answers out with 'sutro-stream ledger export {self.main} -o FILE'; "
            "--restart forgets them"
        )
        return StoreDamagedError(message, path=str(self.main))

    def _remove_parts(self) -> None:
        segments = map(self.segment, self.segments())
        for path in (self.rows, self.digests, self.wal, self._shm, *segments):
            path.unlink(missing_ok=True)


def is_ledger(path: Path) -> bool | None:
    """Whether the file at `path` is a ledger, `None` when there is nothing in it.

    Raises:
        StoreError: It cannot be read.
    """
    with store_errors(path):
        try:
            with path.open("rb") as file:
                head = file.read(72)
        except FileNotFoundError:
            return None
        if not head:
            return None
        identifier = int.from_bytes(head[68:72], "big")
        return head.startswith(_MAGIC) and identifier == _APPLICATION_ID


def connect_to_look(files: Files) -> sqlite3.Connection:
    """A connection for reading that leaves no file beside a ledger in good order.

    Raises:
        StoreError: There is no ledger, or it cannot be used.
    """
    # Only a connection that may write takes SQLite's own log away again on closing;
    # where there is one already, after a crash, everything stays as it is.
    connection = connect(files.main, writes=not files.wal.exists())
    connection.execute("PRAGMA query_only = ON")
    return connection


def connect(path: Path, *, writes: bool) -> sqlite3.Connection:
    """A connection to the ledger at `path`, for one thread at a time.

    Raises:
        StoreError: There is no ledger, or it cannot be used.
    """
    with store_errors(path):
        found = is_ledger(path)
        if found is None:
            if (files := Files(path)).segments():
                raise files.headless()
            raise no_ledger_at(path)
        if not found:
            raise no_ledger(path)
        connection = _connection(path, "rw" if writes else "ro")
        try:
            if writes:
                connection.execute("PRAGMA synchronous = NORMAL")
            _check_format(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is written inside, or nothing of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After a full disk it is rolled back already.
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """One state of the ledger for all that is read inside."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


@contextmanager
def store_errors(path: Path) -> Iterator[None]:
    """Our errors for those of SQLite, of the system, and of data out of shape."""
    try:
        yield
    except SutroStreamError:
        raise
    except sqlite3.Error as error:
        raise _translated(error, path) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise unusable(path, reason) from error
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise damaged(path, f"{type(error).__name__} on reading it") from error


def unusable(path: Path, reason: str) -> StoreError:
    """The error for a ledger that may be whole but cannot be used."""
    return StoreError(f"cannot use the ledger {path}: {reason}", path=str(path))


def no_ledger_at(path: Path) -> StoreError:
    """The error for a ledger that is not there."""
    return StoreError(f"there is no ledger at {path}", path=str(path))


def no_ledger(path: Path) -> StoreError:
    """The error for a file that is something else."""
    message = f"{path} is not a ledger; remove it, or choose another path for it"
    return StoreError(message, path=str(path))


def damaged(path: Path, reason: str) -> StoreDamagedError:
    """The error for a ledger that does not hold what was written."""
    message = (
        f"the ledger {path} is damaged ({reason}); "
        f"put a copy back, or take out what can be read with 'sutro-stream ledger "
        f"export {path} -o FILE' and start afresh with --restart"
    )
    return StoreDamagedError(message, path=str(path))


def initialize(path: Path, parts: Mapping[str, str]) -> None:
    """Make an empty ledger's database.

    Raises:
        StoreError: It cannot be made here.
    """
    with closing(_connection(path, "rwc")) as connection:
        with transaction(connection):
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            for statement in _TABLES.strip().split(";\n"):
                connection.execute(statement)
            connection.executemany("INSERT INTO work VALUES (?, ?)", parts.items())
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise unusable(path, "this file system does not allow it; use a local one")


def _connection(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_format(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > FORMAT:
        message = (
            f"the ledger {path} was written by a newer version of sutro-stream "
            f"(format {version}, this one knows {FORMAT}); use that version, or "
            "start afresh with --restart"
        )
        raise StoreError(message, path=str(path))


def _translated(error: sqlite3.Error, path: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    reason = str(error)
    if primary in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB} or (
        primary in {None, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH}
    ):
        return damaged(path, reason)
    return unusable(path, reason)
