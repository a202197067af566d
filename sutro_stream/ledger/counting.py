"""The counters of a ledger: read from the disk once, then kept up to date."""

from __future__ import annotations

import sqlite3
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sutro_stream.values.outcomes import ErrorKind

# Names of notes.
DAMAGE, OUTPUT = "damage", "output"


class Record(NamedTuple):
    """A row's outcome, in the order of its columns in the database.

    One is made for every row, in a third of the time that a frozen dataclass takes.
    `database` tells what they are, and `encoding` of the checksum and the body.
    """

    row: int
    digest: int
    kind: str | None
    attempts: int
    input_tokens: int
    output_tokens: int
    leader: int | None
    checksum: int
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerStatistics:
    """Counters of a ledger at one moment, over all its runs.

    Attributes:
        rows: Rows that have their outcome.
        answered: Rows with an answer that passed.
        failed: Rows without one, by kind.
        shared: Rows among them that share the outcome of an earlier one.
        calls: Requests sent, also those whose outcome was forgotten or, as far as
            they were reported by `Ledger.asked`, never recorded.
        retries: Requests beyond the first of their row in a run.
        calls_repeated: Requests for rows asked in more than one run, in all but the
            last: paid twice.
        input_tokens: Of all answers, as the engine counted them.
        output_tokens: Of all answers.
        kept: Rows that had an outcome when the ledger was opened last.
        damaged: Places at which what was written could not be read any more.
    """

    rows: int = 0
    answered: int = 0
    failed: Mapping[ErrorKind, int]
    shared: int = 0
    calls: int = 0
    retries: int = 0
    calls_repeated: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    kept: int = 0
    damaged: int = 0


@dataclass(slots=True, kw_only=True)
class Totals:
    """Sums over everything committed.

    Attributes not named here are those of `LedgerStatistics`.

    Attributes:
        index_sum: Sum of the indices of `rows`.
        attempts: Requests, also for outcomes that were forgotten or never recorded.
        highest: Largest index with an outcome, -1 without any.
        spent_rows: Rows with outcomes that were forgotten or never recorded.
        in_flight: Requests for rows without an outcome yet.
        damages: Where something that was written could not be read.
    """

    rows: int = 0
    index_sum: int = 0
    failed: Counter[ErrorKind] = field(default_factory=Counter)
    shared: int = 0
    attempts: int = 0
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    highest: int = -1
    spent_rows: int = 0
    calls_repeated: int = 0
    in_flight: int = 0
    kept: int = 0
    damages: tuple[str, ...] = ()

    def add(self, records: Sequence[Record], spent_before: Mapping[int, int]) -> None:
        """Count outcomes that were not there before.

        For some of their rows, requests were `spent_before` on others, by row.
        """
        if not records:
            return
        # Column by column: there is one record for every row of a run.
        rows, _, kinds, attempts, inputs, outputs, leaders, *_ = zip(
            *records, strict=True
        )
        self.rows += len(rows)
        self.index_sum += sum(rows)
        self.attempts += sum(attempts)
        self.retries += sum(attempts) - (len(rows) - attempts.count(0))
        self.input_tokens += sum(inputs)
        self.output_tokens += sum(outputs)
        self.highest = max(self.highest, *rows)
        self.failed.update(ErrorKind(kind) for kind in kinds if kind is not None)
        self.shared += len(rows) - leaders.count(None)
        if spent_before:
            self.calls_repeated += sum(
                spent_before.get(record.row, 0) for record in records if record.attempts
            )

    def statistics(self) -> LedgerStatistics:
        """The counters as people see them."""
        failed = {kind: count for kind, count in self.failed.items() if count}
        return LedgerStatistics(
            rows=self.rows,
            answered=self.rows - sum(failed.values()),
            failed=failed,
            shared=self.shared,
            calls=self.attempts + self.in_flight,
            retries=self.retries,
            calls_repeated=self.calls_repeated,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            kept=self.kept,
            damaged=len(self.damages),
        )


def count(connection: sqlite3.Connection) -> Totals:
    """Sums over the whole ledger; takes about a quarter of a second a million rows.

    Raises:
        ValueError: Rows are missing, or what is stored is not what was written.
    """
    row_count, index_sum, in_flight = connection.execute(
        "SELECT row_count, index_sum, in_flight FROM state"
    ).fetchone()
    last = connection.execute("SELECT kept FROM runs ORDER BY id DESC").fetchone()
    rows, found, shared, attempts, retries, inputs, outputs, highest = _sums(
        connection,
        "SELECT count(*), coalesce(sum(idx), 0), count(leader), total(attempts),"
        " total(max(attempts - 1, 0)), total(input_tokens), total(output_tokens),"
        " coalesce(max(idx), -1) FROM rows",
    )
    if (rows, found) != (row_count, index_sum):
        raise ValueError("rows are missing")
    spent_rows, *spent = _sums(
        connection,
        "SELECT count(*), total(attempts), total(retries), total(input_tokens),"
        " total(output_tokens) FROM spent",
    )
    (calls_repeated,) = _sums(
        connection,
        "SELECT total(spent.attempts) FROM spent CROSS JOIN rows"
        " ON rows.idx = spent.idx WHERE rows.attempts > 0",
    )
    failures = connection.execute(
        "SELECT kind, count(*) FROM rows WHERE kind IS NOT NULL GROUP BY kind"
    )
    return Totals(
        rows=rows,
        index_sum=index_sum,
        failed=Counter({ErrorKind(kind): number for kind, number in failures}),
        shared=shared,
        attempts=attempts + spent[0],
        retries=retries + spent[1],
        input_tokens=inputs + spent[2],
        output_tokens=outputs + spent[3],
        highest=highest,
        spent_rows=spent_rows,
        calls_repeated=calls_repeated,
        in_flight=sum(in_flight_calls(in_flight).values()),
        kept=0 if last is None else int(last[0]),
        damages=tuple(notes(connection, DAMAGE)),
    )


def notes(connection: sqlite3.Connection, name: str) -> list[str]:
    """What was noted under a name, oldest first."""
    if not connection.execute("PRAGMA table_info(notes)").fetchall():
        return []
    found = connection.execute(
        "SELECT value FROM notes WHERE name = ? ORDER BY rowid", (name,)
    )
    return [value for (value,) in found]


def in_flight_blob(calls: Mapping[int, int]) -> bytes:
    """Requests without an outcome, by index of their row, as bytes."""
    return array("q", [*calls, *calls.values()]).tobytes()


def in_flight_calls(blob: bytes) -> dict[int, int]:
    """The requests that `in_flight_blob` was given."""
    numbers = array("q", blob)
    half = len(numbers) // 2
    return dict(zip(numbers[:half], numbers[half:], strict=True))


def _sums(connection: sqlite3.Connection, query: str) -> list[int]:
    return [int(number) for number in connection.execute(query).fetchone()]
