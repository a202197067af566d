"""Requests sent under the same limit, and how long they took."""

from __future__ import annotations

import math
from dataclasses import dataclass

# The slowest members are not waited for, and do not count: in a heavy tail, their
# scatter would hide what the limit does to all the others.
_NEEDED = 0.8
_KEPT = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What a limit was found to yield.

    Attributes:
        in_flight: Requests in flight, on average over time.
        latency_s: Mean latency without the slowest quarter.
        scatter: Standard deviation of these latencies, as a share of their mean.
        count: Answers that it rests on.
    """

    in_flight: float
    latency_s: float
    scatter: float
    count: int

    @property
    def throughput(self) -> float:
        """Requests a second, by Little's law; comparable between levels."""
        return self.in_flight / self.latency_s

    @property
    def error(self) -> float:
        """Standard error of `latency_s`, as a share of it."""
        return self.scatter / math.sqrt(self.count)

    def joined_to(self, earlier: Level | None, *, most: int) -> Level:
        """Both as one, the earlier with a weight of at most so many answers."""
        if earlier is None:
            return self
        weight = min(earlier.count, most)
        share = self.count / (weight + self.count)

        def mean(before: float, now: float) -> float:
            return before + share * (now - before)

        return Level(
            in_flight=mean(earlier.in_flight, self.in_flight),
            latency_s=mean(earlier.latency_s, self.latency_s),
            scatter=mean(earlier.scatter, self.scatter),
            count=weight + self.count,
        )


class LatencyWindow:
    """Some requests sent one after the other.

    Written by the search that owns it: `missing` members are still to be sent,
    `latencies` are of those that were answered, `lost` of them were not.

    Counting answers instead would favour whatever was sent last: after a change, the
    quick answers come first. So a window is judged only when most of its members are
    back, and those still out count as the slowest.
    """

    __slots__ = (
        "is_judged",
        "latencies",
        "limit",
        "lost",
        "missing",
        "size",
        "started_area",
        "started_s",
    )

    def __init__(self, size: int, *, limit: int) -> None:
        """An empty window, open for members.

        Args:
            size: Members it waits for.
            limit: The limit now.
        """
        self.size = size
        self.missing = size
        self.limit = limit
        self.started_s = 0.0
        self.started_area = 0.0
        self.latencies: list[float] = []
        self.lost = 0
        self.is_judged = False

    def is_ripe(self) -> bool:
        """Whether it can be judged, and has not been."""
        back = len(self.latencies)
        return (
            not self.missing
            and not self.is_judged
            and back >= _NEEDED * (self.size - self.lost)
        )

    def level(self, now_s: float, area: float) -> Level | None:
        """The judgement, `None` if no member was answered.

        Args:
            now_s: The time now.
            area: Requests in flight, integrated over time up to now.
        """
        self.is_judged = True
        found = sorted(self.latencies)
        kept = found[: max(1, math.ceil(_KEPT * (self.size - self.lost)))]
        elapsed_s = now_s - self.started_s
        spent = area - self.started_area
        if not kept or elapsed_s <= 0 or spent <= 0:
            return None
        mean_s = max(math.fsum(kept) / len(kept), 1e-6)
        variance = math.fsum((one - mean_s) ** 2 for one in kept) / len(kept)
        return Level(
            in_flight=spent / elapsed_s,
            latency_s=mean_s,
            scatter=math.sqrt(variance) / mean_s,
            count=len(kept),
        )
