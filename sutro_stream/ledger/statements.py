"""Statements that do much in one step.

Python gives the interpreter lock away around every step of a statement, and gets it
back from a busy event loop only after some milliseconds. What takes a step for each
row (`executemany`, fetching) then takes seconds where it could take milliseconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any

# Few sizes, so that each is compiled once; below the 500 terms and 999 variables
# that any build of SQLite takes.
_SIZES = (1, 10, 100)


def insert_many(
    connection: sqlite3.Connection,
    insert: str,
    rows: Sequence[tuple[Any, ...]],
    *,
    conflict: str = "",
) -> None:
    """Insert rows of at most 9 columns, a hundred at a step, in a transaction.

    The first column is never null. The values stand between `insert`, as in
    `INSERT INTO t`, and `conflict`, as in `ON CONFLICT …`.
    """
    for start in range(0, len(rows), _SIZES[-1]):
        part = rows[start : start + _SIZES[-1]]
        size = next(size for size in _SIZES if size >= len(part))
        width = len(part[0])
        padding = (None,) * (width * (size - len(part)))
        values = ",".join([f"({','.join('?' * width)})"] * size)
        connection.execute(
            f"{insert} SELECT * FROM (VALUES {values})"  # noqa: S608
            f" WHERE column1 IS NOT NULL {conflict}",
            (*chain.from_iterable(part), *padding),
        )


def numbers(
    connection: sqlite3.Connection, query: str, values: Sequence[Any]
) -> list[int]:
    """Many integers at one step.

    The query selects them as one text, separated by spaces; null for none.
    """
    (text,) = connection.execute(query, values).fetchone()
    return [] if text is None else [int(number) for number in text.split()]
