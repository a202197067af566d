"""The course of a simulated run, in tenths of a second."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

_MOMENT_S = 0.1
# Times are sums of many small ones.
_ROUNDING_S = 1e-9


@dataclass(slots=True, kw_only=True)
class Moment:
    """What happened in a tenth of a second.

    Attributes:
        at_s: When it began.
        sent: Requests sent.
        answered: Requests answered.
        refused: Requests answered with 429.
        failed: Requests that failed otherwise.
        in_flight: Requests out, the last that was known.
        limit: Most requests in flight that were allowed, `None` where not known.
        rate_per_s: Most requests a second that were allowed, `None` without limit.
    """

    at_s: float
    sent: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    in_flight: int = 0
    limit: int | None = None
    rate_per_s: float | None = None


@dataclass(slots=True)
class Trace:
    """The course of a run.

    Attributes:
        moments: One for each tenth of a second.
        elapsed_s: When the last thing happened.
        given_up: Rows that ended without an answer.
    """

    moments: list[Moment] = field(default_factory=list)
    elapsed_s: float = 0.0
    given_up: int = 0

    @property
    def sent(self) -> int:
        """Requests sent."""
        return sum(moment.sent for moment in self.moments)

    @property
    def answered(self) -> int:
        """Requests answered."""
        return sum(moment.answered for moment in self.moments)

    @property
    def refused(self) -> int:
        """Requests answered with 429."""
        return sum(moment.refused for moment in self.moments)

    @property
    def wasted(self) -> float:
        """Share of the requests that were answered with 429."""
        return self.refused / max(1, self.sent)

    def at(self, now_s: float) -> Moment:
        """The moment of a time; times come in order."""
        self.elapsed_s = max(self.elapsed_s, now_s)
        index = int(now_s / _MOMENT_S + _ROUNDING_S)
        while len(self.moments) <= index:
            self.moments.append(Moment(at_s=len(self.moments) * _MOMENT_S))
        return self.moments[index]

    def rate_per_s(self, from_s: float = 0.0, to_s: float = math.inf) -> float:
        """Answers a second between two times, given in whole tenths of a second."""
        to_s = min(to_s, self.elapsed_s)
        inside = (
            moment.answered
            for moment in self.moments
            if from_s <= moment.at_s + _ROUNDING_S < to_s
        )
        return sum(inside) / (to_s - from_s)

    def reaches_s(
        self, rate_per_s: float, *, after_s: float, for_s: float = 1.0
    ) -> float:
        """Seconds after `after_s` until a rate was held for a while.

        Counted to the end of that while; `inf` if it never was.
        """
        width, first = round(for_s / _MOMENT_S), round(after_s / _MOMENT_S)
        counts = [moment.answered for moment in self.moments]
        for start in range(first, len(counts) - width + 1):
            if sum(counts[start : start + width]) >= rate_per_s * for_s:
                return (start + width - first) * _MOMENT_S
        return math.inf
