"""The database of a deployment: its form, its connections, its errors.

SQLite in WAL mode with `synchronous=FULL`: what a request was told is done survives a
power cut. Other processes (the commands that make keys) may write while a server runs.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from sutro_stream.errors import StoreDamagedError, StoreError, SutroStreamError
from sutro_stream.jobs.tables import FORMATS

_APPLICATION_ID = 0x5375_7464  # "Sutd", at byte 68 of the file
_BUSY_MS = 10_000
_PAUSE_S = 0.01

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Database:
    """An open database.

    Concurrency: blocking; from any thread. Writers take turns with one another, and
    readers with one another; neither holds up the other.
    """

    def __init__(self, path: Path) -> None:
        """Open the database, or make it.

        Raises:
            StoreError: It cannot be used here, is something else, or was written by
                a newer version.
        """
        self.path = path
        self._undo = ExitStack()
        self._writing = threading.RLock()
        self._reading = threading.RLock()
        with self._undo, self._errors():
            _make_file(path)
            self._writer = self._connection()
            self._upgrade()
            self._reader = self._connection()
            self._reader.execute("PRAGMA query_only = ON")
            self._undo = self._undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait for those who are using it, then close; may be called again."""
        with self._writing, self._reading:
            self._undo.close()

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """All that is written inside, durably at the end, or nothing of it.

        Raises:
            StoreError: It could not be written.
        """
        with self._errors(), self._writing:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            finally:
                # Whatever leaves, the next writer must not find it open.
                if self._writer.in_transaction:
                    with suppress(sqlite3.Error):
                        self._writer.execute("ROLLBACK")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One state of the database for all that is read inside.

        Raises:
            StoreError: It could not be read.
        """
        with self._errors(), self._reading:
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                with suppress(sqlite3.Error):
                    self._reader.execute("ROLLBACK")

    def _connection(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False
        )
        self._undo.callback(connection.close)
        connection.row_factory = sqlite3.Row
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        return connection

    def _upgrade(self) -> None:
        """Bring the tables into the newest form; the first form is made of nothing."""
        connection = self._writer
        self._check_is_ours()
        if _number(connection, "user_version") < len(FORMATS):
            with self.write():
                # Somebody else may have come first.
                known = _number(connection, "user_version")
                for script in FORMATS[known:]:
                    for statement in script.strip().split(";\n"):
                        connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {len(FORMATS)}")
        _use_log(connection)

    def _check_is_ours(self) -> None:
        connection = self._writer
        identifier = _number(connection, "application_id")
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if identifier != _APPLICATION_ID and (identifier or tables):
            message = (
                f"{self.path} is not a deployment's database; choose another folder"
            )
            raise StoreError(message, path=str(self.path))
        version = _number(connection, "user_version")
        if version > len(FORMATS):
            message = (
                f"{self.path} was written by a newer version of sutro-stream (format "
                f"{version}, this one knows {len(FORMATS)}); use that version"
            )
            raise StoreError(message, path=str(self.path))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except SutroStreamError:
            raise
        except sqlite3.Error as error:
            raise self._translated(error) from error
        except OSError as error:
            raise self._unusable((error.strerror or str(error)).lower()) from error

    def _translated(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in {
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_NOTADB,
        }:
            message = f"{self.path} is damaged ({error}); put a copy of it back"
            return StoreDamagedError(message, path=str(self.path))
        return self._unusable(str(error))

    def _unusable(self, reason: str) -> StoreError:
        message = f"cannot use the deployment's database {self.path}: {reason}"
        return StoreError(message, path=str(self.path))


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


Clock = Callable[[], datetime]
"""Tells the time, UTC."""


def microseconds(when: datetime) -> int:
    """How the database keeps a moment: microseconds since 1970."""
    return (when - _EPOCH) // _MICROSECOND


def moment(kept: int) -> datetime:
    """The moment that was kept, UTC."""
    return _EPOCH + timedelta(microseconds=kept)


def _make_file(path: Path) -> None:
    """Make folder and file if they are not there, for nobody else to read.

    The database holds addresses that are secrets; its log takes over the file's
    permissions.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _use_log(connection: sqlite3.Connection) -> None:
    """Switch to the write-ahead log, for which SQLite does not wait by itself."""
    deadline = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)
            continue
        if mode != "wal":
            message = "this file system does not allow it; use a local one"
            raise sqlite3.OperationalError(message)
        return


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    (number,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(number)
