"""What was measured at one number of requests in flight, and what follows from all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sutro_stream.probing.timing import Timing

# A level this close to the best is as good: measurements differ by as much.
_AS_GOOD = 0.95
# Twice as many in flight that bring less than this are past the knee.
_WORTH_GOING_ON = 1.05
_TOO_MANY_FAILURES = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One measurement.

    Attributes:
        in_flight: Requests in flight, as asked for; where they were found, those at
            the end.
        is_found: Whether the number was found by `concurrency="auto"`.
        seconds: Length of the time that counts.
        answers: Answers in it.
        failures: Requests without an answer in it.
        rows_per_s: Answers in each second.
        input_tokens_per_s: Tokens read, as counted by the endpoint.
        output_tokens_per_s: Tokens written.
        p50_s: Half of the requests were answered after this time, also those that
            were on their way at the end; 0 without any.
        p95_s: As `p50_s`, for 95 in a hundred.
        p99_s: As `p50_s`, for 99 in a hundred.
        peak_in_flight: Most requests that were out at any time.
    """

    in_flight: int
    is_found: bool
    seconds: float
    answers: int
    failures: int
    rows_per_s: float
    input_tokens_per_s: float
    output_tokens_per_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    peak_in_flight: int

    @property
    def failed_share(self) -> float:
        """Of all requests, from 0 to 1."""
        requests = self.answers + self.failures
        return self.failures / requests if requests else 0.0


def level_of(
    answers: Sequence[Timing],
    failures_s: Sequence[float],
    *,
    from_s: float,
    to_s: float,
    in_flight: int,
    peak_in_flight: int,
    is_found: bool,
) -> Level:
    """Sum up what ended from one moment to another.

    Args:
        answers: All that are known.
        failures_s: When requests failed.
        from_s: First moment that counts.
        to_s: Last one.
        in_flight: See `Level`.
        peak_in_flight: See `Level`.
        is_found: See `Level`.
    """
    counted = [each for each in answers if from_s < each.ended_s <= to_s]
    seconds = max(to_s - from_s, 1e-9)
    # Slow ones that were sent in the time and ended behind it are not left out.
    latencies = sorted(each.seconds for each in answers if from_s < each.ended_s)
    return Level(
        in_flight=in_flight,
        is_found=is_found,
        seconds=seconds,
        answers=len(counted),
        failures=sum(from_s < moment <= to_s for moment in failures_s),
        rows_per_s=len(counted) / seconds,
        input_tokens_per_s=sum(each.input_tokens for each in counted) / seconds,
        output_tokens_per_s=sum(each.output_tokens for each in counted) / seconds,
        p50_s=percentile(latencies, 0.50),
        p95_s=percentile(latencies, 0.95),
        p99_s=percentile(latencies, 0.99),
        peak_in_flight=peak_in_flight,
    )


def percentile(ascending: Sequence[float], share: float) -> float:
    """The smallest value that so many are not above; 0 without any.

    Args:
        ascending: Values in order.
        share: From 0 to 1.
    """
    if not ascending:
        return 0.0
    return ascending[max(0, math.ceil(share * len(ascending)) - 1)]


def knee(levels: Sequence[Level]) -> Level | None:
    """The fewest requests in flight that are as good as any number of them.

    Returns:
        `None` where nothing was answered.
    """
    usable = [level for level in levels if level.failed_share <= _TOO_MANY_FAILURES]
    best = max((level.rows_per_s for level in usable), default=0.0)
    if not best:
        return None
    good = [level for level in usable if level.rows_per_s >= _AS_GOOD * best]
    return min(good, key=lambda level: level.in_flight)


def is_past_knee(levels: Sequence[Level]) -> bool:
    """Whether still more requests in flight would show nothing new.

    Args:
        levels: In the order of requests in flight, each about twice the one before.
    """
    if levels and levels[-1].failed_share > _TOO_MANY_FAILURES:
        return True
    # One step without gain can be chance.
    if len(levels) < 3:
        return False
    before, *latest = (level.rows_per_s for level in levels[-3:])
    return max(latest) < _WORTH_GOING_ON * before
