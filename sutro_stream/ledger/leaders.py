"""Equal prompts: which row was the first to have one.

The digests lie in a database of their own that is thrown away with the run: every
insertion touches another page, which with the care that outcomes get would cost
more than all else that is written. Rows with an outcome are entered anew by the
next run; those without are seen again anyway.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from sutro_stream.ledger.database import store_errors, unusable
from sutro_stream.ledger.statements import insert_many, numbers

_CACHE_KIB = 32 * 1024
# What every build of SQLite takes in one statement.
_MAX_VARIABLES = 500
_REBUILT_ROWS = 50_000


class Leaders:
    """The prompts seen so far.

    Concurrency: blocking; one thread at a time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._closed = False

    def of(
        self,
        recorded: sqlite3.Connection,
        first_index: int,
        digests: Sequence[int | None],
    ) -> list[int]:
        """See `Ledger.leaders`; the rows of the ledger `recorded` are entered first."""
        with store_errors(self._path):
            if self._closed:
                raise unusable(self._path, "it is closed")
            try:
                return self._of(recorded, first_index, digests)
            except BaseException:
                # Nothing can be taken back.
                self.close()
                raise

    def close(self) -> None:
        """Throw the digests away."""
        self._closed = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _of(
        self,
        recorded: sqlite3.Connection,
        first_index: int,
        digests: Sequence[int | None],
    ) -> list[int]:
        connection = self._connection or self._create(recorded)
        unique = {digest for digest in digests if digest is not None}
        known = dict(_found(connection, sorted(unique)))
        fresh: dict[int, int] = {}
        leaders: list[int] = []
        for index, digest in enumerate(digests, first_index):
            if digest is None:
                leaders.append(index)
                continue
            leader = known.get(digest)
            if leader is None or leader > index:
                leader = known[digest] = fresh[digest] = index
            leaders.append(leader)
        _enter(connection, sorted(fresh.items()))
        return leaders

    def _create(self, recorded: sqlite3.Connection) -> sqlite3.Connection:
        self._path.unlink(missing_ok=True)
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False
        )
        try:
            # A crash may leave it broken: nobody will read it.
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            connection.execute(
                "CREATE TABLE digests (digest INTEGER PRIMARY KEY, idx INTEGER)"
            )
            for rows in _recorded(recorded):
                _enter(connection, rows)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection


def _recorded(connection: sqlite3.Connection) -> Iterator[list[tuple[int, int]]]:
    (highest,) = connection.execute("SELECT max(idx) FROM rows").fetchone()
    for start in range(0, (highest or 0) + 1, _REBUILT_ROWS):
        found = numbers(
            connection,
            "SELECT group_concat(digest || ' ' || idx, ' ') FROM rows"
            " WHERE idx >= ? AND idx < ? AND leader IS NULL AND attempts > 0",
            (start, start + _REBUILT_ROWS),
        )
        yield sorted(zip(found[::2], found[1::2], strict=True))


def _found(
    connection: sqlite3.Connection, digests: Sequence[int]
) -> Iterator[tuple[int, int]]:
    for start in range(0, len(digests), _MAX_VARIABLES):
        part = digests[start : start + _MAX_VARIABLES]
        marks = ",".join("?" * len(part))
        found = numbers(
            connection,
            "SELECT group_concat(digest || ' ' || idx, ' ') FROM digests"  # noqa: S608
            f" WHERE digest IN ({marks})",
            part,
        )
        yield from zip(found[::2], found[1::2], strict=True)


def _enter(connection: sqlite3.Connection, rows: Sequence[tuple[int, int]]) -> None:
    connection.execute("BEGIN")
    insert_many(
        connection,
        "INSERT INTO digests",
        rows,
        conflict="ON CONFLICT (digest) DO UPDATE SET idx = min(idx, excluded.idx)",
    )
    connection.execute("COMMIT")
