"""Jobs as spans: a few for each job, however many rows it has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sutro_stream.jobs.store import JobTotals
from sutro_stream.telemetry.tracing import Origin, Span, Tracing
from sutro_stream.values.job import Job, JobState

# A stretch of a job's rows lasts at least as long, and at least as large a share of
# the time that its rows have taken so far: a day makes some eighty of them.
_SHORTEST_S = 5.0
_SHARE = 0.1

Clock = Callable[[], float]
"""Seconds that never go back."""


class JobTraces:
    """Spans of all jobs that one process works on.

    Concurrency: one event loop.
    """

    def __init__(self, tracing: Tracing, *, clock: Clock = time.monotonic) -> None:
        """Nothing known.

        Args:
            tracing: Where spans go.
            clock: Says how long stretches of rows are.
        """
        self._tracing = tracing
        self._clock = clock
        self._submissions: dict[str, Origin] = {}

    def submitted(self, job_id: str) -> None:
        """Note the request that this task answers, for when the job's turn comes."""
        origin = self._tracing.here()
        if origin is not None:
            self._submissions[job_id] = origin

    def withdrawn(self, job_id: str) -> None:
        """Forget a job whose turn will not come."""
        self._submissions.pop(job_id, None)

    @contextmanager
    def working(self, job_id: str) -> Iterator[JobTrace]:
        """Work on a job in the context's body.

        Its span ends when the process stops working on it: a job that a restart
        has interrupted has one in each process, with the same job ID.
        """
        submission = self._submissions.pop(job_id, None)
        attributes = {"sutro.job_id": job_id}
        with self._tracing.span("job", attributes=attributes, link=submission) as span:
            trace = JobTrace(self._tracing, span, clock=self._clock)
            try:
                yield trace
            finally:
                trace.close()


class JobTrace:
    """One process's work on one job; see `JobTraces.working`.

    Below the job's span are one of preparing its input, and one for each stretch of
    its rows.
    """

    def __init__(self, tracing: Tracing, span: Span, *, clock: Clock) -> None:
        self._tracing = tracing
        self._span = span
        self._clock = clock
        self._part = tracing.begin("job.prepare", parent=span.origin)
        self._asking_since: float | None = None
        self._part_since = 0.0
        self._rows_before = self._rows = 0

    def known(self, job: Job) -> None:
        """Note what the job is."""
        spec = job.spec
        self._span.note(
            {
                "sutro.account": spec.account,
                "sutro.model": spec.model,
                "sutro.job.priority": spec.priority,
                "sutro.job.run_type": spec.run_type.value,
            }
        )

    def running(self) -> None:
        """Its input is there; its rows are asked from now on."""
        self._next_part()
        self._asking_since = self._part_since

    def progress(self, rows: int) -> None:
        """Note how far it is, which ends a stretch of its rows now and then."""
        self._rows = rows
        if self._asking_since is None:
            return
        at = self._clock()
        if at - self._part_since >= max(
            _SHORTEST_S, _SHARE * (at - self._asking_since)
        ):
            self._next_part()

    def ended(self, state: JobState, totals: JobTotals, failure: str | None) -> None:
        """Note what it has come to."""
        self._rows = self._rows if totals.rows is None else totals.rows
        numbers = {
            "sutro.job.rows": totals.rows,
            "sutro.job.failed_rows": totals.failed_rows,
            "sutro.job.input_tokens": totals.input_tokens,
            "sutro.job.output_tokens": totals.output_tokens,
        }
        known = {name: value for name, value in numbers.items() if value is not None}
        self._span.note({"sutro.job.state": state.value, **known})
        if failure is not None:
            self._span.failed(failure)

    def close(self) -> None:
        """End what is open below the job's span."""
        if self._asking_since is not None:
            self._part.note({"sutro.job.rows": self._rows - self._rows_before})
        self._part.end()

    def _next_part(self) -> None:
        self.close()
        self._rows_before = self._rows
        self._part_since = self._clock()
        self._part = self._tracing.begin("job.rows", parent=self._span.origin)
