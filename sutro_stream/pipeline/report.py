"""What a finished run says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sutro_stream.errors import RunStoppedError, StopReason
from sutro_stream.flow.meter import Statistics
from sutro_stream.values.outcomes import TRANSPORT_FAILURES, ErrorKind


class RunStatus(StrEnum):
    """How a run ended."""

    SUCCEEDED = "succeeded"
    """Every row has its answer."""
    PARTIAL = "partial"
    """Some rows failed; their reasons are in the output."""
    FAILED = "failed"
    """There were rows, and not one has an answer."""
    INCOMPLETE = "incomplete"
    """It stopped before its end; the ledger keeps what was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """A finished run.

    Attributes:
        path: The output file; complete, unless the run is incomplete.
        rows: Rows in it.
        rows_answered: Rows with an answer; without an engine in the pipeline, all.
        rows_cut: Those of them whose text was cut off at the token limit; more
            `max_tokens` give it room.
        rows_failed: Rows without one; refused rows among them.
        failures: Failed rows by kind.
        retries: Requests sent beyond the first of their row.
        rows_kept: Rows whose outcome an earlier, interrupted run had recorded.
        rows_shared: Rows that got the answer of another with the same prompt: calls
            saved.
        cached_tokens: See `Statistics`.
        cost_usd: See `Statistics`.
        rows_unpriced: See `Statistics`.
        reasks: Requests among them for answers that were not of the right form.
        input_tokens: As counted by the engine.
        output_tokens: As counted by the engine.
        elapsed_s: Seconds from opening the source to the finished file.
        peak_in_flight: Most requests in flight at any moment.
        stopped: Why the run ended before its end, for people; `None` when it did not.
        stop_reason: As `stopped`, for programs.
        rows_skipped: See `Statistics`.
        cells_replaced: See `Statistics`.
        notes: See `Statistics`.
    """

    path: Path
    rows: int
    rows_answered: int
    rows_cut: int = 0
    rows_failed: int
    failures: Mapping[ErrorKind, int]
    retries: int
    rows_kept: int
    rows_shared: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cost_usd: float | None = None
    rows_unpriced: int = 0
    reasks: int = 0
    elapsed_s: float
    peak_in_flight: int
    stopped: str | None = None
    stop_reason: StopReason | None = None
    rows_skipped: int = 0
    cells_replaced: int = 0
    notes: tuple[str, ...] = ()

    @property
    def status(self) -> RunStatus:
        """How it ended; never succeeded when no row did."""
        if self.stopped is not None:
            return RunStatus.INCOMPLETE
        if not self.rows_failed:
            return RunStatus.SUCCEEDED
        return RunStatus.PARTIAL if self.rows_answered else RunStatus.FAILED

    @property
    def rows_to_ask_again(self) -> int:
        """Failed rows that a later run of the same ledger asks again by itself."""
        return sum(self.failures.get(kind, 0) for kind in TRANSPORT_FAILURES)

    @property
    def rows_per_s(self) -> float:
        """Rows of the output for each second of the run."""
        return self.rows / self.elapsed_s if self.elapsed_s > 0 else 0.0


def report_of(
    statistics: Statistics,
    *,
    path: Path,
    rows: int,
    stopped: RunStoppedError | None = None,
) -> RunReport:
    """The report of a run whose output has `rows` rows, or that was stopped."""
    asked = statistics.rows_done > 0
    return RunReport(
        path=path,
        rows=rows,
        rows_answered=statistics.rows_answered if asked else rows,
        rows_cut=statistics.rows_cut,
        rows_failed=statistics.rows_failed,
        failures=statistics.failures,
        retries=statistics.retries,
        cached_tokens=statistics.cached_tokens,
        cost_usd=statistics.cost_usd,
        rows_unpriced=statistics.rows_unpriced,
        reasks=statistics.reasks,
        rows_kept=statistics.rows_kept,
        rows_shared=statistics.rows_shared,
        input_tokens=statistics.input_tokens,
        output_tokens=statistics.output_tokens,
        elapsed_s=statistics.elapsed_s,
        peak_in_flight=statistics.peak_in_flight,
        stopped=None if stopped is None else str(stopped),
        stop_reason=None if stopped is None else stopped.reason,
        rows_skipped=statistics.rows_skipped,
        cells_replaced=statistics.cells_replaced,
        notes=statistics.notes,
    )
