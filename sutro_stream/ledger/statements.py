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
    """Insert rows, a hundred at a step; the first column is never null.

    Args:
        connection: In a transaction.
        insert: The statement up to the values: `INSERT INTO t`.
        rows: Of equal length, at most 9.
        conflict: What follows the values: `ON CONFLICT …`.
    """
    for start in range(0, len(rows), _SIZES[-1]):
        part = rows[start : start + _SIZES[-1]]
        size = next(size for size in _SIZES if size >= len(part))
        width = len(part[0])
        padding = (None,) * (width * (size - len(part)))
        connection.execute(
            _insertion(insert, width, size, conflict),
            (*chain.from_iterable(part), *padding),
        )


def numbers(
    connection: sqlite3.Connection, query: str, values: Sequence[Any]
) -> list[int]:
    """Many integers at one step.

    Args:
        connection: To read from.
        query: Selects them as one text, separated by spaces; null for none.
        values: What the query asks for.
    """
    (text,) = connection.execute(query, values).fetchone()
    return [] if text is None else [int(number) for number in text.split()]


def _insertion(insert: str, width: int, size: int, conflict: str) -> str:
    row = f"({','.join('?' * width)})"
    values = ",".join([row] * size)
    return (
        f"{insert} SELECT * FROM (VALUES {values})"  # noqa: S608
        f" WHERE column1 IS NOT NULL {conflict}"
    )
