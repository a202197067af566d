"""What endpoints answer, and how long they take over it: known before, by a seed."""

from __future__ import annotations

import heapq
import json
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

_P99 = 2.3263478740408408  # standard deviations above the median

COMPLETION = json.dumps(
    {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "bench",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": '{"mood": "glad", "score": 4}',
                },
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 30, "completion_tokens": 12, "total_tokens": 42},
    },
    separators=(",", ":"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """Log-normal service times: most are short, a few are very long.

    Attributes:
        median_ms: Half of them are shorter.
        p99_ms: One of a hundred is longer.
        cap_ms: None is longer.
        seed: The same times for the same seed.
    """

    median_ms: float = 50.0
    p99_ms: float = 1000.0
    cap_ms: float = 3000.0
    seed: int = 7

    def times_s(self) -> Iterator[float]:
        """Service times in the order of the requests, in seconds; whole milliseconds.

        Event loops round timers to milliseconds, so these are exact.
        """
        draw = random.Random(self.seed)
        mean = math.log(self.median_ms)
        spread = math.log(self.p99_ms / self.median_ms) / _P99
        while True:
            drawn = min(draw.lognormvariate(mean, spread), self.cap_ms)
            yield max(1, round(drawn)) / 1000


def greedy_s(times_s: Sequence[float], slots: int) -> float:
    """Seconds until all are served, if a slot takes the next at once when it is free.

    Nothing between client and endpoint costs any time, so this is the ideal for
    requests that are sent in order, whoever sends them.
    """
    free = [0.0] * min(slots, len(times_s))
    for time_s in times_s:
        heapq.heapreplace(free, free[0] + time_s)
    return max(free)


def ideal_s(tail: Tail, rows: int, slots: int) -> float:
    """As `greedy_s`, of the first so many requests."""
    return greedy_s(list(islice(tail.times_s(), rows)), slots)
