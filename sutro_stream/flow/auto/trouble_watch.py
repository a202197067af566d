"""When failures come in bursts, and whether fewer requests in flight help.

No I/O and no clock: the time comes as an argument.
"""

from __future__ import annotations

import math
from enum import Enum, auto

# A burst: so many failures, and such a share of the requests of a round, which is as
# many as are allowed in flight.
_LEAST_FAILURES = 4
_LEAST_ROUND = 16
_USUAL_SHARE = 0.1
# Failures that a cut did not lessen are left alone up to so many times their share, and
# for so long; each time they are found again, twice as long.
_SPARE = 1.5
_FIRST_TRUST_S = 30.0
_LONGEST_TRUST_S = 600.0
# Fewer got through than this after a cut: nobody answers, which says nothing of it.
_LEAST_PASSES = 3


class Advice(Enum):
    """What to do about a failure."""

    NOTHING = auto()
    CUT = auto()
    """Have fewer requests in flight."""
    TAKE_BACK = auto()
    """Have as many as before the cuts: as large a share fails with fewer."""


class TroubleWatch:
    """Tells bursts of failures, and compares their share before and after a cut.

    Too many requests in flight fail less when there are fewer; a broken network or
    one broken machine of several fails the same share of any number.
    """

    def __init__(self) -> None:
        """A watch that has seen no failure."""
        self._first = 0
        self._failures = 0
        self._usual_share = _USUAL_SHARE
        self._usual_until_s = math.inf
        self._trust_s = _FIRST_TRUST_S
        # Share that got through, and requests in flight, before the last cut.
        self._before: tuple[float, int] | None = None

    def failed(
        self, sequence: int, next_sequence: int, now_s: float, *, limit: int, most: int
    ) -> Advice:
        """Note a failure.

        Args:
            sequence: Number of the request.
            next_sequence: Number of the next one.
            now_s: The time now.
            limit: Requests in flight that are allowed.
            most: How many of these there were.
        """
        if sequence < self._first:
            return Advice.NOTHING
        # What was sent before it and is still out counts as answered: it is later
        # than a failure, not lost.
        sent = sequence - self._first + 1
        self._failures += 1
        if sent > max(_LEAST_ROUND, limit):
            self._end_round((self._failures - 1) / sent, sequence)
            return Advice.NOTHING
        share = _USUAL_SHARE * max(_LEAST_ROUND, min(limit, most))
        if self._failures < max(_LEAST_FAILURES, share):
            return Advice.NOTHING
        if now_s >= self._usual_until_s:
            self._usual_share, self._usual_until_s = _USUAL_SHARE, math.inf
        if self._failures < self._usual_share * sent:
            return Advice.NOTHING
        return self._after_burst(sent, next_sequence, now_s, limit)

    def _end_round(self, share: float, sequence: int) -> None:
        if share < _USUAL_SHARE:
            self._before = None
        self._first, self._failures = sequence, 1

    def _after_burst(
        self, sent: int, next_sequence: int, now_s: float, limit: int
    ) -> Advice:
        passing = 1.0 - self._failures / sent
        before = self._before
        if before is not None:
            if sent < min(limit, max(_LEAST_ROUND, limit // 2)):
                return Advice.NOTHING
            was, number = before
            # A limit lets as many through as before the cut, or all; chance the same
            # share. Between the two lies their geometric mean.
            gain = min(number / limit, 1.0 / max(was, 1e-3))
            too_few = passing * sent < _LEAST_PASSES
            if too_few or passing < was * math.sqrt(gain):
                self._leave_alone(1.0 - passing, now_s)
                self._first, self._failures, self._before = next_sequence, 0, None
                return Advice.TAKE_BACK
        self._before = passing, limit
        self._first, self._failures = next_sequence, 0
        return Advice.CUT

    def _leave_alone(self, share: float, now_s: float) -> None:
        self._usual_share = max(2 * _USUAL_SHARE, _SPARE * share)
        self._usual_until_s = now_s + self._trust_s
        self._trust_s = min(2 * self._trust_s, _LONGEST_TRUST_S)
