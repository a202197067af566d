"""What a ledger has beside outcomes: notes, and answers of another input.

Ledgers of earlier versions get the tables when a run opens them.
"""

from __future__ import annotations

import sqlite3

# Names of notes.
DAMAGE, OUTPUT = "damage", "output"

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


def upgrade(connection: sqlite3.Connection) -> None:
    """Add the tables that ledgers of earlier versions do not have."""
    for statement in _LATER_TABLES.strip().split(";\n"):
        connection.execute(statement)


def notes(connection: sqlite3.Connection, name: str) -> list[str]:
    """What was noted under a name, oldest first."""
    if not connection.execute("PRAGMA table_info(notes)").fetchall():
        return []
    found = connection.execute(
        "SELECT value FROM notes WHERE name = ? ORDER BY rowid", (name,)
    )
    return [value for (value,) in found]
