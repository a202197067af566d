"""The rate an endpoint permits, learned from what it refuses.

No I/O and no clock: the time comes as an argument.
"""

from __future__ import annotations

import math
from enum import Enum, auto

from sutro_stream.flow.auto.cut_review import CutReview, Verdict

_START_PER_S = 200.0
_START_DOUBLES_S = 0.2
_UNLIMITED_PER_S = 1e5
# Time is rounded, and so a hair less than whole is whole.
_ROUNDING = 1e-6

# Just below what was measured, for one period; then up along a cube: slowly past the
# known rate, so that few requests are refused there, and ever faster beyond, so that
# a limit that was raised is found within seconds.
_BELOW = 0.97
_PERIOD_S = 1.0
_SHORTEST_S = 0.15
_PERIOD_REQUESTS = 100
_PERIOD_REFUSALS = 3.0
_LONGEST_REFUSALS = 12.0

# A measurement counts as many requests as it saw; this many speak for a cut.
_CUT = 0.75
_FIRST_CUT = 0.85
_CUT_REQUESTS = 8
_MEASURED_REQUESTS = 32
# On a busy machine timers are late; what was missed by less may be made up for.
_LATE_S = 0.03
_STRETCH_S = 0.25
_KEPT = 0.8
_POINT_S = 0.02
_MOST_POINTS = 128
# So many requests let through one after the other are a run: what is refused after
# it is news. A run of so many seconds proves the rate.
_RUN_REQUESTS = 50
_NEWS_REQUESTS = 200
_PROVEN_S = 2.0
_SLOT_S = 0.1
_USED = 0.7
_SAFE = 0.93
_RETURNS = 1.5

# Longer than a day nobody means it. A wait of more than a minute is believed when so
# many requests one after the other were refused.
_LONGEST_PAUSE_S = 86_400.0
_LONG_S = 60.0
_BELIEVED_STRIKES = 4
_FIRST_PAUSE_S = 0.04
_PAUSE_GROWS = 1.7
_LEAST_SHARE = 0.25
# The header counts in whole seconds: one means no more than "soon".
_VAGUE_S = 1.0
_LONGEST_BACKOFF_S = 5.0
_LEAST_PROBE_S = 0.02


class Refusal(Enum):
    """What a refusal says about the rate."""

    STALE = auto()
    """It was sent before the last cut, and belongs to that burst."""
    ISOLATED = auto()
    """One among many answers; says nothing by itself."""
    CHANCE = auto()
    """As many are refused at any rate, or that is being tried."""
    IN_VAIN = auto()
    """As many are refused at any rate: the cuts were taken back."""
    EXCESS = auto()
    """Too much was sent; the rate was cut."""
    EMPTY = auto()
    """Nothing was let through since the last cut: there is no quota left at all."""


class RateSearch:
    """Spaces requests so that an endpoint with a rate limit refuses few of them.

    A refusal says that the endpoint's quota is used up at this moment. So between
    two refusals exactly what the limit permits was let through, however large a
    burst it allows: the rate is measured, not guessed. Refusals of requests sent
    before the last cut belong to the same burst and cut nothing.
    """

    def __init__(self) -> None:
        """No limit is known: it begins gently and doubles every 0.2 s."""
        self._anchor: float | None = None
        self._period_s = _PERIOD_S
        self._probing_s = 0.0
        self._rate = _START_PER_S
        self._credit = 1.0
        self._filled_s: float | None = None
        # Where the last measured interval began, and from where the next cut counts.
        self._mark_s = 0.0
        self._mark_sequence = -1
        self._cut_sequence = 0
        self._refused_since_mark = 0
        self._next_sequence = 0
        self._refusal_s = 0.0
        self._end_sequence: int | None = None
        self._retry_after_s = 0.5
        self._safe = 0.0
        self._is_probe = False
        self._strikes = 0
        # What was let through before nothing was, and from when on.
        self._used, self._used_from_s = 0, 0.0
        self._least = 0.0
        self._is_measured = False
        self._points: list[tuple[float, int]] = []
        self._known = 0.0
        self._paused_until_s = -math.inf
        self._slot_s = 0.0
        self._point_s = 0.0
        self._slot_sequence = 0
        self._recent_per_s = _START_PER_S
        self._review = CutReview()
        # What is gone back to when the cuts since are taken back.
        self._before = self._state
        self._low: float | None = None
        self.is_asked_to_wait = False
        self.cuts = 0

    @property
    def rate_per_s(self) -> float | None:
        """Requests a second now, `None` while no limit is known."""
        return None if self._anchor is None else self._rate

    def room(self, now_s: float) -> float:
        """How many requests may be sent now."""
        if now_s < self._paused_until_s:
            return 0.0
        if self._is_probe:
            return 1.0
        if self._rate >= _UNLIMITED_PER_S and self._anchor is None:
            return math.inf
        self._fill(now_s)
        return math.inf if self._rate >= _UNLIMITED_PER_S else self._credit + _ROUNDING

    def wait_s(self, now_s: float) -> float:
        """Seconds until one may be sent."""
        if now_s < self._paused_until_s:
            return self._paused_until_s - now_s
        return max(0.0, (1.0 - self.room(now_s)) / self._rate)

    def sent(self, sequence: int, now_s: float) -> None:
        """Note a request going out, by its number in the order of sending."""
        self._credit -= 1.0
        self._next_sequence = sequence + 1
        if now_s >= self._point_s:
            self._remember(now_s)
        if self._is_probe:
            # One goes ahead; the others follow if it is not refused.
            self._is_probe = False
            probe_s = max(_LEAST_PROBE_S, _PERIOD_REFUSALS * self._refusal_s)
            self._paused_until_s = now_s + probe_s

    def _remember(self, now_s: float) -> None:
        self._point_s = now_s + _POINT_S
        sequence, points = self._next_sequence, self._points
        points.append((now_s, sequence))
        if len(points) > _MOST_POINTS:
            del points[: _MOST_POINTS // 2 : 2]
        span_s = now_s - self._slot_s
        if span_s >= _SLOT_S:
            self._recent_per_s = (sequence - self._slot_sequence) / span_s
            self._slot_s, self._slot_sequence = now_s, sequence

    def refused(
        self, sequence: int, sent_s: float, now_s: float, retry_after_s: float | None
    ) -> Refusal:
        """Note a refusal, and cut the rate where it says that it is too high.

        Args:
            sequence: Number of the request, from 0, in the order of sending.
            sent_s: When it was sent.
            now_s: The time now.
            retry_after_s: As the endpoint told it, `None` if it did not.
        """
        if retry_after_s is not None:
            self._retry_after_s = retry_after_s
        self._refusal_s += 0.2 * (now_s - sent_s - self._refusal_s)
        review = self._review
        if sequence < self._cut_sequence:
            self.ignored(sequence)
            return Refusal.STALE
        if review.is_trying or review.is_chance(sequence, now_s):
            self.ignored(sequence)
            if review.is_trying and self._judge(sequence, now_s, refused=True):
                return Refusal.IN_VAIN
            return Refusal.CHANCE
        is_usual = self._anchor is not None and not self._is_ending()
        if is_usual and review.is_isolated(sequence, self._mark_sequence):
            self.ignored(sequence)
            return Refusal.ISOLATED
        review.refused(sequence)
        self._cut(sequence, sent_s, now_s)
        if self._strikes:
            self._pause(now_s, retry_after_s)
        review.cut(self._rate, self._next_sequence, now_s)
        if review.is_in_vain(self._rate, sequence, now_s):
            self._try_former(now_s, is_over=False)
            return Refusal.CHANCE
        return Refusal.EMPTY if self._strikes else Refusal.EXCESS

    def answered(self, sequence: int, now_s: float) -> None:
        """Note an answer: something is left after all."""
        if self._strikes and sequence > self._mark_sequence:
            self._strikes = 0
            self._is_probe = False
            self._paused_until_s = min(self._paused_until_s, now_s)

    @property
    def _state(self) -> tuple[float | None, float, float, float, float]:
        return self._anchor, self._probing_s, self._period_s, self._known, self._safe

    @_state.setter
    def _state(self, state: tuple[float | None, float, float, float, float]) -> None:
        self._anchor, self._probing_s, self._period_s, self._known, self._safe = state

    def _try_former(self, now_s: float, *, is_over: bool) -> None:
        rate = self._review.try_former(
            self._next_sequence,
            now_s,
            rate_per_s=self._rate,
            refusal_s=self._refusal_s,
            is_over=is_over,
        )
        self._low = self._anchor
        self._resume(now_s, rate)

    def _judge(self, sequence: int, now_s: float, *, refused: bool) -> bool:
        verdict = self._review.verdict(sequence, now_s, refused=refused)
        if verdict is Verdict.TAKEN_BACK:
            self._state = self._before
            self._strikes = 0
            self._resume(now_s, self._rate_at(self._probing_s))
        elif verdict is Verdict.UPHELD:
            self._begin(self._low or self._known, now_s, 0.0)
            self._resume(now_s, self._rate)
        return verdict is Verdict.TAKEN_BACK

    def _resume(self, now_s: float, rate: float) -> None:
        """Send at a rate from now on; what is out tells nothing of it."""
        self._rate = rate
        self._credit = min(1.0, self._credit)
        self._is_probe = False
        self._paused_until_s = -math.inf
        self._mark(now_s, self._next_sequence - 1)

    def _mark(self, now_s: float, sequence: int) -> None:
        """Measure what is let through from a request on."""
        self._mark_s, self._mark_sequence = now_s, sequence
        self._cut_sequence = self._next_sequence
        self._refused_since_mark = 0
        self._points.clear()

    def ignored(self, sequence: int) -> None:
        """Note a refusal that the rate did not cause."""
        self._refused_since_mark += sequence > self._mark_sequence

    def ends_after(self, requests: int | None) -> None:
        """Note that so many more requests will be sent; `None`: not known."""
        known = requests is not None
        self._end_sequence = self._next_sequence + (requests or 0) if known else None

    def _cut(self, sequence: int, sent_s: float, now_s: float) -> None:
        elapsed_s = max(sent_s - self._mark_s, 1e-6)
        admitted = max(0, sequence - self._mark_sequence - 1 - self._refused_since_mark)
        # After an idle time the burst that was refused has gone out since.
        since = (self._next_sequence - self._slot_sequence) / max(
            now_s - self._slot_s, _SLOT_S
        )
        recent_per_s = max(self._recent_per_s, min(since, self._rate))
        sending_per_s = self._rate if self._is_used() else recent_per_s
        prior_s = _CUT_REQUESTS / (_CUT * sending_per_s)
        if admitted >= _NEWS_REQUESTS or not self._review.before_per_s:
            is_run = admitted >= _RUN_REQUESTS
            is_proven = is_run and elapsed_s >= _PROVEN_S
            # At the beginning less is sent than permitted, which is not due to a limit.
            before = sending_per_s if is_run else max(sending_per_s, _START_PER_S)
            self._review.begin(before, sequence, is_run=is_run, is_proven=is_proven)
            self._before = self._state
        if self._anchor is None:
            mean = measured = _FIRST_CUT * sending_per_s
            self._known = self._safe = measured
            elapsed_s = 0.0
        else:
            # Of all that the limit let through, chance took some.
            let = admitted / (1.0 - self._review.chance)
            measured = (let + _CUT_REQUESTS) / (elapsed_s + prior_s)
            mean = measured
            # A quota that was full for a while has let less through than it permits;
            # then what it let through in a later stretch tells more.
            for at_s, before in self._points:
                span_s, between = sent_s - at_s, sequence - before - 1
                is_stretch = span_s >= _STRETCH_S and between >= _MEASURED_REQUESTS
                if is_stretch and not self._review.chance:
                    measured = max(measured, between / span_s)
            if admitted >= _MEASURED_REQUESTS:
                measured = max(measured, _KEPT * sending_per_s)
        self._strikes = 0 if admitted else self._strikes + 1
        if admitted >= _MEASURED_REQUESTS:
            self._used, self._used_from_s = 0, self._mark_s
        self._used += admitted
        self._is_measured = admitted >= _MEASURED_REQUESTS
        if self._is_ending():
            self._safe = min(self._safe, _BELOW * self._rate)
        if self._is_measured:
            self._known, self._safe = measured, max(mean, _SAFE * measured)
        if not self._strikes or self._least == 0.0:
            self._least = _LEAST_SHARE * self._known
        least = self._review.floor_per_s(sequence)
        self._begin(max(measured, least), now_s, elapsed_s)
        self._mark(sent_s, sequence)
        self._point_s = now_s
        self.cuts += 1

    def _begin(self, measured: float, now_s: float, elapsed_s: float) -> None:
        self._fill(now_s)
        self._anchor = measured
        longest_s = max(
            _PERIOD_S,
            _PERIOD_REQUESTS / measured,
            _LONGEST_REFUSALS * self._refusal_s,
        )
        shortest_s = max(_SHORTEST_S, _PERIOD_REFUSALS * self._refusal_s, 4 / measured)
        self._period_s = max(shortest_s, min(longest_s, 2 * elapsed_s))
        self._probing_s = 0.0
        self._rate = _BELOW * measured
        # What went out while no limit was known is not paid back.
        self._credit = max(-1.0, min(0.0, self._credit))

    def _pause(self, now_s: float, retry_after_s: float | None) -> None:
        pause_s = _FIRST_PAUSE_S * _PAUSE_GROWS ** (self._strikes - 1)
        pause_s, is_told = min(pause_s, _LONGEST_BACKOFF_S), False
        if retry_after_s is not None and retry_after_s > _VAGUE_S:
            is_told = True
            if retry_after_s <= _LONG_S or self._strikes >= _BELIEVED_STRIKES:
                pause_s = max(pause_s, min(retry_after_s, _LONGEST_PAUSE_S))
        self.is_asked_to_wait = is_told
        least = self._review.floor_per_s(self._mark_sequence, is_told=is_told)
        if least:
            pause_s = min(pause_s, 1 / least)
        self._paused_until_s = now_s + pause_s
        self._is_probe = True
        # A quota that comes back all at once: what was let through of it is all there
        # is until then, probably in the middle of this pause.
        # If it does not come back soon, it is no such quota, and that says little.
        elapsed_s = now_s + pause_s / 2 - self._used_from_s
        permitted = max(self._used / elapsed_s, self._least, least)
        self._known = min(self._known, permitted)
        self._begin(self._known, now_s, elapsed_s)

    def _fill(self, now_s: float) -> None:
        if self._filled_s is None:
            self._filled_s = self._mark_s = self._slot_s = now_s
            self._used_from_s = now_s
        elapsed_s = now_s - self._filled_s
        if elapsed_s <= 0:
            return
        self._filled_s = now_s
        if self._review.is_over(self._next_sequence, now_s):
            self._try_former(now_s, is_over=True)
        rate = self._rate
        most = 1.0 + rate * _LATE_S
        self._credit = min(self._credit + rate * elapsed_s, most)
        if self._review.is_trying:
            self._judge(self._next_sequence, now_s, refused=False)
            return
        # Time in which less was sent than permitted proves nothing.
        if self._anchor is None:
            self._probing_s += elapsed_s
        elif self._is_used():
            self._probing_s += min(elapsed_s, max(_SLOT_S, 2.0 / rate))
        self._rate = self._rate_at(self._probing_s)

    def _is_ending(self) -> bool:
        # Refused now, a row would come back when all others are done.
        end, anchor = self._end_sequence, self._anchor
        if end is None or anchor is None:
            return False
        return end - self._next_sequence < anchor * (_RETURNS * self._retry_after_s)

    def _is_used(self) -> bool:
        return self._recent_per_s >= _USED * self._rate

    def _rate_at(self, probing_s: float) -> float:
        if self._anchor is None:
            doublings = min(probing_s / _START_DOUBLES_S, 30.0)
            return _START_PER_S * math.exp2(doublings)
        rate = _BELOW * self._anchor
        beyond = probing_s / self._period_s - 1.0
        if beyond > 0:
            rate *= 1.0 + beyond * beyond * beyond
        return min(rate, _BELOW * self._safe) if self._is_ending() else rate
