"""How many requests in flight an endpoint answers best.

No I/O and no clock: the time comes as an argument.
"""

from __future__ import annotations

import math
from enum import Enum, auto

from sutro_stream.flow.auto.latency_window import LatencyWindow, Level

# Worth going up for: throughput must rise by this share of the rise in requests in
# flight. It keeps off the flat top, where only latency grows.
_WORTH = 0.07
_SLOWED = 1.3
_STEEP = 0.5
_AHEAD = 2.5
_DRIFTED = 1.3
_FULL = 0.85
_HALF_FULL = 0.5

_FIRST_STEP = 0.25
_LEAST_STEP = 0.04
_STEP_SCATTER = 0.15
_MOST_STEP = math.log(2)
_DIRECTIONS = 2
_STEP_GROWS = 1.6
_STEEP_GROWS = 2.0

_LEAST_SAMPLE = 16
_REFERENCE = 48
_RECENT = 16
_MOST_SAMPLE = 1024
_MEMORY = 2048
# A trial ends when its result is so many standard errors away from a draw, or when it
# has so many answers that a gain as large as the step would be as many away.
_SURE = 1.5
_SURE_OF_SLOWING = 4.0
_SAMPLED = 3.0

_FIRST_REST_S = 0.5
_LONGEST_REST_S = 10.0
_REST_LATENCIES = 20.0

# After a cut it stays below for so long; then a number that was well above is gone
# back to at once. Where that is cut again, it stays below twice as long.
_REFUSED_S = 2.0
_OVERLOAD_S = 3.0
_LONGEST_BELOW_S = 300.0
_KEPT_IN_OVERLOAD = 0.7
_WELL_BELOW = 0.75
_UNLIMITED = 1 << 30


class _Phase(Enum):
    """What is done once it does not rise any more."""

    MEASURING = auto()
    """At the base, before a trial."""
    TRYING = auto()
    """At another limit, to compare."""
    RESTING = auto()
    """Nothing better next to the base; watching for a change."""


class ConcurrencySearch:
    """Climbs to the limit with the highest throughput, and follows it.

    At first the limit doubles with each round of answers. As soon as answers get
    slower, it goes in steps: measure, try another limit, measure, keep the better.
    Limits are compared by the latency of whole windows of requests; a window is as
    large as the scatter of latencies demands.
    """

    def __init__(self, *, start: int, cap: int, searches: bool = True) -> None:
        """A search at its start, rising.

        Args:
            start: Requests in flight to begin with.
            cap: Most of them.
            searches: Whether it limits them; otherwise it counts them only.
        """
        self.limit = min(start, cap) if searches else _UNLIMITED
        self._searches = searches
        self.in_flight = 0
        self.ceiling: int | None = None
        self._cap = cap
        self._phase = _Phase.MEASURING
        self._area = 0.0
        self._area_s = 0.0
        self._is_rising = True
        self._window = self._new_window()
        self._skip = 0
        self._full_sequence = -1
        self._best: Level | None = None
        self._base: Level | None = None
        self._trial: Level | None = None
        self._trial_limit = 0
        self._first: Level | None = None
        self._recent: Level | None = None
        self._home = self.limit
        self._allowed = int(_AHEAD * self.limit)
        self._step = _FIRST_STEP
        self._up = True
        self._rejected = 0
        self._rest_s = _FIRST_REST_S
        self._rest_until_s = 0.0
        self._ceiling_until_s = 0.0
        # The number before it was cut well below, and when it is gone back to.
        self._former = 0
        self._back_s = math.inf
        self._below_s = 0.0
        self._restored_s = -math.inf

    # Requests.

    def sent(self, sequence: int, now_s: float) -> LatencyWindow | None:
        """Note a request going out; the window it belongs to, if any."""
        in_flight = self.in_flight
        self._area += in_flight * (now_s - self._area_s)
        self._area_s = now_s
        self.in_flight = in_flight = in_flight + 1
        if not self._searches:
            return None
        if in_flight >= self.limit:
            self._full_sequence = sequence
        window = self._window
        if window.missing:
            if self._skip:
                # Those sent before it are answered under the old limit's load.
                self._skip -= 1
                return None
            if window.missing == window.size:
                window.started_s, window.started_area = now_s, self._area
            window.missing -= 1
            return window
        if not self._is_rising:
            return None
        self._window = window = self._new_window()
        window.started_s, window.started_area = now_s, self._area
        window.missing -= 1
        return window

    def answered(
        self,
        window: LatencyWindow | None,
        sequence: int,
        latency_s: float,
        now_s: float,
    ) -> None:
        """Note an answer."""
        in_flight = self.in_flight
        self._area += in_flight * (now_s - self._area_s)
        self._area_s = now_s
        self.in_flight = in_flight - 1
        if self._is_rising and self._full_sequence >= sequence:
            most = min(self._most(now_s), self._allowed)
            self.limit = min(self.limit + 1, max(self.limit, most))
        if now_s >= self._back_s:
            self._go_back(now_s)
        if window is not None:
            window.latencies.append(latency_s)
            if not window.missing and window.is_ripe():
                self._judge(window, now_s)

    def lost(self, window: LatencyWindow | None, now_s: float) -> None:
        """Note a request that ended without an answer."""
        self._area += self.in_flight * (now_s - self._area_s)
        self._area_s = now_s
        self.in_flight -= 1
        if window is not None:
            window.lost += 1
            if window.is_ripe():
                self._judge(window, now_s)

    def refused(self, now_s: float, *, at: int) -> None:
        """Go below a number of requests in flight at which one was refused."""
        self._cut(max(1, at - 1), now_s, below_s=_REFUSED_S, ceiling=max(1, at - 1))

    def overloaded(self, now_s: float) -> None:
        """Go well below the present limit: a burst of requests has failed."""
        to = max(1, int(_KEPT_IN_OVERLOAD * self.limit))
        self._cut(to, now_s, below_s=_OVERLOAD_S, ceiling=self.limit)

    def restore(self, now_s: float) -> None:
        """Take back the cuts: they were in vain."""
        self.ceiling = None
        self._go_back(now_s)
        self._restored_s = -math.inf

    def _go_back(self, now_s: float) -> None:
        limit, self._former = self._former, 0
        self._back_s, self._restored_s = math.inf, now_s
        if limit > self.limit:
            self._go(limit)
            if not self._is_rising:
                self._measure()

    def _cut(self, to: int, now_s: float, *, below_s: float, ceiling: int) -> None:
        if not self._searches:
            return
        if not self._former:
            again = now_s - self._restored_s < self._below_s
            longer_s = min(2 * self._below_s, _LONGEST_BELOW_S)
            self._below_s = max(below_s, longer_s if again else 0.0)
        self.ceiling = ceiling
        self._ceiling_until_s = now_s + self._below_s
        if to < _WELL_BELOW * self.limit or self._former:
            self._former = max(self._former, self.limit)
            self._back_s = self._ceiling_until_s
        self._descend(min(self.limit, to))

    def forget_ceiling(self) -> None:
        """What was met was not a matter of requests in flight."""
        self.ceiling = None

    # Decisions.

    def _most(self, now_s: float) -> int:
        if self.ceiling is None or now_s >= self._ceiling_until_s:
            return self._cap
        return min(self._cap, self.ceiling)

    def _new_window(self) -> LatencyWindow:
        limit = self.limit
        size = limit // 3 if self._is_rising else min(limit, _MOST_SAMPLE)
        return LatencyWindow(max(_LEAST_SAMPLE, size), limit=limit)

    def _go(self, limit: int) -> None:
        # One round of answers passes until the endpoint has settled.
        self._skip = limit
        self.limit = limit
        self._window = self._new_window()

    def _descend(self, limit: int) -> None:
        if limit >= self.limit:
            return
        self._go(limit)
        if not self._is_rising:
            self._measure()

    def _measure(self) -> None:
        self._is_rising = False
        self._phase = _Phase.MEASURING
        self._base = self._trial = None
        self._home = self.limit
        self._rejected = 0

    def _rest(self, now_s: float, latency_s: float) -> None:
        self._phase = _Phase.RESTING
        self._rest_until_s = now_s + self._rest_s
        longest_s = max(_LONGEST_REST_S, _REST_LATENCIES * latency_s)
        self._rest_s = min(2 * self._rest_s, longest_s)

    def _judge(self, window: LatencyWindow, now_s: float) -> None:
        level = window.level(now_s, self._area)
        if self._is_rising:
            if level is not None:
                self._judge_rise(level, window.limit, now_s)
            return
        if window is not self._window:
            return
        self._window = self._new_window()
        if level is None:
            return
        # Where less was sent than allowed, there is nothing to learn of the limit.
        is_full = level.in_flight >= _FULL * self.limit
        if self._phase is not _Phase.TRYING:
            if is_full:
                self._judge_base(level, now_s)
        elif self._base is None or not is_full:
            self._turn()
            self._go(self._home)
            self._phase = _Phase.MEASURING
        else:
            self._judge_trial(level, self._base, now_s)

    def _judge_rise(self, level: Level, limit: int, now_s: float) -> None:
        if level.in_flight < _HALF_FULL * limit:
            return
        best, first, recent = self._best, self._first, self._recent
        if best is None or _value(level) > _value(best):
            self._best = best = level
        if first is None or first.count < _REFERENCE:
            self._first = first = level.joined_to(first, most=_REFERENCE)
        self._recent = recent = level.joined_to(recent, most=_RECENT)
        slower = math.log(recent.latency_s / first.latency_s)
        doubt = _SURE_OF_SLOWING * math.hypot(recent.error, first.error)
        if slower > math.log(_SLOWED) + doubt:
            unqueued = level.in_flight * first.latency_s / recent.latency_s
            self._go(max(1, round(min(best.in_flight, unqueued))))
            self._measure()
            self._step = self._first_step(level)
        elif self.limit >= self._cap:
            self._measure()
            self._step = _LEAST_STEP
            self._rest(now_s, level.latency_s)
        else:
            # Answers are late by a round: growth must not outrun what is known.
            self._allowed = max(self._allowed, int(_AHEAD * limit))

    def _judge_base(self, level: Level, now_s: float) -> None:
        base = self._base
        is_due = self._phase is _Phase.MEASURING or now_s >= self._rest_until_s
        if base is not None and _has_drifted(base, level):
            self._step, self._rest_s = self._first_step(level), _FIRST_REST_S
            self._up = level.latency_s < base.latency_s
            self._rejected = 0
            base, is_due = None, True
        self._base = base = level.joined_to(base, most=_MEMORY)
        if is_due:
            self._try(base, now_s)

    def _try(self, base: Level, now_s: float) -> None:
        """Go to the next limit to try, or rest when all steps were in vain."""
        # The more latencies scatter, the less a small step would show.
        least = max(_LEAST_STEP, _STEP_SCATTER * base.scatter)
        while self._step >= least:
            if self._rejected == _DIRECTIONS:
                self._step /= 2
                self._rejected = 0
                continue
            target = self._target(now_s)
            if target == self._home:
                self._turn()
                continue
            self._phase = _Phase.TRYING
            if target != self._trial_limit:
                self._trial, self._trial_limit = None, target
            self._go(target)
            return
        self._step = least
        self._rejected = 0
        if self.limit != self._home:
            self._go(self._home)
        self._rest(now_s, base.latency_s)

    def _first_step(self, level: Level) -> float:
        """A step whose effect one round of answers can show."""
        shown = _SURE * level.scatter * math.sqrt(3 / max(self.limit, _LEAST_SAMPLE))
        return min(_MOST_STEP, max(_FIRST_STEP, shown))

    def _target(self, now_s: float) -> int:
        home = self._home
        if self._up:
            target = max(home + 1, round(home * math.exp(self._step)))
            return max(home, min(target, self._most(now_s)))
        return max(1, min(home - 1, round(home * math.exp(-self._step))))

    def _turn(self) -> None:
        self._trial = None
        self._rejected += 1
        self._up = not self._up

    def _judge_trial(self, level: Level, base: Level, now_s: float) -> None:
        trial = level.joined_to(self._trial, most=_MEMORY)
        margin = _value(trial) - _value(base)
        error = math.hypot(trial.error, base.error)
        enough = 2 * (trial.scatter * _SAMPLED / self._step) ** 2
        if abs(margin) < _SURE * error and min(base.count, trial.count) < enough:
            self._trial = trial
            if base.count < trial.count:
                self._phase = _Phase.MEASURING
                self._go(self._home)
            return
        if margin > 0:
            span = math.log(trial.in_flight / base.in_flight)
            steep = self._up and margin - 2 * error > (_STEEP - _WORTH) * span
            grows = _STEEP_GROWS if steep else _STEP_GROWS
            self._step = min(_MOST_STEP, self._step * grows)
            self._base, self._home, self._trial = trial, self.limit, None
            # Back is where it came from, and that was worse.
            self._rejected = 1
            self._rest_s = _FIRST_REST_S
        else:
            self._turn()
        self._try(self._base or base, now_s)


def _value(level: Level) -> float:
    return math.log(level.throughput) - _WORTH * math.log(level.in_flight)


def _has_drifted(base: Level, level: Level) -> bool:
    change = abs(math.log(level.latency_s / base.latency_s))
    return change > math.log(_DRIFTED) + 3 * (level.error + base.error)
