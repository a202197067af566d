"""How late the event loop runs what is due, and what it takes on for that.

Once the loop is the bottleneck, requests beyond what it can handle finish no sooner:
their answers lie there and make every turn of the loop longer, and everything else
that needs a few turns (accepting a job, storing a state) takes that many times as
long. With fewer requests out the loop is as busy, and the others wait less.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import anyio

_SAMPLES = 5
_LEAST = 1 / 32


@dataclass(frozen=True, slots=True, kw_only=True)
class LagSummary:
    """How late timers ran, in seconds, over the last while.

    Attributes:
        p50_s: Half of them were not later.
        p99_s: 99 of 100 were not later.
        max_s: The latest.
    """

    p50_s: float = 0.0
    p99_s: float = 0.0
    max_s: float = 0.0


class LoopLag:
    """Measures an event loop while `run` runs in it.

    A loop that is held up for long misses many ticks; each of them counts, as long as
    it would have waited. Otherwise a second in which nothing moved would be one
    number among thousands.

    Concurrency: one event loop.
    """

    def __init__(
        self,
        *,
        window_s: float = 60.0,
        tick_s: float = 0.02,
        clock: Callable[[], float] = time.monotonic,
        overworked: Callable[[float], None] | None = None,
    ) -> None:
        """Nothing measured yet.

        Args:
            window_s: How far back the summary looks, in seconds.
            tick_s: Between two measurements, in seconds.
            clock: Tells the time, in seconds.
            overworked: Called after each tick with the part of its delay that was
                the loop's own work, in seconds; `None` for nobody. What other
                processes and threads take of the processor is not in it.
        """
        self._tick_s = tick_s
        self._clock = clock
        self._overworked = overworked
        self._lags: deque[float] = deque(maxlen=max(1, round(window_s / tick_s)))

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due_s, worked_s = self._clock() + self._tick_s, time.thread_time()
            await anyio.sleep(self._tick_s)
            self.note(self._clock() - due_s)
            if self._overworked is not None:
                worked_s = time.thread_time() - worked_s
                self._overworked(max(0.0, worked_s - self._tick_s))

    def note(self, late_s: float) -> None:
        """Count a tick that came so late, and those that it kept from coming."""
        late_s = max(0.0, late_s)
        missed = min(int(late_s / self._tick_s), self._lags.maxlen or 0)
        self._lags.extend(late_s - n * self._tick_s for n in range(missed + 1))

    def summary(self) -> LagSummary:
        """The last while, all zero before the first tick."""
        if not self._lags:
            return LagSummary()
        lags = sorted(self._lags)
        last = len(lags) - 1
        return LagSummary(
            p50_s=lags[round(0.5 * last)],
            p99_s=lags[round(0.99 * last)],
            max_s=lags[-1],
        )


class LoopThrottle:
    """Decides on a share of what may be taken on, from how late its work makes a loop.

    Attributes:
        share: Above 0, at most 1.
    """

    def __init__(self, *, target_s: float = 0.005) -> None:
        """Everything may be taken on; lateness of `target_s` is fine.

        As long as it is not much less, the loop always has something to do.
        """
        self.share = 1.0
        self._target_s = target_s
        self._late_s: list[float] = []

    def note(self, late_s: float) -> bool:
        """Take in how late a tick was; whether the share is another one now.

        It takes several to decide: one long turn of the loop says nothing about the
        requests that are out.
        """
        self._late_s.append(late_s)
        if len(self._late_s) < _SAMPLES:
            return False
        late_s, before = median(self._late_s), self.share
        self._late_s.clear()
        if late_s > 2 * self._target_s:
            self.share = max(_LEAST, 0.7 * self.share)
        elif late_s > self._target_s:
            self.share = max(_LEAST, 0.95 * self.share)
        elif late_s < self._target_s / 2:
            self.share = min(1.0, self.share + 0.02)
        return self.share != before
