"""What a ledger holds, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sutro_stream.values.outcomes import ErrorKind


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRun:
    """One opening of a ledger.

    Attributes:
        opened_at: When it was opened, in UTC.
        closed_at: When it was left, `None` if it was killed or is still writing.
        version: Version of this package.
        mode: How it was opened, as in `OpenMode`.
        kept: Rows that had an outcome then.
    """

    opened_at: datetime
    closed_at: datetime | None
    version: str
    mode: str
    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSummary:
    """A ledger as it lies on the disk.

    Attributes:
        parts: The work it is bound to.
        statistics: Its counters.
        runs: Its openings, oldest first.
        spooled_rows: Input rows kept for the output.
        is_finished: Whether the output is complete and in place.
        is_writing: Whether a run has it open at the moment.
        damages: Where what was written could not be read any more, for people.
    """

    parts: Mapping[str, str]
    statistics: LedgerStatistics
    runs: tuple[LedgerRun, ...]
    spooled_rows: int
    is_finished: bool
    is_writing: bool
    damages: tuple[str, ...] = ()
