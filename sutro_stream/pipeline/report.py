"""What a finished run says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sutro_stream.flow.meter import Statistics
from sutro_stream.values.outcomes import ErrorKind


class RunStatus(StrEnum):
    """How a run ended."""

    SUCCEEDED = "succeeded"
    """Every row has its answer."""
    PARTIAL = "partial"
    """Some rows failed; their reasons are in the output."""
    FAILED = "failed"
    """There were rows, and not one has an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """A finished run.

    Attributes:
        path: The output file, complete.
        rows: Rows in it.
        rows_answered: Rows with an answer; without an engine in the pipeline, all.
        rows_failed: Rows without one; refused rows among them.
        failures: Failed rows by kind.
        retries: Requests sent beyond the first of their row.
        input_tokens: As counted by the engine.
        output_tokens: As counted by the engine.
        elapsed_s: Seconds from opening the source to the finished file.
        peak_in_flight: Most requests in flight at any moment.
    """

    path: Path
    rows: int
    rows_answered: int
    rows_failed: int
    failures: Mapping[ErrorKind, int]
    retries: int
    input_tokens: int
    output_tokens: int
    elapsed_s: float
    peak_in_flight: int

    @property
    def status(self) -> RunStatus:
        """How it ended; never succeeded when no row did."""
        if not self.rows_failed:
            return RunStatus.SUCCEEDED
        return RunStatus.PARTIAL if self.rows_answered else RunStatus.FAILED

    @property
    def rows_per_s(self) -> float:
        """Rows of the output for each second of the run."""
        return self.rows / self.elapsed_s if self.elapsed_s > 0 else 0.0


def report_of(statistics: Statistics, *, path: Path, rows: int) -> RunReport:
    """The report of a run whose output has `rows` rows."""
    asked = statistics.rows_done > 0
    return RunReport(
        path=path,
        rows=rows,
        rows_answered=statistics.rows_answered if asked else rows,
        rows_failed=statistics.rows_failed,
        failures=statistics.failures,
        retries=statistics.retries,
        input_tokens=statistics.input_tokens,
        output_tokens=statistics.output_tokens,
        elapsed_s=statistics.elapsed_s,
        peak_in_flight=statistics.peak_in_flight,
    )
