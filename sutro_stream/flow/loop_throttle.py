"""How much a process takes on, so that its own event loop keeps up.

Once the loop is the bottleneck, requests beyond what it can handle finish no sooner:
their answers lie there and make every turn of the loop longer, and everything else
that needs a few turns (accepting a job, storing a state) takes that many times as
long. With fewer requests out the loop is as busy, and the others wait less.
"""

from __future__ import annotations

from statistics import median

_SAMPLES = 5
_LEAST = 1 / 32


class LoopThrottle:
    """Decides on a share of what may be taken on, from how late its work makes a loop.

    Attributes:
        share: Above 0, at most 1.
    """

    def __init__(self, *, target_s: float = 0.005) -> None:
        """Everything may be taken on.

        Args:
            target_s: Lateness that is fine, in seconds; as long as it is not much
                less, the loop always has something to do.
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
