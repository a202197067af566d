"""Outcomes in the order of the input, as far as memory reaches; no I/O.

What a file is written from while a run still asks. Outcomes that wait long behind a
straggler are given up here: the ledger has them, and they are read back from there
when their turn has come.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from sutro_stream.values.outcomes import Outcome, OutcomeBatch

# Rows written at once: a table has a cost of its own, and building one holds up
# everybody else for a few microseconds a row.
_PORTION_ROWS = 512
# Eight seconds of waiting for a straggler at 4,000 rows a second.
_HELD_ROWS = 32_768
_HELD_BYTES = 64 << 20
# What was given up is read back so many rows at a time, or for every straggler in
# it the log would have to be brought into the database.
_GIVEN_UP_ROWS = 8_192
# Of an outcome beside its texts; of a token with its probability.
_OUTCOME_BYTES = 500
_TOKEN_BYTES = 200
# A parsed answer beside its text.
_VALUE_TIMES = 8


@dataclass(slots=True, kw_only=True)
class Portion:
    """Consecutive rows, on their way or with an outcome each.

    Attributes:
        first_index: Index of the first.
        rows: How many they are.
        kept: What was remembered of the input; `None` for rows given up.
        outcomes: One for each; empty for rows given up.
        missing: Rows whose outcome is still to come.
        size_bytes: About what all this takes in memory.
    """

    first_index: int
    rows: int
    kept: pa.RecordBatch | None
    outcomes: list[Outcome]
    missing: int = 0
    size_bytes: int = 0


_NOTHING_YET = Outcome()


class Reassembly:
    """Puts outcomes in order, in bounded memory.

    Concurrency: none; nothing waits.

    Attributes:
        next_index: Index of the next row to take.
    """

    def __init__(
        self, *, held_rows: int = _HELD_ROWS, held_bytes: int = _HELD_BYTES
    ) -> None:
        """For one run; the last rows are given up where more than that is held."""
        self._most_rows = held_rows
        self._most_bytes = held_bytes
        # In order and without gaps; `_starts` are their first indices.
        self._parts: list[Portion] = []
        self._starts: list[int] = []
        self._rows = 0
        self._bytes = 0
        self.next_index = 0

    @property
    def is_ready(self) -> bool:
        """Whether there is something to take."""
        return bool(self._parts) and not self._parts[0].missing

    def expect(self, first_index: int, kept: pa.RecordBatch) -> None:
        """Rows whose outcomes will come; they follow those of the last call."""
        for start in range(0, kept.num_rows, _PORTION_ROWS):
            records = kept.slice(start, _PORTION_ROWS)
            rows, size = records.num_rows, records.nbytes
            part = Portion(
                first_index=first_index + start,
                rows=rows,
                missing=rows,
                size_bytes=size,
                kept=records,
                outcomes=[_NOTHING_YET] * rows,
            )
            self._parts.append(part)
            self._starts.append(part.first_index)
            self._bytes += size
        self._keep_bounds()

    def add(self, batch: OutcomeBatch) -> None:
        """Outcomes of rows that are expected, each once."""
        first = batch.prompts.first_index
        start = stop = 0
        for offset, outcome in zip(batch.offsets, batch.outcomes, strict=True):
            index = first + offset
            if not start <= index < stop:
                part = self._parts[bisect_right(self._starts, index) - 1]
                start, stop = part.first_index, part.first_index + part.rows
            part.missing -= 1
            if part.kept is not None:
                part.outcomes[index - start] = outcome
                size = _size_bytes(outcome)
                part.size_bytes += size
                self._bytes += size
                self._rows += 1
        self._keep_bounds()

    def end(self) -> None:
        """Nothing more comes; rows without an outcome have none, or the ledger has."""
        for part in self._parts:
            if part.missing:
                self._give_up(part)
                part.missing = 0

    def take(self) -> Portion | None:
        """The next rows, `None` while they are not complete."""
        count = rows = 0
        for part in self._parts:
            is_larger = rows + part.rows > _PORTION_ROWS or part.kept is None
            if part.missing or (count and is_larger):
                break
            count += 1
            rows += part.rows
            if is_larger:
                break
        return self._taken(count) if count else None

    def _taken(self, count: int) -> Portion:
        parts = self._parts[:count]
        kept = parts[0].kept
        if kept is not None and count > 1:
            try:
                kept = pa.concat_batches([part.kept for part in parts])
            except pa.ArrowException:
                # Dictionaries that together outgrow their index type, or more text
                # than 32-bit offsets reach: apart they are fine.
                parts = parts[:1]
        del self._parts[: len(parts)], self._starts[: len(parts)]
        rows, size = sum(p.rows for p in parts), sum(p.size_bytes for p in parts)
        first, self.next_index = parts[0].first_index, parts[0].first_index + rows
        outcomes = [outcome for part in parts for outcome in part.outcomes]
        if kept is not None:
            self._rows -= rows
            self._bytes -= size
        return Portion(first_index=first, rows=rows, kept=kept, outcomes=outcomes)

    def _keep_bounds(self) -> None:
        if self._rows <= self._most_rows and self._bytes <= self._most_bytes:
            return
        # To the half, or it would be done again for every row that comes.
        at = len(self._parts)
        while at and (
            self._rows > self._most_rows // 2 or self._bytes > self._most_bytes // 2
        ):
            at -= 1
            self._give_up(self._parts[at])
        self._parts[at:] = _joined(self._parts[at:])
        self._starts = [part.first_index for part in self._parts]

    def _give_up(self, part: Portion) -> None:
        if part.kept is not None:
            self._rows -= part.rows - part.missing
            self._bytes -= part.size_bytes
            part.kept, part.outcomes, part.size_bytes = None, [], 0


def _joined(parts: Sequence[Portion]) -> list[Portion]:
    """The same rows, given up, in larger parts."""
    joined: list[Portion] = []
    for part in parts:
        if joined and joined[-1].rows + part.rows <= _GIVEN_UP_ROWS:
            joined[-1].rows += part.rows
            joined[-1].missing += part.missing
        else:
            joined.append(part)
    return joined


def _size_bytes(outcome: Outcome) -> int:
    """About what an outcome takes in memory."""
    answer = outcome.answer
    if answer is None:
        return _OUTCOME_BYTES
    size = len(answer.text)
    if outcome.value is not None:
        size *= _VALUE_TIMES
    if answer.reasoning is not None:
        size += len(answer.reasoning)
    if answer.logprobs is not None:
        size += sum(
            _TOKEN_BYTES * (1 + len(entry.alternatives)) for entry in answer.logprobs
        )
    return size + _OUTCOME_BYTES
