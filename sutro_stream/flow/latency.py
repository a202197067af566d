"""How long answers take lately: quantiles of a stream, forgetting the past."""

from __future__ import annotations

import math

# Buckets grow by 5 % from 0.1 ms to more than a day.
_SHORTEST_S = 1e-4
_PER_BUCKET = math.log(1.05)
_BUCKETS = 430

# A latency weighs half as much after so many newer ones.
_HALF_LIFE = 1000
_GROWTH = 2.0 ** (1 / _HALF_LIFE)
_HEAVIEST = 1e12
_REFRESH = 16


class LatencyQuantiles:
    """Quantiles of the latest latencies, within five per cent.

    Latencies are counted in buckets of growing width. Newer ones count more: after
    a change, half of the weight is on the new state within a thousand answers.

    Concurrency: one event loop; no method waits.

    Attributes:
        count: Answers noted so far; to be read only.
    """

    def __init__(self) -> None:
        self._weights = [0.0] * _BUCKETS
        self._total = 0.0
        self._next_weight = 1.0
        self.count = 0
        self._known: dict[float, tuple[int, float]] = {}

    def add(self, latency_s: float) -> None:
        """Note one answer's latency, in seconds."""
        bucket = 0
        if latency_s > _SHORTEST_S:
            bucket = int(math.log(latency_s / _SHORTEST_S) / _PER_BUCKET)
            bucket = min(bucket, _BUCKETS - 1)
        weight = self._next_weight
        self._weights[bucket] += weight
        self._total += weight
        self.count += 1
        self._next_weight = weight * _GROWTH
        if weight > _HEAVIEST:
            self._shrink()

    def quantile_s(self, share: float) -> float | None:
        """The latency that this share (0 to 1) stays under, `None` before any answer.

        Found anew once in several answers, as it hardly moves with one.
        """
        if not self.count:
            return None
        known = self._known.get(share)
        if known is not None and self.count - known[0] < _REFRESH < self.count:
            return known[1]
        found_s = self._find(share)
        self._known[share] = (self.count, found_s)
        return found_s

    def _find(self, share: float) -> float:
        missing, found = share * self._total, 0
        for bucket, weight in enumerate(self._weights):
            missing -= weight
            if weight:
                # Rounding errors of the sum may leave the last one that holds anything.
                found = bucket
                if missing <= 0:
                    break
        return _SHORTEST_S * math.exp((found + 0.5) * _PER_BUCKET)

    def _shrink(self) -> None:
        scale = 1.0 / self._next_weight
        self._weights = [weight * scale for weight in self._weights]
        self._total *= scale
        self._next_weight = 1.0
