"""Counters of one run: written by its stages, read by anyone at any time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sutro_stream.flow.throttle import ThrottleStatistics
from sutro_stream.values.outcomes import Answer, AnsweredTexts, ErrorKind, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """A run's counters at one moment.

    Attributes:
        elapsed_s: Seconds since the run was opened.
        rows_total: Rows the source holds, `None` while it cannot know.
        rows_read: Rows read from the source.
        rows_in_flight: Requests sent and not yet answered.
        peak_in_flight: Most requests in flight at any moment.
        rows_backing_off: Rows waiting before their next attempt.
        rows_waiting_for_order: Answered rows held back by an earlier one.
        rows_answered: Rows with an answer that passed.
        rows_cut: Those of them whose text was cut off at the token limit.
        rows_failed: Rows that ended without one; refused rows among them.
        failures: Failed rows by kind.
        retries: Requests beyond the first of their row.
        cached_tokens: Input tokens among them that the endpoint had cached.
        cost_usd: What this run's answers cost, in US dollars; `None` without prices.
        rows_unpriced: Answers that no price is known for: the endpoint did not count
            their tokens, or another model answered.
        reasks: Requests among them for answers that were not of the right form.
        rows_kept: Rows whose outcome an earlier run had recorded.
        rows_shared: Rows that got the answer of another with the same prompt.
        input_tokens: As counted by the engine.
        output_tokens: As counted by the engine.
        concurrency: Most requests in flight that the run allows itself now, `None`
            where nothing is asked.
        requests_per_s: Most requests a second that it allows itself now, `None` while
            no limit is given and none is known.
        waiting: What is waited for, as in "the endpoint (HTTP 503) for 0:42"; `None`
            while nothing is, or not for long.
        rows_skipped: Rows left out, as was asked for: bad ones.
        cells_replaced: Cells that could not be read as they should be, and went along
            as what could be made of them.
        notes: What is to be known of the input, each a sentence.
    """

    elapsed_s: float
    rows_total: int | None
    rows_read: int
    rows_in_flight: int
    peak_in_flight: int
    rows_backing_off: int
    rows_waiting_for_order: int
    rows_answered: int
    rows_cut: int
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
    concurrency: int | None = None
    requests_per_s: float | None = None
    waiting: str | None = None
    rows_skipped: int = 0
    cells_replaced: int = 0
    notes: tuple[str, ...] = ()

    @property
    def rows_done(self) -> int:
        """Rows that have their outcome."""
        return self.rows_answered + self.rows_failed


class InputNotes(Protocol):
    """What a reader tells of its input; see `formats.format.Told`."""

    notes: Mapping[str, None]
    replaced: int


@dataclass(slots=True, kw_only=True)
class Meter:
    """The live counters behind `Statistics`.

    Concurrency: written from one event loop; a plain object without locks.
    """

    started_s: float = 0.0
    rows_total: int | None = None
    rows_read: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    backing_off: int = 0
    answered: int = 0
    cut: int = 0
    failures: Counter[ErrorKind] = field(default_factory=Counter)
    retries: int = 0
    # Those an engine sent on top; apart, since they are no retries of the policy's.
    extra_requests: int = 0
    reasks: int = 0
    kept: int = 0
    shared: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    price: Callable[[Answer], float | None] | None = None
    cost_usd: float = 0.0
    unpriced: int = 0
    # Whether outcomes are to say how long their attempt took.
    is_timed: bool = False
    concurrency: int | None = None
    throttle: Callable[[], ThrottleStatistics | None] | None = None
    waiting_for_order: Callable[[], int] | None = None
    waiting: Callable[[float], str | None] | None = None
    rows_skipped: int = 0
    cells_replaced: int = 0
    told: InputNotes | None = None

    def started_request(self) -> None:
        """Count a request out."""
        self.in_flight += 1
        if self.in_flight > self.peak_in_flight:  # noqa: PLR1730 - for every row
            self.peak_in_flight = self.in_flight

    def ended_request(self) -> None:
        """Count it back in, however it ended."""
        self.in_flight -= 1

    def concluded(self, outcome: Outcome, *, is_paid: bool = True) -> None:
        """Count a row's final outcome, and its tokens if this run paid for them."""
        if outcome.error is None:
            self.answered += 1
            answer = outcome.answer
            # For every row: most have stopped of themselves.
            if answer is not None and answer.finish_reason != "stop":
                self.cut += outcome.is_cut
        else:
            self.failures[outcome.error.kind] += 1
        if not is_paid:
            return
        if outcome.answer is not None:
            self.paid(outcome.answer)

    def asked_again(self) -> None:
        """Count a request for an answer that was not of the right form."""
        self.reasks += 1

    def paid(self, answer: Answer) -> None:
        """Count the tokens of an answer, and what it costs."""
        usage = answer.usage
        if usage is not None:
            self.input_tokens += usage.input_tokens
            self.output_tokens += usage.output_tokens
            self.cached_tokens += usage.cached_tokens
        if self.price is not None:
            usd = self.price(answer)
            self.unpriced += usd is None
            self.cost_usd += usd or 0.0

    def concluded_unpaid(self, outcomes: Sequence[Outcome]) -> None:
        """Count the final outcomes of rows that somebody else has paid for."""
        if isinstance(outcomes, AnsweredTexts):
            self.answered += len(outcomes)
            return
        for outcome in outcomes:
            self.concluded(outcome, is_paid=False)

    def statistics(self, now_s: float) -> Statistics:
        """The counters now."""
        throttle = None if self.throttle is None else self.throttle()
        waiting = self.waiting_for_order
        concurrency = self.concurrency
        told = self.told
        if concurrency is not None and throttle is not None:
            concurrency = min(concurrency, throttle.limit)
        return Statistics(
            elapsed_s=now_s - self.started_s,
            rows_total=self.rows_total,
            rows_read=self.rows_read,
            rows_in_flight=self.in_flight,
            peak_in_flight=self.peak_in_flight,
            rows_backing_off=self.backing_off,
            rows_waiting_for_order=0 if waiting is None else waiting(),
            rows_answered=self.answered,
            rows_cut=self.cut,
            rows_failed=sum(self.failures.values()),
            failures=dict(self.failures),
            retries=self.retries + self.extra_requests,
            rows_kept=self.kept,
            rows_shared=self.shared,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cached_tokens=self.cached_tokens,
            cost_usd=None if self.price is None else self.cost_usd,
            rows_unpriced=self.unpriced,
            reasks=self.reasks,
            concurrency=concurrency,
            requests_per_s=None if throttle is None else throttle.rate_per_s,
            waiting=None if self.waiting is None else self.waiting(now_s),
            rows_skipped=self.rows_skipped,
            cells_replaced=self.cells_replaced + (told.replaced if told else 0),
            notes=tuple(told.notes) if told else (),
        )
